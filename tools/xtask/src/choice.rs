//! What the user wants in the guest: which programs, which files, and what runs first.

use anyhow::Result;
use clap::Args;

use crate::cargo::{self, Guest};
use crate::initfs::{Added, Content};
use crate::toolchain::Toolchain;
use crate::tree::Tree;

/// Options that `run`, `gdb` and `image` share.
#[derive(Args)]
pub(crate) struct Choice {
    /// Run this program instead of the default; `run` ends with its status
    #[arg(long, value_name = "PROGRAM ARGS")]
    exec: Option<String>,
    /// Put a file of this machine into the initfs; may be given several times
    #[arg(long, value_name = "HOSTFILE=/path")]
    add: Vec<Added>,
    /// Print every entry that goes through a program's rings
    #[arg(long)]
    trace_rings: bool,
    #[command(flatten)]
    pub(crate) programs: Programs,
}

/// Which programs to build.
#[derive(Args)]
pub(crate) struct Programs {
    /// Build only these programs, comma-separated, instead of all
    #[arg(long = "programs", value_name = "PACKAGES", value_delimiter = ',')]
    packages: Vec<String>,
}

impl Programs {
    /// Builds the kernel and them.
    pub(crate) fn build(&self, tree: &Tree, tools: &Toolchain) -> Result<Guest> {
        match self.packages.as_slice() {
            [] => cargo::guest(tree, tools, &cargo::program_packages(tree)?),
            some => cargo::guest(tree, tools, some),
        }
    }
}

impl Choice {
    /// What goes into the initfs beside the programs.
    pub(crate) fn content(&self) -> Content {
        let exec = self.exec.iter().map(|words| ("exec", words.clone()));
        let trace = self.trace_rings.then(|| ("trace-rings", "1".to_owned()));
        Content { added: self.add.clone(), options: exec.chain(trace).collect() }
    }
}
