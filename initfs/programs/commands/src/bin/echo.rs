//! `echo`: prints its arguments.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

use uring::start::env::args;
use uring::{print, println};

uring::main!(run);

fn run() -> u8 {
    for (index, word) in args().skip(1).enumerate() {
        print!("{}{word}", if index == 0 { "" } else { " " });
    }
    println!();
    0
}
