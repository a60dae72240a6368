//! No bytes make the reader of initfs images panic, loop or contradict itself.

#![no_main]

#[path = "../harness/initfs_image.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| harness::check(bytes));
