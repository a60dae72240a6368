//! No indices that a peer writes make an end of a ring panic, leave the ring, or lose count.

#![no_main]

#[path = "../harness/ring_header.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::check(bytes));
