//! What each row may cost: the project's budgets, and what other systems cost under the same method.
//!
//! Counts are guest instructions of a release build; the method is in `bench/README.md`. `must` binds, `aim` is where
//! the design should get to. A row without an entry here is printed without a verdict.

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Costs.
    Lower,
    /// Capacities.
    Higher,
}

/// Whether a miss fails the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Force {
    /// It does.
    Binding,
    /// Printed, but not bound yet.
    Later,
}

/// The budget of one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// The row's name.
    pub(crate) name: &'static str,
    /// The bound.
    pub(crate) must: f64,
    /// The goal.
    pub(crate) aim: f64,
    /// Which way is better.
    pub(crate) better: Better,
    /// Whether a miss fails the gate.
    pub(crate) force: Force,
    /// The same operation elsewhere, measured the same way.
    pub(crate) peers: &'static str,
}

/// How a figure stands against its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// At the aim or better.
    Aim,
    /// Within the bound.
    Met,
    /// Beyond the bound.
    Missed,
}

impl Budget {
    /// Judges a median.
    pub(crate) fn judge(&self, figure: f64) -> Verdict {
        let within = |bound: f64| match self.better {
            Better::Lower => figure <= bound,
            Better::Higher => figure >= bound,
        };
        match (within(self.aim), within(self.must)) {
            (true, _) => Verdict::Aim,
            (false, true) => Verdict::Met,
            (false, false) => Verdict::Missed,
        }
    }
}

/// The budget of a row, if it has one.
pub(crate) fn of(name: &str) -> Option<&'static Budget> {
    BUDGETS.iter().find(|budget| budget.name == name)
}

const fn binding(name: &'static str, must: f64, aim: f64, peers: &'static str) -> Budget {
    Budget { name, must, aim, better: Better::Lower, force: Force::Binding, peers }
}

const fn later(name: &'static str, must: f64, aim: f64, peers: &'static str) -> Budget {
    Budget { force: Force::Later, ..binding(name, must, aim, peers) }
}

/// Every budget, in the order of the table.
pub(crate) const BUDGETS: &[Budget] = &[
    binding("nop.1", 125.0, 110.0, "Linux getpid 237-311, io_uring NOP 716-843; seL4 trap 246; NOVA 57"),
    binding("nop.32", 42.0, 36.0, "io_uring 219-260"),
    binding(
        "read1.1",
        460.0,
        400.0,
        "seL4 bare IPC 424, NOVA 284; FUSE 10,731-14,892, pipe ping-pong 7,252, MSG_RING 5,986-7,332",
    ),
    binding("read1.by_hand", 424.0, 370.0, "seL4's fastest path with a bare message: 424"),
    binding("read1.32", 200.0, 170.0, "FUSE through io_uring 11,430"),
    binding("futex.rtt", 600.0, 500.0, "Linux 5,169-9,531"),
    later("msg.rtt", 900.0, 600.0, "Linux MSG_RING ping-pong 5,986-7,332"),
    binding("irq.wait", 300.0, 250.0, "seL4 370-375, NOVA 435"),
    binding("fault.anon", 1_000.0, 700.0, "Linux 2,056-2,801"),
    binding("fault.cow", 1_500.0, 1_100.0, "Linux 3,315-3,970"),
    binding("fault.file", 1_200.0, 1_200.0, ""),
    binding("open_close", 1_800.0, 900.0, "tmpfs in Linux's kernel 3,202-5,594; FUSE 15,713"),
    binding("thread.create_join", 8_000.0, 4_000.0, "Linux 43,765-62,778"),
    later("fork_wait", 30_000.0, 15_000.0, "Linux 83,302-106,147"),
    later("spawn_wait", 40_000.0, 20_000.0, "Linux fork+exec 135,547, posix_spawn 85,892, vfork+exec 75,263"),
    binding("mem.context", 384.0, 320.0, "Linux 22,273-27,771; Redox 75,660; seL4 2,048; NOVA 464 + 4,096"),
    binding("step.longest", 20_000.0, 12_000.0, ""),
    later("mem.context_total", 1_600.0, 1_200.0, "as above; an io_uring instance of 8 entries 12,755-16,686"),
    binding("mem.op", 96.0, 64.0, "io_uring 253 (poll) to 857 (recv)"),
    later("mem.process", 24_576.0, 20_480.0, "Linux 56,902-71,619"),
    Budget { better: Better::Higher, ..binding("contexts.1gib", 100_000.0, 150_000.0, "Linux about 33,000") },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_itself_is_still_met() {
        let nop = of("nop.1").unwrap();
        assert_eq!(nop.judge(110.0), Verdict::Aim);
        assert_eq!(nop.judge(125.0), Verdict::Met);
        assert_eq!(nop.judge(125.5), Verdict::Missed);
    }

    #[test]
    fn of_capacities_more_is_better() {
        let contexts = of("contexts.1gib").unwrap();
        assert_eq!(contexts.judge(99_999.0), Verdict::Missed);
        assert_eq!(contexts.judge(100_000.0), Verdict::Met);
        assert_eq!(contexts.judge(150_000.0), Verdict::Aim);
    }

    #[test]
    fn an_aim_is_never_looser_than_its_bound_and_names_are_unique() {
        for (index, budget) in BUDGETS.iter().enumerate() {
            assert_ne!(budget.judge(budget.aim), Verdict::Missed, "{}", budget.name);
            assert!(BUDGETS[..index].iter().all(|other| other.name != budget.name), "{}", budget.name);
        }
    }
}
