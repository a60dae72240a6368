//! The kernel's longest step under all tests that ran before, where ticks are instructions: `qtest --counted`.
//!
//! While a step lasts, interrupts wait: on one processor the longest step is what an interrupt waits at most.
#![forbid(unsafe_code)]

use super::kernel::text;
use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict};
use alloc::format;
use bare::clock::{empty_pair, thousand_nops};
use uring::println;

tests! {
    no_step_is_longer_than_promised,
}

/// Instructions that a step may take.
const LONGEST: u64 = 20_000;

fn no_step_is_longer_than_promised(_: &Guest) -> Verdict {
    let text = text("/scheme/sys/step")?;
    let number = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        value.ok_or_else(|| Failed(format!("sys/step lacks {name}")))
    };
    let (ticks, kind) = (number("longest_step_ticks ")?, number("longest_step_kind ")?);
    let thousand = thousand_nops().saturating_sub(empty_pair()).max(1);
    let instructions = ticks.saturating_mul(1000) / thousand;
    println!("the longest step took {instructions} instructions, and was of kind {kind}");
    if instructions <= LONGEST {
        return Ok(());
    }
    Err(Failed(format!("a step took {instructions} instructions, and was of kind {kind}")))
}
