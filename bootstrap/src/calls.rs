//! What a process asks of the process table, and what comes of it.
//!
//! A plain function over the table: whoever serves the scheme does what [`Answer`] says.
#![forbid(unsafe_code)]

use crate::table::{Pid, Table};
use alloc::vec::Vec;
use posix::protocol::{Target, Verb, Wait, unpair};
use ring_abi::Errno;
use ring_abi::context::End;

/// Greatest number of a signal.
const MOST_SIGNALS: u32 = 64;

/// What to do about a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<C> {
    /// Tell this.
    Result(u64),
    /// Tell that this child ended, and how.
    Ended(Pid, End),
    /// Ask again after the next end of a process.
    Later,
    /// End these contexts in this order, and tell zero.
    Kill(Vec<C>),
}

/// Answers a process.
pub fn answer<C: Copy>(
    table: &mut Table<C>,
    caller: Pid,
    verb: Verb,
    argument: u64,
) -> Result<Answer<C>, Errno> {
    let number = |pid: Pid| Answer::Result(u64::from(pid));
    match verb {
        Verb::Id => Ok(number(caller)),
        Verb::Parent => table.parent(caller).map(number),
        Verb::Wait => wait(table, caller, Wait::unpack(argument)?),
        Verb::Kill => kill(table, caller, argument),
        Verb::Group => table.group(process(caller, argument)?).map(number),
        Verb::Session => table.session(process(caller, argument)?).map(number),
        Verb::SetGroup => {
            let (pid, group) = unpair(argument);
            let pid = or_self(caller, pid);
            table.set_group(caller, pid, or_self(pid, group)).map(|()| Answer::Result(0))
        }
        Verb::NewSession => table.new_session(caller).map(number),
    }
}

fn wait<C>(table: &mut Table<C>, caller: Pid, wait: Wait) -> Result<Answer<C>, Errno> {
    Ok(match table.wait(caller, wait)? {
        Some((pid, end)) => Answer::Ended(pid, end),
        None if wait.at_once => Answer::Result(0),
        None => Answer::Later,
    })
}

fn kill<C: Copy>(table: &Table<C>, caller: Pid, argument: u64) -> Result<Answer<C>, Errno> {
    let (target, signal) = unpair(argument);
    if signal > MOST_SIGNALS {
        return Err(Errno::INVAL);
    }
    let contexts: Vec<C> =
        table.targets(caller, Target::from_raw(target.cast_signed()))?.into_iter().map(|(_, &c)| c).collect();
    Ok(if signal == 0 { Answer::Result(0) } else { Answer::Kill(contexts) })
}

/// The process of an argument; zero stands for the caller.
fn process(caller: Pid, argument: u64) -> Result<Pid, Errno> {
    Pid::try_from(argument).map(|pid| or_self(caller, pid)).map_err(|_| Errno::INVAL)
}

fn or_self(own: Pid, pid: Pid) -> Pid {
    if pid == 0 { own } else { pid }
}

#[cfg(test)]
mod tests {
    use super::{Answer, answer};
    use crate::table::{INIT, Pid, Table};
    use posix::protocol::{Target, Verb, Wait, pair};
    use proptest::prelude::{any, proptest};
    use ring_abi::Errno;
    use ring_abi::context::End;

    fn family() -> (Table<Pid>, Pid) {
        let mut table = Table::new(10);
        table.start(INIT, INIT).unwrap();
        let child = table.fork(INIT).unwrap();
        table.start(child, child).unwrap();
        (table, child)
    }

    fn wait(at_once: bool) -> u64 {
        Wait { target: Target::Any, at_once }.packed()
    }

    #[test]
    fn a_wait_is_answered_when_a_child_has_ended() {
        let (mut table, child) = family();
        assert_eq!(answer(&mut table, INIT, Verb::Wait, wait(true)), Ok(Answer::Result(0)));
        assert_eq!(answer(&mut table, INIT, Verb::Wait, wait(false)), Ok(Answer::Later));
        table.end(child, End::Exited(4));
        assert_eq!(
            answer(&mut table, INIT, Verb::Wait, wait(false)),
            Ok(Answer::Ended(child, End::Exited(4)))
        );
        assert_eq!(answer(&mut table, INIT, Verb::Wait, wait(false)), Err(Errno::CHILD));
        assert_eq!(answer(&mut table, INIT, Verb::Wait, u64::MAX), Err(Errno::INVAL));
    }

    #[test]
    fn zero_stands_for_the_caller() {
        let (mut table, child) = family();
        assert_eq!(answer(&mut table, child, Verb::Group, 0), Ok(Answer::Result(u64::from(INIT))));
        assert_eq!(answer(&mut table, child, Verb::SetGroup, pair(0, 0)), Ok(Answer::Result(0)));
        assert_eq!(answer(&mut table, child, Verb::Group, 0), Ok(Answer::Result(u64::from(child))));
        assert_eq!(answer(&mut table, child, Verb::Id, 7), Ok(Answer::Result(u64::from(child))));
        assert_eq!(answer(&mut table, child, Verb::Parent, 7), Ok(Answer::Result(u64::from(INIT))));
    }

    #[test]
    fn a_signal_ends_processes_and_zero_only_asks() {
        let (mut table, child) = family();
        assert_eq!(answer(&mut table, INIT, Verb::Kill, pair(child, 9)), Ok(Answer::Kill([child].into())));
        assert_eq!(answer(&mut table, INIT, Verb::Kill, pair(child, 0)), Ok(Answer::Result(0)));
        assert_eq!(answer(&mut table, INIT, Verb::Kill, pair(child, 65)), Err(Errno::INVAL));
        assert_eq!(answer(&mut table, INIT, Verb::Kill, pair(99, 9)), Err(Errno::SRCH));
    }

    proptest! {
        #[test]
        fn no_question_is_too_wild(verb in 0_u64..10, caller in 0_u32..4, argument in any::<u64>()) {
            let (mut table, _) = family();
            if let Some(verb) = Verb::from_raw(verb) {
                let _ = answer(&mut table, caller, verb, argument);
            }
        }
    }
}
