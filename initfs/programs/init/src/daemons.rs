//! The daemons that init started, and what it does when one dies.
#![forbid(unsafe_code)]

use crate::machine;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use init::plan::{Daemon, Deaths};
use posix::file::close;
use posix::flags::O_STAT;
use posix::open::open;
use posix::process::wait_end;
use posix::protocol::{Target, Wait};
use posix::spawn::STANDARD;
use ring_abi::Errno;
use ring_abi::context::End;
use uring::eprintln;

/// How long a daemon may take until its scheme is there.
const PATIENCE: u64 = 5_000_000_000;
/// First pause between two looks for a scheme; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_micros(50);

/// A daemon that was started.
#[derive(Debug)]
struct Started {
    daemon: Daemon,
    pid: u32,
    /// When, on the monotonic clock.
    since: u64,
    deaths: Deaths,
}

/// All daemons.
#[derive(Debug, Default)]
pub(crate) struct Daemons {
    started: Vec<Started>,
}

impl Daemons {
    /// Starts a daemon and waits until its scheme is there.
    pub(crate) fn add(&mut self, daemon: Daemon) {
        let mut started = Started { daemon, pid: 0, since: 0, deaths: Deaths::default() };
        started.start();
        self.started.push(started);
    }

    /// A child has ended. If it was a daemon, it is started again. Others are orphans that nobody waits for.
    pub(crate) fn ended(&mut self, pid: u32, end: End) {
        if let Some(started) = self.started.iter_mut().find(|started| started.pid == pid) {
            started.died(end);
        }
    }
}

impl Started {
    /// Starts it, and again if it dies before it serves.
    fn start(&mut self) {
        self.since = machine::now();
        match crate::start_program(&self.daemon.command, &[], &STANDARD, |_| Ok(())) {
            Ok(pid) => self.pid = pid,
            Err(error) => {
                eprintln!("init: {}: {error}", self.name());
                self.pid = 0;
                return;
            }
        }
        match self.wait_until_served() {
            Ok(None) => {}
            Ok(Some(end)) => self.died(end),
            Err(error) => eprintln!("init: {}: scheme {}: {error}", self.name(), self.daemon.scheme),
        }
    }

    fn died(&mut self, end: End) {
        let served = machine::now().saturating_sub(self.since);
        self.pid = 0;
        if self.deaths.count(served) {
            eprintln!("init: {} died ({end:?}), starting it again", self.name());
            self.start();
        } else {
            eprintln!("init: {} died ({end:?}) too often, leaving it dead", self.name());
        }
    }

    /// Looks for the scheme with growing pauses. How the daemon ended, if it did first.
    fn wait_until_served(&self) -> Result<Option<End>, Errno> {
        let path = ["/scheme/", &self.daemon.scheme].concat();
        let mut pause = FIRST_PAUSE;
        loop {
            match open(path.as_bytes(), O_STAT, 0) {
                Err(Errno::NODEV) => {}
                Ok(fd) => return close(fd).map(|()| None),
                Err(_) => return Ok(None), // it is there, and has its own opinion on its root
            }
            let wait = Wait { target: Target::Process(self.pid), at_once: true };
            if let Some((_, end)) = wait_end(wait)? {
                return Ok(Some(end));
            }
            if machine::now().saturating_sub(self.since) > PATIENCE {
                return Err(Errno::TIMEDOUT);
            }
            machine::sleep(pause);
            pause = pause.saturating_mul(2);
        }
    }

    fn name(&self) -> &str {
        self.daemon.command.first().map_or("", String::as_str)
    }
}
