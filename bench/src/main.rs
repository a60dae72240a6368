//! `bench`: what operations cost in instructions and contexts in memory, one line for each row of the table.
//!
//! How to read the rows, and what each of them does, stands in `bench/README.md`.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod cases;
mod footprint;
mod harness;

use alloc::vec::Vec;
use bench::options::{Options, Wrong};
use cases::{CASES, Case};
use cases::{forget_longest_step, longest_step};
use harness::{Bench, Outcome};
use uring::start::env::args;
use uring::{eprintln, println};

uring::main!(run);

fn run() -> u8 {
    let started = bare::clock::ticks();
    let options = match Options::parse(args().skip(1)) {
        Ok(options) => options,
        Err(Wrong(what)) => {
            eprintln!("bench: {what}");
            return 2;
        }
    };
    if options.list {
        CASES.iter().for_each(|case| println!("{}: {}", case.name, case.about));
        return 0;
    }
    let is_known = |name: &str| CASES.iter().any(|case| case.name == name || case.rows.contains(&name));
    let unknown: Vec<&str> = options.unknown(is_known).collect();
    if !unknown.is_empty() {
        eprintln!("bench: no such case: {}; bench --list says which there are", unknown.join(", "));
        return 2;
    }
    match Bench::new(&options, started) {
        Ok(mut bench) => measure(&mut bench, &options),
        Err(why) => {
            eprintln!("bench: {why}");
            1
        }
    }
}

/// Runs one case; with `verbose` it is alone in what the kernel says of its longest step.
fn run_case(bench: &mut Bench, case: &Case, verbose: bool) -> Outcome {
    if verbose {
        forget_longest_step()?;
    }
    (case.run)(bench)?;
    if verbose {
        let (instructions, kind) = longest_step(bench)?;
        println!("bench: {}: longest step {instructions}, of kind {kind}", case.name);
    }
    Ok(())
}

/// Runs the wanted cases; the exit code.
fn measure(bench: &mut Bench, options: &Options) -> u8 {
    let mut code = 0;
    let wanted = |case: &&Case| {
        let is_left_out = options.quick && case.is_long || options.cases.is_empty() && !(case.is_possible)();
        options.wants(case.name, case.rows) && !is_left_out
    };
    for case in CASES.iter().filter(wanted) {
        if let Err(why) = run_case(bench, case, options.verbose) {
            eprintln!("bench: {}: not measured: {why}", case.name);
            code = 1;
        }
    }
    code
}
