//! What tests do with the system: programs, daemons, scratch folders, time limits.
#![forbid(unsafe_code)]

use crate::runner::{end, wait_at_most};
use crate::verdict::{Failed, Verdict};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bare::shared::words;
use core::cell::RefCell;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::Acquire;
use core::time::Duration;
use posix::directory::mkdir;
use posix::file::close;
use posix::flags::O_STAT;
use posix::fork::{Fork, fork};
use posix::open::open;
use posix::process::exit;
use posix::spawn::{Command, STANDARD, spawn};
use ring_abi::Errno;
use ring_abi::context::End;
use uring::Fd;
use uring::exec::timeout;
use uring::op::time::after;
use uring::println;

/// How long anything may take that a test waits for, on a host that has little time for the guest. No test is about that: what
/// comes is counted or awaited, and this only ends what never comes.
const PATIENCE: Duration = Duration::from_secs(100);
/// Looks at what is to come to pass, a pause after each: less often on a slow host, which is what they are counted for.
const LOOKS: u32 = 20_000;
/// The pause.
const PAUSE: Duration = Duration::from_millis(5);

/// Awaits something that comes.
pub(crate) fn within<F: Future>(future: F) -> Result<F::Output, Failed> {
    uring::block_on(timeout(PATIENCE, future)).map_err(|_| "it never ended".into())
}

/// Waits until something holds; looks again and again.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> Verdict {
    for _ in 0..LOOKS {
        if holds() {
            return Ok(());
        }
        after(PAUSE).wait()?;
    }
    Err(Failed(format!("it never came to pass: {what}")))
}

/// The system, as one test sees it. Processes that the test started end with it.
pub(crate) struct Guest {
    test: &'static str,
    children: RefCell<Vec<u32>>,
}

impl Guest {
    /// For a test.
    pub(crate) fn new(test: &'static str) -> Guest {
        Guest { test, children: RefCell::default() }
    }

    /// Starts a program of `/bin`; its process id.
    pub(crate) fn spawn(&self, words: &[&str]) -> Result<u32, Errno> {
        self.spawn_with(words, &STANDARD)
    }

    /// The same, with these handles.
    pub(crate) fn spawn_with(&self, words: &[&str], handles: &[(Fd, u64)]) -> Result<u32, Errno> {
        let name = words.first().ok_or(Errno::NOENT)?;
        let path = ["/scheme/initfs/bin/", name].concat();
        let arguments: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let path = path.as_bytes();
        let pid = spawn(&Command { path, arguments: &arguments, environment: &[b"PATH=/bin"], handles })?;
        self.children.borrow_mut().push(pid);
        Ok(pid)
    }

    /// Starts a daemon, whose scheme is named by its first argument, and waits until it serves; its process id.
    pub(crate) fn daemon(&self, words: &[&str]) -> Result<u32, Failed> {
        let pid = self.spawn(words)?;
        let path = ["/scheme/", words.get(1).copied().unwrap_or_default()].concat();
        self.until("a daemon serves", || match open(path.as_bytes(), O_STAT, 0) {
            Ok(fd) => close(fd).is_ok(),
            Err(error) => error != Errno::NODEV,
        })?;
        Ok(pid)
    }

    /// Waits for a child's end.
    pub(crate) fn wait(&self, pid: u32) -> Result<End, Failed> {
        let end = wait_at_most(pid, PATIENCE)?.ok_or("a child did not end")?;
        self.children.borrow_mut().retain(|child| *child != pid);
        Ok(end)
    }

    /// Ends a child.
    pub(crate) fn kill(&self, pid: u32) -> Result<End, Errno> {
        self.children.borrow_mut().retain(|child| *child != pid);
        end(pid)
    }

    /// Forks: the child does something and ends with what comes of it.
    pub(crate) fn fork(&self, act: impl FnOnce() -> Result<u8, Failed>) -> Result<u32, Errno> {
        match fork()? {
            Fork::Parent(pid) => {
                self.children.borrow_mut().push(pid);
                Ok(pid)
            }
            Fork::Child => exit(act().unwrap_or_else(|why| {
                println!("{}: in the child: {why}", self.test);
                u8::MAX
            })),
        }
    }

    /// Forks a child that says (by the word that it is given) when what it is going to wait for is in flight, and waits for
    /// that.
    pub(crate) fn fork_until(
        &self,
        act: impl FnOnce(&AtomicU32) -> Result<u8, Failed>,
    ) -> Result<u32, Failed> {
        let [word, ..] = words(1)? else { return Err("no shared memory".into()) };
        let pid = self.fork(|| act(word))?;
        self.until("the child is ready", || word.load(Acquire) != 0)?;
        Ok(pid)
    }

    /// Forks and waits; how the child ended.
    pub(crate) fn in_child(&self, act: impl FnOnce() -> Result<u8, Failed>) -> Result<End, Failed> {
        let pid = self.fork(act)?;
        self.wait(pid)
    }

    /// A fresh folder in `ramfs`, for this test alone; its path.
    pub(crate) fn folder(&self) -> Result<String, Errno> {
        let path = format!("/scheme/ram/{}", self.test);
        mkdir(path.as_bytes(), 0o755)?;
        Ok(path)
    }

    /// Lets time pass.
    pub(crate) fn sleep(&self, milliseconds: u64) -> Result<(), Errno> {
        after(Duration::from_millis(milliseconds)).wait()
    }

    /// Waits until something holds; looks again and again.
    pub(crate) fn until(&self, what: &str, holds: impl FnMut() -> bool) -> Verdict {
        until(what, holds)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for pid in self.children.take() {
            // One that has ended by itself is fine too.
            let _ = end(pid);
        }
    }
}
