//! File ids of the two schemes, which share a queue. They say all that there is to know, so nothing is stored
//! for an open file.
//!
//! - Below 2³²: a node of the initfs, by its number; its root is 0.
//! - From 2³²: the root of scheme `proc`, and behind it its list of processes.
//! - Bit 62: a process, by its name in the table.
#![forbid(unsafe_code)]

/// Root of scheme `initfs`.
pub const INITFS_ROOT: u64 = 0;
/// Root of scheme `proc`.
pub const PROC_ROOT: u64 = 1 << 32;
/// The list of processes.
pub const PROC_LIST: u64 = PROC_ROOT + 1;
const PROCESS: u64 = 1 << 62;

/// What a file id stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Id {
    /// A node of the initfs.
    Node(u32),
    /// The root of scheme `proc`.
    ProcRoot,
    /// The list of processes.
    ProcList,
    /// A process, by its name in the table.
    Process(u64),
}

impl Id {
    /// What this id stands for; `None` for one that was never given out.
    pub fn of(id: u64) -> Option<Id> {
        match id {
            PROC_ROOT => Some(Id::ProcRoot),
            PROC_LIST => Some(Id::ProcList),
            id if id & PROCESS != 0 => Some(Id::Process(id ^ PROCESS)),
            id => u32::try_from(id).ok().map(Id::Node),
        }
    }

    /// The id.
    pub fn raw(self) -> u64 {
        match self {
            Id::Node(node) => u64::from(node),
            Id::ProcRoot => PROC_ROOT,
            Id::ProcList => PROC_LIST,
            Id::Process(name) => name | PROCESS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Id;

    #[test]
    fn ids_are_read_back() {
        let name = 1 << 32 | 1;
        for id in [Id::Node(0), Id::Node(u32::MAX), Id::ProcRoot, Id::ProcList, Id::Process(name)] {
            assert_eq!(Id::of(id.raw()), Some(id));
        }
        assert_eq!(Id::of(2 << 32), None);
    }
}
