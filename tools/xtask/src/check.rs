//! `cargo xtask check`: the fast gate.
//!
//! Layers and fence are read from the sources first, and documents compared, since that takes no time; then format; then
//! clippy on what builds for the host and on what builds for bare targets. All findings are shown before it fails.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo::{self, KERNEL_TARGET, PROGRAM_TARGET};
use crate::host::HOST_PACKAGES;
use crate::setup::{self, Need};
use crate::toolchain::Toolchain;
use crate::tree::Tree;
use crate::{docs, fence, layers};

/// What `cargo xtask check` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Look only at what needs no compiler: layers, the place of `unsafe`, documents, format
    #[arg(long)]
    quick: bool,
}

/// Runs every check and fails if one did.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Lints)?;
    let mut found = layers::breaches(&tree)?;
    found.extend(fence::breaches(&tree)?);
    found.extend(docs::stale(&tree));
    found.iter().for_each(|line| eprintln!("{line}"));
    let mut failed = found.len();
    failed += usize::from(!passes(format(&tree, &tools), "checking the format"));
    if !options.quick {
        failed += usize::from(!passes(host_clippy(&tree, &tools), "clippy for the host"));
        failed += usize::from(!passes(kernel_clippy(&tree, &tools), "clippy for the kernel"));
        failed += usize::from(!passes(program_clippy(&tree, &tools)?, "clippy for the programs"));
    }
    if failed > 0 {
        bail!("{failed} checks failed: see the messages above");
    }
    println!("all checks passed");
    Ok(0)
}

/// Runs one check; what it says is shown when it fails.
fn passes(command: Command, name: &str) -> bool {
    let mut lines = Vec::new();
    let result = cargo::quietly(command, name, |line| lines.push(line.to_owned()));
    if let Err(error) = &result {
        lines.iter().for_each(|line| eprintln!("{line}"));
        eprintln!("{error:#}");
    }
    result.is_ok()
}

fn format(tree: &Tree, tools: &Toolchain) -> Command {
    let mut command = tools.cargo();
    command.current_dir(tree.root()).args(["fmt", "--all", "--check"]);
    command
}

fn host_clippy(tree: &Tree, tools: &Toolchain) -> Command {
    let mut command = tools.cargo();
    command
        .current_dir(tree.root())
        .args(["clippy", "--all-targets", "--target-dir"])
        .arg(tree.built("clippy"));
    for package in HOST_PACKAGES {
        command.args(["-p", package]);
    }
    command.args(["--", "-Dwarnings"]);
    command
}

fn kernel_clippy(tree: &Tree, tools: &Toolchain) -> Command {
    let mut command = cargo::bare(tree, tools, "clippy", KERNEL_TARGET);
    command.args(["-p", "kernel", "-p", "rmm", "-p", "tickets", "-p", "ring-abi", "--", "-Dwarnings"]);
    command
}

fn program_clippy(tree: &Tree, tools: &Toolchain) -> Result<Command> {
    let mut command = cargo::bare(tree, tools, "clippy", PROGRAM_TARGET);
    for package in
        cargo::program_packages(tree)?.iter().map(String::as_str).chain(["bootstrap", "uring", "posix"])
    {
        command.args(["-p", package]);
    }
    command.args(["--", "-Dwarnings"]);
    Ok(command)
}
