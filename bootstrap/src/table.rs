//! The process table: who is whose parent, in which group, and how it ended.
//!
//! A plain value that never waits: [`Table::wait`] says "not yet", and whoever wants to wait asks again
//! after the next [`Table::end`]. `C` is what is kept of a process's context.
//!
//! - [`INIT`] is the first process and the parent of every orphan. It has no parent itself.
//! - A process that ended stays as a zombie until its parent has waited for it.
//! - A parent is always there and has not ended; only a child of its own can be waited for.
#![forbid(unsafe_code)]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use posix::protocol::{Target, Wait};
use ring_abi::Errno;
use ring_abi::context::End;

/// A process id.
pub type Pid = u32;

/// The first process.
pub const INIT: Pid = 1;
/// Greatest process id; it fits C's `pid_t` with room for signs and group numbers.
const GREATEST: Pid = 1 << 22;
/// Births are counted in 30 bits.
const GREATEST_BIRTH: u32 = (1 << 30) - 1;

/// Users and groups that the kernel stamps on requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group of users.
    pub gid: u32,
}

/// How far a process is.
#[derive(Debug)]
enum State<C> {
    /// It has a number, but no context yet.
    Unborn,
    /// It runs in this context.
    Running(C),
    /// It ended, and nobody has waited for it.
    Ended(End),
}

#[derive(Debug)]
struct Process<C> {
    /// Counts all processes that ever were, so that a number used again is told apart.
    birth: u32,
    parent: Pid,
    group: Pid,
    session: Pid,
    owner: Owner,
    state: State<C>,
}

/// A line of the list of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The process.
    pub pid: Pid,
    /// Its parent; zero for the first process.
    pub parent: Pid,
    /// Its group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// Whose it is.
    pub owner: Owner,
    /// How far it is, in a word.
    pub state: &'static str,
}

/// All processes.
#[derive(Debug)]
pub struct Table<C> {
    processes: BTreeMap<Pid, Process<C>>,
    last: Pid,
    births: u32,
    most: usize,
}

impl<C> Table<C> {
    /// A table for at most `most` processes, with [`INIT`] unborn in it.
    pub fn new(most: usize) -> Table<C> {
        let init = Process {
            birth: 1,
            parent: 0,
            group: INIT,
            session: INIT,
            owner: Owner::default(),
            state: State::Unborn,
        };
        Table { processes: BTreeMap::from([(INIT, init)]), last: INIT, births: 1, most }
    }

    /// A child of `parent`: unborn, of the same group, session and owner. `EAGAIN` if the table is full.
    pub fn fork(&mut self, parent: Pid) -> Result<Pid, Errno> {
        let running = self.running(parent)?;
        let (group, session, owner) = (running.group, running.session, running.owner);
        let pid = self.free_number().ok_or(Errno::AGAIN)?;
        let birth = self.births.wrapping_add(1) & GREATEST_BIRTH;
        let child = Process { birth, parent, group, session, owner, state: State::Unborn };
        self.processes.insert(pid, child);
        (self.last, self.births) = (pid, birth);
        Ok(pid)
    }

    /// A name for the process that no later one with the same number has: birth and number, 30 and 32 bits.
    pub fn name(&self, pid: Pid) -> Result<u64, Errno> {
        let process = self.processes.get(&pid).ok_or(Errno::SRCH)?;
        Ok(u64::from(process.birth) << 32 | u64::from(pid))
    }

    /// The process of this name; `ESRCH` if it is gone.
    pub fn named(&self, name: u64) -> Result<Pid, Errno> {
        let pid = name as Pid;
        if self.name(pid)? == name { Ok(pid) } else { Err(Errno::SRCH) }
    }

    /// The context of an unborn process has come. `EINVAL` if it had one.
    pub fn start(&mut self, pid: Pid, context: C) -> Result<Owner, Errno> {
        let process = self.processes.get_mut(&pid).ok_or(Errno::SRCH)?;
        if !matches!(process.state, State::Unborn) {
            return Err(Errno::INVAL);
        }
        process.state = State::Running(context);
        Ok(process.owner)
    }

    /// Whose an unborn process is; `EINVAL` if it is born, `ESRCH` if it is not there.
    pub fn unborn(&self, pid: Pid) -> Result<Owner, Errno> {
        match self.processes.get(&pid) {
            Some(Process { state: State::Unborn, owner, .. }) => Ok(*owner),
            Some(_) => Err(Errno::INVAL),
            None => Err(Errno::SRCH),
        }
    }

    /// Forgets a process that was never born; one that was stays.
    pub fn abandon(&mut self, pid: Pid) {
        if pid != INIT && self.unborn(pid).is_ok() {
            self.processes.remove(&pid);
        }
    }

    /// The process has ended: its children become those of [`INIT`], and it is a zombie.
    ///
    /// Whoever waits has to ask again.
    pub fn end(&mut self, pid: Pid, end: End) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        process.state = State::Ended(end);
        for child in self.processes.values_mut().filter(|child| child.parent == pid) {
            child.parent = INIT;
        }
    }

    /// A child of `parent` that ended and fits, taken out of the table; `None` if none has ended yet.
    ///
    /// `ECHILD` if no child fits. Of several, the one with the lowest number is first.
    pub fn wait(&mut self, parent: Pid, wait: Wait) -> Result<Option<(Pid, End)>, Errno> {
        let group = self.running(parent)?.group;
        let fits = |pid: Pid, child: &Process<C>| {
            child.parent == parent
                && !matches!(child.state, State::Unborn)
                && matches(wait.target, pid, child.group, group)
        };
        let mut any = false;
        let mut ended = None;
        for (&pid, child) in self.processes.iter().filter(|(pid, child)| fits(**pid, child)) {
            any = true;
            if let State::Ended(end) = child.state {
                ended = Some((pid, end));
                break;
            }
        }
        if let Some((pid, _)) = ended {
            self.processes.remove(&pid);
        }
        if any { Ok(ended) } else { Err(Errno::CHILD) }
    }

    /// The contexts of those that `caller` means, the caller's own last.
    ///
    /// `ESRCH` if there is nobody, `EPERM` if the caller may signal none of them. [`INIT`] is never meant
    /// by a group or by all.
    pub fn targets(&self, caller: Pid, target: Target) -> Result<Vec<(Pid, &C)>, Errno> {
        let asker = self.running(caller)?;
        let mut may = Vec::new();
        let mut found = false;
        for (&pid, process) in &self.processes {
            let named = target == Target::Process(pid);
            let meant = matches(target, pid, process.group, asker.group) && (named || pid != INIT);
            if !meant || matches!(process.state, State::Unborn) {
                continue;
            }
            found = true;
            if asker.owner.uid != 0 && asker.owner.uid != process.owner.uid {
                continue;
            }
            may.push((pid, process));
        }
        match (found, may.is_empty()) {
            (false, _) => return Err(Errno::SRCH),
            (true, true) => return Err(Errno::PERM),
            (true, false) => {}
        }
        may.sort_by_key(|(pid, _)| *pid == caller);
        let running = may.into_iter().filter_map(|(pid, process)| match &process.state {
            State::Running(context) => Some((pid, context)),
            State::Unborn | State::Ended(_) => None,
        });
        Ok(running.collect())
    }

    /// The process's parent; zero for [`INIT`].
    pub fn parent(&self, pid: Pid) -> Result<Pid, Errno> {
        Ok(self.processes.get(&pid).ok_or(Errno::SRCH)?.parent)
    }

    /// The group of a process.
    pub fn group(&self, pid: Pid) -> Result<Pid, Errno> {
        Ok(self.processes.get(&pid).ok_or(Errno::SRCH)?.group)
    }

    /// The session of a process.
    pub fn session(&self, pid: Pid) -> Result<Pid, Errno> {
        Ok(self.processes.get(&pid).ok_or(Errno::SRCH)?.session)
    }

    /// Puts `pid`, the caller or a child of it, into a group of its session or into one of its own.
    pub fn set_group(&mut self, caller: Pid, pid: Pid, group: Pid) -> Result<(), Errno> {
        let session = self.running(caller)?.session;
        let process = self.processes.get(&pid).ok_or(Errno::SRCH)?;
        if pid != caller && process.parent != caller {
            return Err(Errno::SRCH);
        }
        let lives = |other: &Process<C>| other.group == group && other.session == session;
        let joins = group == pid || self.processes.values().any(lives);
        if process.session != session || process.session == pid || !joins {
            return Err(Errno::PERM);
        }
        if let Some(process) = self.processes.get_mut(&pid) {
            process.group = group;
        }
        Ok(())
    }

    /// Makes the caller the leader of a new session and group. `EPERM` if it leads a group.
    pub fn new_session(&mut self, caller: Pid) -> Result<Pid, Errno> {
        if self.processes.values().any(|process| process.group == caller) {
            return Err(Errno::PERM);
        }
        let process = self.processes.get_mut(&caller).ok_or(Errno::SRCH)?;
        (process.group, process.session) = (caller, caller);
        Ok(caller)
    }

    /// Every process, by number.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        self.processes.iter().map(|(&pid, process)| Line {
            pid,
            parent: process.parent,
            group: process.group,
            session: process.session,
            owner: process.owner,
            state: match process.state {
                State::Unborn => "unborn",
                State::Running(_) => "running",
                State::Ended(_) => "ended",
            },
        })
    }

    fn running(&self, pid: Pid) -> Result<&Process<C>, Errno> {
        let process = self.processes.get(&pid).ok_or(Errno::SRCH)?;
        if matches!(process.state, State::Running(_)) { Ok(process) } else { Err(Errno::SRCH) }
    }

    /// A number that is no process's, group's or session's.
    fn free_number(&self) -> Option<Pid> {
        if self.processes.len() >= self.most {
            return None;
        }
        let after = |pid: Pid| if pid >= GREATEST { INIT.wrapping_add(1) } else { pid.wrapping_add(1) };
        let in_use = |pid: Pid| {
            let lives = |process: &Process<C>| process.group == pid || process.session == pid;
            self.processes.contains_key(&pid) || self.last > pid && self.processes.values().any(lives)
        };
        core::iter::successors(Some(after(self.last)), |pid| Some(after(*pid)))
            .take(GREATEST as usize)
            .find(|pid| !in_use(*pid))
    }
}

fn matches(target: Target, pid: Pid, group: Pid, own_group: Pid) -> bool {
    match target {
        Target::Any => true,
        Target::OwnGroup => group == own_group,
        Target::Process(wanted) => pid == wanted,
        Target::Group(wanted) => group == wanted,
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
