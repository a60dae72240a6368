//! `init`: starts the daemons of `/etc/plan`, runs what the host asked for, and keeps the daemons alive.
//!
//! - A daemon is started again when it dies, unless it dies too often.
//! - The machine ends with the status of the program in `/etc/cmdline`, if there is one; otherwise init greets
//!   and runs what is typed on the console.
#![cfg_attr(target_os = "redox", no_std, no_main)]
#![forbid(unsafe_code)]

extern crate alloc;

mod console;
mod daemons;
mod machine;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use daemons::Daemons;
use init::options::Options;
use init::plan;
use posix::Fd;
use posix::directory::read_directory;
use posix::process::wait_end;
use posix::protocol::{Target, Wait, signal};
use posix::spawn::{Command, STANDARD, spawn_after};
use ring_abi::Errno;
use ring_abi::context::End;
use uring::trap::ticks;
use uring::{eprintln, println};

/// Variable of the environment that tells the program of the host when init began, by the time-stamp counter.
const BEGAN: &str = "INIT_TICKS";

uring::main!(run);

fn run() -> u8 {
    let began = ticks();
    let options = Options::parse(&machine::read_text("/etc/cmdline").unwrap_or_default());
    let mut daemons = Daemons::default();
    match machine::read_text("/etc/plan") {
        Ok(text) => plan::parse(&text).into_iter().for_each(|line| match line {
            Ok(daemon) => daemons.add(daemon),
            Err(line) => eprintln!("init: /etc/plan: not a daemon: {line}"),
        }),
        Err(error) => eprintln!("init: /etc/plan: {error}"),
    }
    if options.exec.is_empty() {
        greet();
        uring::block_on(console::stay(&mut daemons));
    }
    let program = start(&options, began);
    supervise(&mut daemons, program)
}

/// Starts the program that the host asked for; its process id. `began` is when init itself did.
fn start(options: &Options, began: u64) -> u32 {
    let trace = |pid| {
        if options.trace_rings
            && let Err(error) = machine::trace_rings(pid)
        {
            eprintln!("init: rings cannot be traced: {error}");
        }
        Ok(())
    };
    match start_program(&options.exec, &[format!("{BEGAN}={began}")], &STANDARD, trace) {
        Ok(pid) => pid,
        Err(error) => {
            let name = options.exec.first().map_or("", String::as_str);
            eprintln!("init: {name}: {error}");
            machine::end(if error == Errno::NOENT { 127 } else { 126 })
        }
    }
}

/// Starts a program by its words. A name without a slash is one of `/bin`. `ready` gets the process id before
/// the program runs.
fn start_program(
    words: &[String],
    variables: &[String],
    handles: &[(Fd, u64)],
    ready: impl FnOnce(u32) -> Result<(), Errno>,
) -> Result<u32, Errno> {
    let name = words.first().ok_or(Errno::NOENT)?;
    let path = if name.contains(['/', ':']) { name.clone() } else { ["/bin/", name].concat() };
    let arguments: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    let variables = variables.iter().map(String::as_bytes);
    let environment: Vec<&[u8]> = core::iter::once(&b"PATH=/bin"[..]).chain(variables).collect();
    let command =
        Command { path: path.as_bytes(), arguments: &arguments, environment: &environment, handles };
    spawn_after(&command, ready)
}

/// Keeps the daemons alive until the program has ended, and ends the machine with its status.
fn supervise(daemons: &mut Daemons, program: u32) -> ! {
    loop {
        match wait_end(Wait { target: Target::Any, at_once: false }) {
            Ok(Some((pid, end))) if pid == program => machine::end(status(end)),
            Ok(Some((pid, end))) => daemons.ended(pid, end),
            Ok(None) => {}
            Err(error) => {
                eprintln!("init: the program cannot be waited for: {error}");
                machine::end(1)
            }
        }
    }
}

/// The machine's exit status for the program's end, as a shell would say it.
fn status(end: End) -> u8 {
    match end {
        End::Exited(code) => code,
        End::Ended(reason) => {
            eprintln!("init: the program was ended: {reason:?}");
            u8::try_from(signal(reason)).unwrap_or(0).saturating_add(128)
        }
    }
}

fn greet() {
    if let Ok(text) = machine::read_text("/etc/motd") {
        println!("{}", text.trim_end());
    }
    match read_directory(b"/scheme") {
        Ok(entries) => {
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            println!("schemes: {}", names.join(" "));
        }
        Err(error) => eprintln!("init: /scheme: {error}"),
    }
    println!("type a command, as `ls -l /`; programs are in /bin");
}
