//! Kernel, bootstrap and initfs into one bootable disk image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::choice::Choice;
use crate::initfs::Content;
use crate::setup::{self, Need};
use crate::toolchain::{self, Toolchain};
use crate::tree::{Scratch, Tree};
use crate::{blob, cargo, initfs};

/// What `cargo xtask image` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Where to write the image [default: target/annulus.img]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Take this kernel instead of building it
    #[arg(long, value_name = "ELF")]
    kernel: Option<PathBuf>,
    /// Take this ramdisk instead of building it
    #[arg(long, value_name = "FILE")]
    ramdisk: Option<PathBuf>,
    #[command(flatten)]
    choice: Choice,
}

/// Writes the image and says where.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let output = options.output.clone().unwrap_or_else(|| tree.built("annulus.img"));
    match (&options.kernel, &options.ramdisk) {
        (Some(kernel), Some(ramdisk)) => write(&tree, &tools, kernel, ramdisk, &output)?,
        (None, None) => {
            let guest = options.choice.programs.build(&tree, &tools)?;
            assemble(&tree, &tools, &guest, &options.choice.content(), &output)?;
        }
        _ => bail!("--kernel and --ramdisk go together"),
    }
    println!("{}", output.display());
    Ok(0)
}

/// Makes ramdisk and image out of what was built.
pub(crate) fn assemble(
    tree: &Tree,
    tools: &Toolchain,
    guest: &cargo::Guest,
    content: &Content,
    output: &Path,
) -> Result<()> {
    let files = initfs::image(&guest.programs, &tree.source("initfs/root"), content)?;
    let bootstrap = fs::read(&guest.bootstrap).context("bootstrap was not built")?;
    let ramdisk = Scratch::new(tree, ".ramdisk")?;
    fs::write(ramdisk.path(), blob::make(&bootstrap, &files)?).context("cannot write the ramdisk")?;
    write(tree, tools, &guest.kernel, ramdisk.path(), output)
}

/// Runs the image builder, which is built first if need be.
fn write(tree: &Tree, tools: &Toolchain, kernel: &Path, ramdisk: &Path, output: &Path) -> Result<()> {
    let builder = builder(tree, tools)?;
    let stripped = Scratch::new(tree, ".kernel")?;
    let kernel = if strip(kernel, stripped.path()) { stripped.path() } else { kernel };
    let done =
        Command::new(builder).args([kernel, ramdisk, output]).output().context("cannot start tools/image")?;
    if !done.status.success() {
        bail!("no image: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// Leaves out the symbols, which the firmware would read at length; the host keeps its own copy of them.
fn strip(kernel: &Path, to: &Path) -> bool {
    let Some(tool) = toolchain::program("strip") else { return false };
    Command::new(tool).arg("-o").args([to, kernel]).output().is_ok_and(|done| done.status.success())
}

/// `tools/image`, built with the compiler that has the sources of `core`.
fn builder(tree: &Tree, tools: &Toolchain) -> Result<PathBuf> {
    let folder = tree.built("image");
    let mut command = tools.cargo();
    command.current_dir(tree.source("tools/image")).args(["build", "--release", "--locked", "--target-dir"]);
    command.arg(&folder);
    let name = "building the image builder";
    let binaries = cargo::build(command, name)?;
    let found = binaries.into_iter().find(|binary| binary.name == "image");
    Ok(found.context("cargo did not build tools/image")?.path)
}
