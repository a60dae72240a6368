//! The tests, by what they are about. A test's name is a sentence that can be false.
#![forbid(unsafe_code)]

mod cancel;
mod chains;
mod contexts;
mod cpus;
mod creation;
mod daemons;
mod exec;
mod exhaustion;
mod faults;
mod fs;
mod hostile;
pub(crate) mod kernel;
mod longest;
mod mapping;
mod maps;
mod memory;
mod messages;
mod page_in;
mod paths;
mod poll;
mod polled;
mod process;
mod registered;
mod repeated;
mod sandbox;
mod shares;
mod threads;
mod timers;

use crate::guest::Guest;
use crate::verdict::Verdict;
use core::time::Duration;

/// One test.
pub(crate) struct Test {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn(&Guest) -> Verdict,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// A list of tests by the names of their functions; `name: 300,` gives one 300 seconds instead of the usual limit, which is
/// for what hangs: none takes nearly as long, however little time the host has.
macro_rules! tests {
    (@limit) => { 170 };
    (@limit $seconds:literal) => { $seconds };
    ($($name:ident $(: $seconds:literal)?,)*) => {
        /// The tests of this file.
        pub(super) const TESTS: &[crate::cases::Test] = &[$(crate::cases::Test {
            name: stringify!($name),
            run: $name,
            limit: core::time::Duration::from_secs(crate::cases::tests!(@limit $($seconds)?)),
        },)*];
    };
}
use tests;

/// The tests that are true only where time is counted instructions. The last looks back at all that ran before.
pub(crate) fn counted() -> impl Iterator<Item = &'static Test> {
    shares::TESTS.iter().chain(longest::TESTS)
}

/// Every other test, in the order in which they run.
pub(crate) fn all() -> impl Iterator<Item = &'static Test> {
    let lists = [
        kernel::TESTS,
        fs::TESTS,
        poll::TESTS,
        messages::TESTS,
        sandbox::TESTS,
        paths::TESTS,
        process::TESTS,
        mapping::TESTS,
        maps::TESTS,
        page_in::TESTS,
        memory::TESTS,
        registered::TESTS,
        cancel::TESTS,
        chains::TESTS,
        creation::TESTS,
        threads::TESTS,
        timers::TESTS,
        repeated::TESTS,
        faults::TESTS,
        hostile::TESTS,
        contexts::TESTS,
        cpus::TESTS,
        polled::TESTS,
        exec::TESTS,
        exhaustion::TESTS,
        daemons::TESTS,
    ];
    lists.into_iter().flatten()
}
