//! Programs of every kind that exec and spawn take or refuse: scripts, damaged files, one file many times at once.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use posix::file::{close, ftruncate, handle_flags, pread, pwrite};
use posix::flags::{O_CLOEXEC, O_CREAT, O_RDONLY, O_RDWR};
use posix::open::open;
use posix::spawn::{Command, exec, spawn};
use ring_abi::Errno;
use ring_abi::context::End;
use uring::Fd;
use uring::op::file::fsize;

tests! {
    a_script_is_read_by_its_interpreter,
    a_script_without_an_interpreter_is_refused,
    interpreters_may_be_scripts_a_few_times,
    damaged_programs_are_refused_and_nothing_is_lost,
    a_hundred_execs_of_one_program_at_once,
}

const QTEST: &str = "/scheme/initfs/bin/qtest";

/// A file with these bytes, in a folder of the test's own.
fn file(folder: &str, name: &str, bytes: &[u8]) -> Result<String, Failed> {
    let path = format!("{folder}/{name}");
    let file = open(path.as_bytes(), O_RDWR | O_CREAT, 0o755)?;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        at = at.saturating_add(pwrite(file, rest, at as u64)?);
    }
    ftruncate(file, bytes.len() as u64)?;
    close(file)?;
    Ok(path)
}

fn contents(path: &str) -> Result<Vec<u8>, Failed> {
    let file = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut bytes = vec![0; fsize(file).wait()? as usize];
    let mut at = 0;
    while at < bytes.len() {
        at = at.saturating_add(pread(file, bytes.get_mut(at..).ok_or("too much")?, at as u64)?);
    }
    close(file)?;
    Ok(bytes)
}

fn run(path: &str, arguments: &[&[u8]]) -> Result<u32, Errno> {
    spawn(&Command { path: path.as_bytes(), arguments, environment: &[], handles: &[] })
}

fn a_script_is_read_by_its_interpreter(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let script = file(&folder, "script", format!("#! {QTEST}\t--role \nexit 1\n").as_bytes())?;
    equal(guest.wait(run(&script, &[b"anything", b"42"])?)?, End::Exited(42))?;
    let end = guest.in_child(|| Err(exec(script.as_bytes(), &[b"anything", b"43"], &[]).into()))?;
    equal(end, End::Exited(43))
}

fn a_script_without_an_interpreter_is_refused(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    for (line, error) in [
        ("#!", Errno::NOEXEC),
        ("#! \n/scheme/initfs/bin/nothing\n", Errno::NOEXEC),
        ("#!/scheme/initfs/bin/missing\n", Errno::NOENT),
        ("#!/scheme/initfs/etc/motd\n", Errno::NOEXEC),
        ("#!/scheme/initfs/bin/\n", Errno::ACCES),
    ] {
        let script = file(&folder, "script", line.as_bytes())?;
        equal(run(&script, &[b"script"]), Err(error))?;
        equal(exec(script.as_bytes(), &[b"script"], &[]), error)?;
    }
    Ok(())
}

fn interpreters_may_be_scripts_a_few_times(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let mut interpreter = String::from("/scheme/initfs/bin/nothing");
    for round in 0..5 {
        interpreter = file(&folder, &format!("{round}"), format!("#!{interpreter}\n").as_bytes())?;
        let started = run(&interpreter, &[b"script"]);
        if round == 4 {
            equal(started, Err(Errno::LOOP))?;
        } else {
            equal(guest.wait(started?)?, End::Exited(0))?;
        }
    }
    let own = format!("{folder}/own");
    file(&folder, "own", format!("#!{own}\n").as_bytes())?;
    equal(run(&own, &[b"own"]), Err(Errno::LOOP))
}

/// Changes bytes of a program's file, at an offset.
type Damage = (&'static str, usize, &'static [u8]);

/// Where the first program header begins, and the offsets of its fields behind that.
const HEADERS: usize = 64;
const FLAGS: usize = HEADERS + 4;
const OFFSET: usize = HEADERS + 8;
const ADDRESS: usize = HEADERS + 16;
const FILE_BYTES: usize = HEADERS + 32;
const MEMORY_BYTES: usize = HEADERS + 40;

const DAMAGE: &[Damage] = &[
    ("another magic number", 0, b"\x7fELG"),
    ("a class of 32 bits", 4, &[1]),
    ("the other byte order", 5, &[2]),
    ("a relocatable file", 16, &[1, 0]),
    ("another machine", 18, &[183, 0]),
    ("program headers elsewhere", 32, &[0xff; 8]),
    ("program headers of another size", 54, &[32, 0]),
    ("too many program headers", 56, &[0xff, 0xff]),
    ("no program headers", 56, &[0, 0]),
    ("a segment that is written and executed", FLAGS, &[7, 0, 0, 0]),
    ("a segment behind the file's end", OFFSET, &[0, 0, 0, 0, 0, 1, 0, 0]),
    ("a segment in the kernel", ADDRESS, &[0, 0, 0, 0, 0, 0x80, 0xff, 0xff]),
    ("a segment that takes more of the file than it has", FILE_BYTES, &[0xff; 8]),
    ("a segment of wild size", MEMORY_BYTES, &[0, 0, 0, 0, 0, 0, 0, 0x10]),
    ("segments that overlap", MEMORY_BYTES, &[0, 0, 0, 1, 0, 0, 0, 0]),
];

/// The program begins with a loaded segment, so that damage to its header is damage to what is loaded.
fn loads_first(bytes: &[u8]) -> bool {
    bytes.get(HEADERS..FLAGS) == Some(&[1, 0, 0, 0])
}

fn damaged_programs_are_refused_and_nothing_is_lost(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let mut program = contents("/scheme/initfs/bin/nothing")?;
    // The first header may be that of the headers themselves: a loaded segment takes its place.
    for at in (HEADERS..HEADERS + 8 * 56).step_by(56) {
        if loads_first(&program) {
            break;
        }
        let next = program.get(at + 56..at + 112).ok_or("too short")?.to_vec();
        program.get_mut(HEADERS..HEADERS + 56).ok_or("too short")?.copy_from_slice(&next);
    }
    let whole = contents("/scheme/initfs/bin/nothing")?;
    ensure(loads_first(&program), "a program without a segment")?;
    let kept = open(QTEST.as_bytes(), O_RDONLY | O_CLOEXEC, 0)?;
    let refused = |what: &str, bytes: &[u8]| -> Verdict {
        let path = file(&folder, "program", bytes)?;
        let error = exec(path.as_bytes(), &[b"program"], &[]);
        ensure(error == Errno::NOEXEC, &format!("{what}: exec gives {error:?}"))?;
        let started = run(&path, &[b"program"]);
        ensure(started == Err(Errno::NOEXEC), &format!("{what}: spawn gives {started:?}"))
    };
    for (what, at, bytes) in DAMAGE {
        let mut damaged = program.clone();
        damaged.get_mut(*at..at + bytes.len()).ok_or("too short")?.copy_from_slice(bytes);
        refused(what, &damaged)?;
    }
    for length in [0, 1, 4, 63, 64, 100, 200] {
        refused("a cut head", whole.get(..length).ok_or("too short")?)?;
    }
    refused("a cut file", whole.get(..whole.len() / 2).ok_or("too short")?)?;
    ensure(handle_flags(kept, None).is_ok(), "a handle was closed")?;
    close(kept)?;
    let path = file(&folder, "program", &whole)?;
    equal(guest.wait(run(&path, &[b"program"])?)?, End::Exited(0))
}

fn a_hundred_execs_of_one_program_at_once(guest: &Guest) -> Verdict {
    let copy = file(&guest.folder()?, "program", &contents(QTEST)?)?;
    let go = open(format!("{copy}-go").as_bytes(), O_RDWR | O_CREAT, 0o600)?;
    let mut children: Vec<(u32, u8)> = vec![];
    for number in 0..100_u8 {
        let path = if number % 2 == 0 { QTEST } else { copy.as_str() };
        let code = format!("{number}");
        let words: [&[u8]; 4] = [b"qtest", b"--role", b"exit", code.as_bytes()];
        let child = guest.fork(|| {
            // All are there before the first one goes.
            while pread(go, &mut [0], 0)? == 0 {
                uring::op::time::after(core::time::Duration::from_millis(5)).wait()?;
            }
            Err(exec(path.as_bytes(), &words, &[]).into())
        })?;
        children.push((child, number));
    }
    equal(pwrite(go, b"!", 0), Ok(1))?;
    for (child, number) in children {
        equal(guest.wait(child)?, End::Exited(number))?;
    }
    close(go)?;
    ensure(handle_flags(Fd(0), None).is_ok(), "handle 0 is gone")
}
