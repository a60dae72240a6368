//! `ls`: lists directories, one name a line; with `-l` what each file is.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use posix::directory::{read_directory, readlink};
use posix::file::lstat;
use posix::flags::{MODE_DIRECTORY, MODE_FILE, MODE_PERMISSIONS, MODE_SYMLINK, MODE_TYPE};
use ring_abi::Errno;
use uring::start::env::args;
use uring::{eprintln, println};

uring::main!(run);

fn run() -> u8 {
    let (options, mut paths): (Vec<&str>, Vec<&str>) = args().skip(1).partition(|word| word.starts_with('-'));
    if let Some(other) = options.iter().find(|option| **option != "-l") {
        eprintln!("ls: {other}: no such option; there is only -l");
        return 2;
    }
    if paths.is_empty() {
        paths.push(".");
    }
    let mut code = 0;
    for path in &paths {
        if paths.len() > 1 {
            println!("{path}:");
        }
        if let Err(error) = list(path, !options.is_empty()) {
            eprintln!("ls: {path}: {error}");
            code = 1;
        }
    }
    code
}

fn list(path: &str, is_long: bool) -> Result<(), Errno> {
    let mut names: Vec<String> = match read_directory(path.as_bytes()) {
        Err(Errno::NOTDIR) => return show(path, path, is_long),
        entries => entries?.into_iter().map(|entry| entry.name).collect(),
    };
    names.sort_unstable();
    for name in names {
        let whole = [path, "/", &name].concat();
        if let Err(error) = show(&whole, &name, is_long) {
            println!("{name}: {error}");
        }
    }
    Ok(())
}

fn show(path: &str, name: &str, is_long: bool) -> Result<(), Errno> {
    if !is_long {
        println!("{name}");
        return Ok(());
    }
    let stat = lstat(path.as_bytes())?;
    let mode = u32::from(stat.st_mode);
    let kind = match mode & MODE_TYPE {
        MODE_DIRECTORY => 'd',
        MODE_FILE => '-',
        MODE_SYMLINK => 'l',
        _ => '?',
    };
    let mut target = alloc::vec![0; posix::path::PATH_MAX];
    let length = if kind == 'l' { readlink(path.as_bytes(), &mut target)? } else { 0 };
    let target = core::str::from_utf8(target.get(..length).unwrap_or_default()).unwrap_or("?");
    let arrow = if kind == 'l' { " -> " } else { "" };
    println!("{kind}{:04o} {:>9} {name}{arrow}{target}", mode & MODE_PERMISSIONS, { stat.st_size });
    Ok(())
}
