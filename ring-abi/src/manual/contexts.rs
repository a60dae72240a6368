//! Pages of operations on contexts.
#![forbid(unsafe_code)]

use super::page::{Page, describe};
use crate::Sqe;
use crate::args::{
    CURRENT, CallHandler, ContextAffinity, ContextCreate, ContextIdentity, ContextKill, ContextRegs,
    ContextStart, ContextStop, ContextWait, ContextWeight, EndWord, Exit, context, exit,
};
use crate::context::Registers;

const FILE: &str = include_str!("contexts.rs");

pub(super) const CONTEXT_CREATE: Page = describe!(
    ContextCreate,
    context_create,
    "A handle to the context.",
    [
        INVAL: "unknown flags, sizes that do not exist, or `entry`, `stack` or the base of `fs` cannot be in a program",
        BADF: "`space` is no address space, or `table` no handle table",
        BUSY: "the space's contexts are ending together",
        MFILE: "the caller's handle table is full",
    ]
);

fn context_create() -> Sqe {
    let thread = ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: 0x40_1000,
        stack: 0x7fff_fff0,
        argument: 7,
        sizes_flags: context::START,
    };
    thread.encode(1)
}

pub(super) const CONTEXT_REGS: Page = describe!(
    ContextRegs,
    context_regs,
    "Zero.",
    [
        INVAL: "`set` is neither zero nor one, another length, or a register that cannot have that value",
        BADF: "`context` is no context",
        SRCH: "it has ended",
        BUSY: "it is not stopped",
        FAULT: "the buffer cannot be read or written",
    ]
);

fn context_regs() -> Sqe {
    let registers = Registers::default();
    let (buffer, length) = (&raw const registers as u64, size_of::<Registers>() as u64);
    ContextRegs { context: 5, buffer, length, set: 0 }.encode(1)
}

pub(super) const CONTEXT_START: Page = describe!(
    ContextStart,
    context_start,
    "Zero.",
    [BADF: "`context` is no context", SRCH: "it has ended", INVAL: "it is not stopped"]
);

fn context_start() -> Sqe {
    ContextStart { context: 5 }.encode(1)
}

pub(super) const CONTEXT_STOP: Page = describe!(
    ContextStop,
    context_stop,
    "Zero. A context that waits in its ring stops when it would go on.",
    [BADF: "`context` is no context", SRCH: "it has ended", INVAL: "it is stopped"]
);

fn context_stop() -> Sqe {
    ContextStop { context: 5 }.encode(1)
}

pub(super) const CONTEXT_KILL: Page = describe!(
    ContextKill,
    context_kill,
    "Zero; no completion for a context that ends itself.",
    [BADF: "`context` is no context", SRCH: "it has ended"]
);

fn context_kill() -> Sqe {
    ContextKill { context: 5 }.encode(1)
}

pub(super) const CONTEXT_WAIT: Page = describe!(
    ContextWait,
    context_wait,
    "How it ended: an exit code from 0 to 255, or 256 plus the number of a reason.",
    [BADF: "`context` is no context"]
);

fn context_wait() -> Sqe {
    ContextWait { context: 5 }.encode(1)
}

pub(super) const CONTEXT_AFFINITY: Page = describe!(
    ContextAffinity,
    context_affinity,
    "Zero.",
    [
        INVAL: "no bit of `cpus` stands for a processor that is there",
        BADF: "`context` is no context",
        SRCH: "it has ended",
    ]
);

fn context_affinity() -> Sqe {
    ContextAffinity { context: CURRENT, cpus: 0b110 }.encode(1)
}

pub(super) const CONTEXT_IDENTITY: Page = describe!(
    ContextIdentity,
    context_identity,
    "Zero.",
    [
        PERM: "`capability` is not the identity capability",
        BADF: "`context` is no context",
        SRCH: "it has ended",
    ]
);

fn context_identity() -> Sqe {
    ContextIdentity { context: 5, pid: 12, uid: 1000, gid: 1000, capability: 2 }.encode(1)
}

pub(super) const EXIT: Page = describe!(
    Exit,
    exit_process,
    "None: a completion is always an error.",
    [INVAL: "a code above 255, or unknown flags"]
);

fn exit_process() -> Sqe {
    Exit { code: 0, flags: exit::SPACE }.encode(1)
}

pub(super) const CALL_HANDLER: Page =
    describe!(CallHandler, call_handler, "Zero.", [INVAL: "`address` cannot be in a program"]);

fn call_handler() -> Sqe {
    CallHandler { address: 0x40_2000, length: 4096 }.encode(1)
}

pub(super) const END_WORD: Page =
    describe!(EndWord, end_word, "Zero.", [INVAL: "the address is no multiple of four"]);

fn end_word() -> Sqe {
    let joined = 1_u32;
    EndWord { address: &raw const joined as u64 }.encode(1)
}

pub(super) const CONTEXT_WEIGHT: Page = describe!(
    ContextWeight,
    context_weight,
    "The weight that it had.",
    [
        INVAL: "there is no such weight",
        BADF: "`context` is no context",
        SRCH: "it has ended",
        PERM: "the weight is more than the caller has, or `capability` is not the identity capability",
    ]
);

fn context_weight() -> Sqe {
    // Half of what contexts have at first.
    ContextWeight { context: 5, weight: 50, capability: CURRENT }.encode(1)
}
