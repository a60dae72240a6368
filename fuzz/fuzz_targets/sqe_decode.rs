//! No bytes of an entry make a decoder panic or contradict itself.

#![no_main]

#[path = "../harness/sqe_decode.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::check(bytes));
