//! `qtest`: the tests that only the booted system can run. `qtest [NAME]...` runs those whose names contain one of the
//! words, or all; `qtest --list` names them. `qtest --counted [NAME]...` adds those tests that are true only where
//! time is counted instructions.
//!
//! Each test runs in a process of its own with a time limit, so that one that hangs, faults or leaks spoils no other.
//! One line a test: `qtest: NAME ok` or `qtest: NAME FAILED why`; the last line is the sum.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    reason = "tests put paths together with `+`, and a test may stop on a mistake"
)]

extern crate alloc;

mod cases;
mod guest;
mod on_ring;
mod roles;
mod runner;
mod scale;
mod verdict;

use alloc::vec::Vec;
use cases::{Test, all, counted};
use guest::Guest;
use uring::start::env::args;
use uring::{eprintln, println};

uring::main!(run);

fn run() -> u8 {
    let words: Vec<&str> = args().skip(1).collect();
    match words.as_slice() {
        ["--list"] => {
            all().chain(counted()).for_each(|test| println!("{}", test.name));
            0
        }
        ["--one", name] => one(name),
        ["--role", role @ ..] => roles::play(role),
        ["--scale", tasks] => match scale::measure(tasks.parse().unwrap_or(1)) {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("qtest: scale: {why}");
                runner::FAILED
            }
        },
        ["--counted", names @ ..] => runner::run(all().chain(counted()).filter(|test| is_meant(test, names))),
        names => runner::run(all().filter(|test| is_meant(test, names))),
    }
}

fn is_meant(test: &Test, names: &[&str]) -> bool {
    names.is_empty() || names.iter().any(|name| test.name.contains(name))
}

/// Runs one test in this process; the exit code.
fn one(name: &str) -> u8 {
    let Some(test) = all().chain(counted()).find(|test| test.name == name) else {
        eprintln!("qtest: no test is called {name}");
        return 2;
    };
    match (test.run)(&Guest::new(test.name)) {
        Ok(()) => 0,
        Err(why) => {
            println!("qtest: {name} FAILED {why}");
            runner::FAILED
        }
    }
}
