//! Processes: fork, exec, spawn, wait, kill.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Failed, Verdict, ensure, equal};
use alloc::format;
use alloc::vec;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;
use posix::file::{close, dup2, handle_flags, read, write_all};
use posix::flags::{O_CLOEXEC, O_CREAT, O_RDONLY, O_RDWR};
use posix::open::{chdir, open};
use posix::process::{getpid, getppid, kill, wait_end, waitpid};
use posix::protocol::{Target, Wait};
use posix::spawn::exec;
use ring_abi::Errno;
use ring_abi::context::{End, Reason};
use uring::Fd;

tests! {
    a_fork_goes_on_twice,
    a_child_has_its_own_memory,
    a_child_and_its_parent_share_cursors,
    shared_memory_stays_shared,
    a_child_ends_with_its_code,
    a_child_of_a_child_is_its_childs,
    waiting_without_children_is_an_error,
    waiting_need_not_wait,
    any_child_can_be_waited_for,
    a_killed_child_says_so,
    a_child_that_faults_says_so,
    a_program_gets_its_arguments_and_environment,
    a_program_gets_the_current_directory,
    a_program_gets_the_handles_that_it_is_given,
    exec_replaces_the_program,
    exec_closes_what_is_to_be_closed,
    a_failed_exec_changes_nothing,
    a_missing_program_is_said,
    many_children_come_and_go,
    forks_leave_nothing_behind,
}

fn a_fork_goes_on_twice(guest: &Guest) -> Verdict {
    let before = getpid()?;
    let end = guest.in_child(|| {
        ensure(getpid()? != before, "the child has its parent's number")?;
        equal(getppid()?, before)?;
        Ok(7)
    })?;
    equal(end, End::Exited(7))?;
    equal(getpid()?, before)
}

fn a_child_has_its_own_memory(guest: &Guest) -> Verdict {
    static WORD: AtomicU64 = AtomicU64::new(1);
    let mut heap = vec![1_u8; 100_000];
    let end = guest.in_child(|| {
        WORD.store(2, Relaxed);
        heap.fill(2);
        Ok(u8::from(heap.iter().any(|byte| *byte != 2)))
    })?;
    equal(end, End::Exited(0))?;
    equal(WORD.load(Relaxed), 1)?;
    ensure(heap.iter().all(|byte| *byte == 1), "the child's writes are here")
}

fn a_child_and_its_parent_share_cursors(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    write_all(fd, b"parent ")?;
    equal(guest.in_child(|| Ok(write_all(fd, b"child ").map(|()| 0)?))?, End::Exited(0))?;
    write_all(fd, b"again")?;
    close(fd)?;
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut bytes = [0; 32];
    equal(read(fd, &mut bytes), Ok(18))?;
    equal(bytes.get(..18), Some(&b"parent child again"[..]))
}

fn shared_memory_stays_shared(guest: &Guest) -> Verdict {
    let words = bare::shared::words::<AtomicU64>(1024)?;
    let [first, .., last] = words else { return Err("no words".into()) };
    first.store(5, Relaxed);
    let end = guest.in_child(|| {
        equal(first.load(Relaxed), 5)?;
        last.store(6, Relaxed);
        Ok(0)
    })?;
    equal(end, End::Exited(0))?;
    equal(last.load(Relaxed), 6)
}

fn a_child_ends_with_its_code(guest: &Guest) -> Verdict {
    for code in [0, 1, 42, 255] {
        let pid = guest.spawn(&["qtest", "--role", "exit", &format!("{code}")])?;
        equal(guest.wait(pid)?, End::Exited(code))?;
    }
    Ok(())
}

fn a_child_of_a_child_is_its_childs(guest: &Guest) -> Verdict {
    let me = getpid()?;
    let end = guest.in_child(|| {
        let inner = guest.in_child(|| Ok(u8::from(getppid()? == me)))?;
        equal(inner, End::Exited(0))?;
        Ok(3)
    })?;
    equal(end, End::Exited(3))?;
    equal(wait_end(Wait { target: Target::Any, at_once: false }), Err(Errno::CHILD))
}

fn waiting_without_children_is_an_error(_: &Guest) -> Verdict {
    equal(waitpid(-1, 0), Err(Errno::CHILD))?;
    equal(waitpid(1, 0), Err(Errno::CHILD))?;
    equal(waitpid(12_345, posix::process::WNOHANG), Err(Errno::CHILD))
}

fn waiting_need_not_wait(guest: &Guest) -> Verdict {
    let pid = guest.spawn(&["still"])?;
    equal(waitpid(-1, posix::process::WNOHANG), Ok((0, 0)))?;
    equal(guest.kill(pid)?, End::Ended(Reason::Killed))
}

fn any_child_can_be_waited_for(guest: &Guest) -> Verdict {
    let mut missing = vec![];
    for code in 10..15_u8 {
        missing.push((guest.fork(|| Ok(code))?, End::Exited(code)));
    }
    while !missing.is_empty() {
        let found = wait_end(Wait { target: Target::Any, at_once: false })?.ok_or("no child")?;
        ensure(missing.contains(&found), "a child that is none, or another end")?;
        missing.retain(|child| *child != found);
    }
    Ok(())
}

fn a_killed_child_says_so(guest: &Guest) -> Verdict {
    let pid = guest.spawn(&["still"])?;
    kill(i32::try_from(pid).unwrap_or(0), 0)?;
    equal(guest.kill(pid)?, End::Ended(Reason::Killed))?;
    equal(kill(i32::try_from(pid).unwrap_or(0), 0), Err(Errno::SRCH))
}

fn a_child_that_faults_says_so(guest: &Guest) -> Verdict {
    let end = guest.in_child(|| Ok(bare::mischief::peek(8) as u8))?;
    equal(end, End::Ended(Reason::PageFault))?;
    let end = guest.in_child(|| bare::mischief::stop())?;
    equal(end, End::Ended(Reason::InvalidOpcode))
}

fn a_program_gets_its_arguments_and_environment(guest: &Guest) -> Verdict {
    let words = ["qtest", "--role", "arguments", "", "a b", "\"", "last"];
    let pid = guest.spawn(&words)?;
    equal(guest.wait(pid)?, End::Exited(0))?;
    let pid = guest.spawn(&["qtest", "--role", "environment", "PATH", "/bin"])?;
    equal(guest.wait(pid)?, End::Exited(0))
}

fn a_program_gets_the_current_directory(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    chdir(folder.as_bytes())?;
    let pid = guest.spawn(&["qtest", "--role", "directory", &folder])?;
    equal(guest.wait(pid)?, End::Exited(0))?;
    let end = guest.in_child(|| run(&["qtest", "--role", "directory", &folder]))?;
    equal(end, End::Exited(0))
}

fn a_program_gets_the_handles_that_it_is_given(guest: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY, 0)?;
    let handles = [(Fd(0), 0), (Fd(1), 1), (Fd(2), 2), (fd, 40)];
    for (role, number, code) in [("has-handle", "40", 0), ("lacks-handle", "41", 0), ("has-handle", "41", 1)]
    {
        let pid = guest.spawn_with(&["qtest", "--role", role, number], &handles)?;
        equal(guest.wait(pid)?, End::Exited(code))?;
    }
    Ok(close(fd)?)
}

/// Replaces this program; comes back only with an error.
fn run(words: &[&str]) -> Result<u8, Failed> {
    let arguments: alloc::vec::Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let path = format!("/scheme/initfs/bin/{}", words.first().copied().unwrap_or_default());
    Err(exec(path.as_bytes(), &arguments, &[b"PATH=/bin"]).into())
}

fn exec_replaces_the_program(guest: &Guest) -> Verdict {
    let pid = guest.fork(|| {
        let me = format!("{}", getpid()?);
        run(&["qtest", "--role", "pid", &me])
    })?;
    equal(guest.wait(pid)?, End::Exited(0))?;
    equal(guest.in_child(|| run(&["qtest", "--role", "exit", "9"]))?, End::Exited(9))?;
    equal(guest.in_child(|| run(&["nothing"]))?, End::Exited(0))
}

fn exec_closes_what_is_to_be_closed(guest: &Guest) -> Verdict {
    for (flags, role) in [(0, "has-handle"), (O_CLOEXEC, "lacks-handle")] {
        let end = guest.in_child(|| {
            let fd = open(b"/scheme/null/zero", O_RDONLY | flags, 0)?;
            run(&["qtest", "--role", role, &format!("{}", fd.0)])
        })?;
        equal(end, End::Exited(0))?;
    }
    Ok(())
}

fn a_failed_exec_changes_nothing(guest: &Guest) -> Verdict {
    let fd = open(b"/scheme/null/zero", O_RDONLY | O_CLOEXEC, 0)?;
    equal(exec(b"/scheme/initfs/bin/missing", &[b"x"], &[]), Errno::NOENT)?;
    equal(exec(b"/scheme/initfs/etc/motd", &[b"x"], &[]), Errno::NOEXEC)?;
    equal(exec(b"/scheme/initfs/etc", &[b"x"], &[]).raw() != 0, true)?;
    ensure(handle_flags(fd, None).is_ok(), "a handle was closed")?;
    equal(dup2(fd, Fd(77)), Ok(Fd(77)))?;
    equal(guest.in_child(|| Ok(5))?, End::Exited(5))
}

fn a_missing_program_is_said(guest: &Guest) -> Verdict {
    equal(guest.spawn(&["missing"]), Err(Errno::NOENT))
}

fn many_children_come_and_go(guest: &Guest) -> Verdict {
    for round in 0..50_u8 {
        equal(guest.in_child(|| Ok(round))?, End::Exited(round))?;
        let pid = guest.spawn(&["nothing"])?;
        equal(guest.wait(pid)?, End::Exited(0))?;
    }
    Ok(())
}

fn forks_leave_nothing_behind(guest: &Guest) -> Verdict {
    let free = || super::kernel::footprint("frames.free");
    let spaces = || super::kernel::footprint("spaces");
    let alone = spaces()?;
    equal(guest.in_child(|| Ok(0))?, End::Exited(0))?;
    guest.until("the first child is gone", || spaces().is_ok_and(|now| now <= alone))?;
    let before = free()?;
    for _ in 0..20 {
        equal(guest.in_child(|| Ok(0))?, End::Exited(0))?;
    }
    // The last of a process's end happens in pieces of work after its parent has heard of it.
    guest.until("the frames come back", || free().is_ok_and(|now| now.saturating_add(16) >= before))
}
