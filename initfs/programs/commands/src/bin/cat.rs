//! `cat`: copies files to standard output, or standard input if none is named.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use posix::Fd;
use posix::file::{close, read, write_all};
use posix::flags::O_RDONLY;
use posix::open::open;
use ring_abi::Errno;
use uring::eprintln;
use uring::start::env::args;

uring::main!(run);

fn run() -> u8 {
    let mut code = 0;
    let mut report = |name: &str, result: Result<(), Errno>| {
        if let Err(error) = result {
            eprintln!("cat: {name}: {error}");
            code = 1;
        }
    };
    for name in args().skip(1) {
        report(name, open(name.as_bytes(), O_RDONLY, 0).and_then(|file| copy(file).and(close(file))));
    }
    if args().nth(1).is_none() {
        report("standard input", copy(Fd(0)));
    }
    code
}

fn copy(file: Fd) -> Result<(), Errno> {
    let mut buffer = alloc::vec![0; 4096];
    loop {
        let count = read(file, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        write_all(Fd(1), buffer.get(..count).ok_or(Errno::IO)?)?;
    }
}
