//! `/etc/plan`: the daemons that init starts, and how often it starts them again.
#![forbid(unsafe_code)]

use crate::options::words;
use alloc::string::String;
use alloc::vec::Vec;

/// How often in a row a daemon may die before it has served for a while; then it stays dead.
pub const MOST_DEATHS: u32 = 5;
/// Nanoseconds of service that make earlier deaths forgotten.
pub const A_WHILE: u64 = 10_000_000_000;

/// One line of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// Scheme that it serves.
    pub scheme: String,
    /// Its program and arguments.
    pub command: Vec<String>,
}

/// Reads the file. A line that is none is given back as an error.
pub fn parse(text: &str) -> Vec<Result<Daemon, &str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| daemon(line).ok_or(line)).collect()
}

fn daemon(line: &str) -> Option<Daemon> {
    let mut command = words(line);
    if command.len() < 2 {
        return None;
    }
    let scheme = command.remove(0);
    posix::path::is_scheme_name(&scheme).then_some(Daemon { scheme, command })
}

/// How often a daemon died lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deaths {
    in_a_row: u32,
}

impl Deaths {
    /// Counts a death after `served` nanoseconds, and says whether to start the daemon again.
    pub fn count(&mut self, served: u64) -> bool {
        if served >= A_WHILE {
            self.in_a_row = 0;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row < MOST_DEATHS
    }
}

#[cfg(test)]
mod tests {
    use super::{A_WHILE, Deaths, MOST_DEATHS, parse};

    #[test]
    fn a_plan_is_read_line_by_line() {
        let plan = parse("# daemons\n\nnull /bin/null\n  ram /bin/ramfs ram \nbroken\nBad /bin/x\n");
        let [null, ram, broken, bad] = plan.as_slice() else { panic!("four lines") };
        assert_eq!(null.as_ref().unwrap().scheme, "null");
        assert_eq!(ram.as_ref().unwrap().command, ["/bin/ramfs", "ram"]);
        assert_eq!((broken, bad), (&Err("broken"), &Err("Bad /bin/x")));
    }

    #[test]
    fn the_plan_of_the_image_is_one() {
        let plan = parse(include_str!("../../../root/etc/plan"));
        assert!(plan.len() >= 2 && plan.iter().all(Result::is_ok));
    }

    #[test]
    fn a_daemon_that_keeps_dying_is_given_up() {
        let mut deaths = Deaths::default();
        for _ in 1..MOST_DEATHS {
            assert!(deaths.count(0));
        }
        assert!(!deaths.count(0));
        assert!(deaths.count(A_WHILE), "it had served for a while");
    }
}
