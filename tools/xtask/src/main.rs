//! `cargo xtask`: builds the system, boots it in QEMU, tests it and prints what it costs.
//!
//! Every command ends by itself: each guest run has a time limit and a limit of silence. A failure is one line on
//! stderr that says what to do next, and a non-zero status.

#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "a host tool: a wrong number here ends a command with a message, not a kernel"
)]

mod bench;
mod blob;
mod budgets;
mod cargo;
mod check;
mod choice;
mod docs;
mod ended;
mod fence;
mod gdb;
mod guest;
mod host;
mod image;
mod initfs;
mod large;
mod layers;
mod profile;
mod progress;
mod qemu;
mod rows;
mod run;
mod scale;
mod scene;
mod serial;
mod setup;
mod source;
mod symbols;
mod table;
mod test;
mod toolchain;
mod tree;
mod verdicts;
mod window;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, boots, tests and measures Annulus.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The commands, in the order of a day.
#[derive(Subcommand)]
enum Command {
    /// Fast gate: format, clippy, layers, the place of `unsafe`, generated documents.
    Check(check::Options),
    /// Every test: host tests, loom models, the tests inside the booted system.
    Test(test::Options),
    /// Boot to init, or run one program in the guest and end with its status.
    Run(run::Options),
    /// Measure what operations and contexts cost, and print the table.
    Bench(bench::Options),
    /// Measure what a second processor brings: a report, on a host that does other things too.
    Scale(scale::Options),
    /// Show where the instructions of one bench case go.
    Profile(profile::Options),
    /// Stop at the kernel's first instruction, debugger attached.
    Gdb(gdb::Options),
    /// Build everything into one bootable disk image.
    Image(image::Options),
    /// Write docs/rings.md from ring-abi, or check that it is right.
    Docs(docs::Options),
}

fn main() -> ExitCode {
    let (result, failure) = match Arguments::parse().command {
        Command::Check(options) => (check::run(&options), 1),
        Command::Test(options) => (test::run(&options), 1),
        // Beside the statuses of programs, as `env` and `timeout` do it.
        Command::Run(options) => (run::run(&options), 125),
        Command::Bench(options) => (bench::run(&options), 1),
        Command::Scale(options) => (scale::run(&options), 1),
        Command::Profile(options) => (profile::run(&options), 1),
        Command::Gdb(options) => (gdb::run(&options), 1),
        Command::Image(options) => (image::run(&options), 1),
        Command::Docs(options) => (docs::run(&options), 1),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_line_option_is_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
