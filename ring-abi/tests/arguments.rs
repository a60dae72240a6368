//! The arguments of every opcode: a golden table, and what `encode` and `decode` make of any words.
//!
//! The table is a second, independent copy. To change it is to change the ABI: raise `ABI_VERSION`.
#![cfg(not(loom))]
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking; the indices are those of eight words"
)]

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use ring_abi::args::{self, fields};
use ring_abi::opcode::Origin;
use ring_abi::{Errno, Opcode, Sqe, Words};
use std::array;
use std::cell::Cell;

/// Eight words that count how often each is read.
struct Counted {
    words: [u64; 8],
    reads: [Cell<u32>; 8],
}

impl Counted {
    fn new(words: [u64; 8]) -> Counted {
        Counted { words, reads: array::from_fn(|_| Cell::new(0)) }
    }

    fn reads(&self) -> [u32; 8] {
        array::from_fn(|index| self.reads[index].get())
    }
}

impl Words for Counted {
    fn word(&self, index: usize) -> u64 {
        self.reads[index].set(self.reads[index].get() + 1);
        self.words[index]
    }
}

/// Names of an opcode's arguments and the words that hold them.
type Fields = &'static [(&'static str, usize)];

macro_rules! golden {
    ($($name:ident { $($field:ident: $type:ident = $index:literal),* })*) => {
        const TABLE: &[(Opcode, Fields)] = &[
            $((Opcode::$name, &[$((stringify!($field), $index)),*]),)*
        ];

        /// Decodes `words` as the arguments of every opcode in turn.
        fn check_all(words: [u64; 8], tag: u32) {
            $({
                let counted = Counted::new(words);
                let decoded = args::$name::decode(&counted);
                let fits = true $(&& $type::try_from(words[1 + $index]).is_ok())*;
                let named: &[usize] = &[$(1 + $index),*];
                let once = array::from_fn(|index| u32::from(named.contains(&index)));
                assert_eq!(args::$name::OPCODE, Opcode::$name);
                match decoded {
                    Ok(arguments) => {
                        assert!(fits, "{arguments:?} cut a word short: {words:x?}");
                        assert_eq!(arguments, args::$name { $($field: words[1 + $index] as $type),* });
                        assert_eq!(counted.reads(), once, "{arguments:?}");
                        check_encoded(arguments.encode(tag), Opcode::$name, tag, words, once);
                        assert_eq!(args::$name::decode(&arguments.encode(tag)), Ok(arguments));
                    }
                    Err(error) => {
                        assert!(!fits, "{} refused {words:x?}", stringify!($name));
                        assert_eq!(error, Errno::INVAL);
                        assert!(counted.reads().iter().zip(once).all(|(&reads, most)| reads <= most));
                    }
                }
            })*
        }
    };
}

/// An encoded entry holds the opcode, the tag and the named words, and nothing else.
fn check_encoded(sqe: Sqe, opcode: Opcode, tag: u32, words: [u64; 8], named: [u32; 8]) {
    let mut expected: [u64; 8] = array::from_fn(|index| if named[index] == 1 { words[index] } else { 0 });
    expected[0] = u64::from(opcode.raw()) | u64::from(tag) << 32;
    assert_eq!(sqe.to_words(), expected, "{opcode:?}");
}

golden! {
    Close { fd: u64 = 0 }
    Dup { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Read { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, offset: u64 = 3 }
    Write { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, offset: u64 = 3 }
    Fsize { fd: u64 = 0 }
    Fchmod { fd: u64 = 0, mode: u32 = 1 }
    Fchown { fd: u64 = 0, uid: u32 = 1, gid: u32 = 2 }
    Fcntl { fd: u64 = 0, command: u64 = 1, argument: u64 = 2 }
    Fevent { fd: u64 = 0, mask: u64 = 1 }
    Sendfd { fd: u64 = 0, sent: u64 = 1, flags: u64 = 2, argument: u64 = 3 }
    Fpath { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Frename { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Fstat { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Fstatvfs { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    MmapPrep { fd: u64 = 0, length: u64 = 1, flags: u64 = 2, offset: u64 = 3 }
    RequestMmap { fd: u64 = 0, length: u64 = 1, flags: u64 = 2, offset: u64 = 3 }
    Fsync { fd: u64 = 0 }
    Ftruncate { fd: u64 = 0, length: u64 = 1 }
    Futimens { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Cancel { fd: u64 = 0 }
    Getdents { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, header: u32 = 3, start: u64 = 4 }
    CloseMsg { fd: u64 = 0 }
    Call { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, verb: u64 = 3, argument: u64 = 4 }
    OpenAt { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, flags: u64 = 3, capacity: u32 = 4 }
    Flink { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2 }
    Recvfd { fd: u64 = 0, flags: u64 = 1, argument: u64 = 2 }
    UnlinkAt { fd: u64 = 0, buffer: u64 = 1, length: u64 = 2, flags: u64 = 3 }
    Nop {}
    Probe { opcode: u32 = 0 }
    Timeout { nanoseconds: u64 = 0, flags: u64 = 1 }
    CancelTag { tag: u32 = 0, strength: u32 = 1, grace: u64 = 2 }
    Interval { first: u64 = 0, period: u64 = 1, count: u64 = 2, flags: u64 = 3 }
    TimeoutUpdate { tag: u32 = 0, nanoseconds: u64 = 1, flags: u64 = 2 }
    TimeoutRemove { tag: u32 = 0 }
    CancelHandle { fd: u64 = 0, strength: u32 = 1, grace: u64 = 2 }
    CancelAll { strength: u32 = 0, grace: u64 = 1 }
    Poll { fd: u64 = 0, mask: u64 = 1 }
    FutexWait { address: u64 = 0, expected: u32 = 1, deadline: u64 = 2 }
    FutexWaitMany { words: u64 = 0, count: u32 = 1, deadline: u64 = 2 }
    FutexSwap { address: u64 = 0, expected: u32 = 1, deadline: u64 = 2, wake: u64 = 3 }
    FutexWake { address: u64 = 0, count: u64 = 1 }
    Map { space: u64 = 0, address: u64 = 1, length: u64 = 2, flags: u64 = 3 }
    MapFile { fd: u64 = 0, address: u64 = 1, length: u64 = 2, flags: u64 = 3, offset: u64 = 4, space: u64 = 5 }
    Unmap { space: u64 = 0, address: u64 = 1, length: u64 = 2 }
    Protect { space: u64 = 0, address: u64 = 1, length: u64 = 2, rights: u64 = 3 }
    Advise { space: u64 = 0, address: u64 = 1, length: u64 = 2, advice: u64 = 3 }
    SpaceCreate {}
    SpaceFork {}
    SpaceWrite { space: u64 = 0, target: u64 = 1, buffer: u64 = 2, length: u64 = 3 }
    ExecCommit { space: u64 = 0, entry: u64 = 1, stack: u64 = 2, argument: u64 = 3, sizes: u32 = 4 }
    ContextCreate { space: u64 = 0, table: u64 = 1, entry: u64 = 2, stack: u64 = 3, argument: u64 = 4, sizes_flags: u64 = 5 }
    ContextRegs { context: u64 = 0, buffer: u64 = 1, length: u64 = 2, set: u32 = 3 }
    ContextStart { context: u64 = 0 }
    ContextStop { context: u64 = 0 }
    ContextKill { context: u64 = 0 }
    ContextWait { context: u64 = 0 }
    ContextAffinity { context: u64 = 0, cpus: u64 = 1 }
    ContextIdentity { context: u64 = 0, pid: u32 = 1, uid: u32 = 2, gid: u32 = 3, capability: u64 = 4 }
    ContextWeight { context: u64 = 0, weight: u32 = 1, capability: u64 = 2 }
    Exit { code: u32 = 0, flags: u64 = 1 }
    TableCreate { copy: u32 = 0 }
    HandleDup { fd: u64 = 0, table: u64 = 1, target: u64 = 2, flags: u64 = 3 }
    HandleFlags { fd: u64 = 0, flags: u64 = 1 }
    SchemeRegister { buffer: u64 = 0, length: u64 = 1, slot: u32 = 2, namespace: u64 = 3, root: u64 = 4 }
    RingCreate { sizes: u32 = 0 }
    RingHandle { ring: u64 = 0, tag: u32 = 1, flags: u64 = 2 }
    MessageSend { fd: u64 = 0, tag: u32 = 1, value: u64 = 2, extra: u32 = 3, deadline: u64 = 4 }
    MessageHandle { fd: u64 = 0, tag: u32 = 1, sent: u64 = 2, extra: u32 = 3, deadline: u64 = 4 }
    Restrict { low: u64 = 0, high: u64 = 1, sqe_flags: u64 = 2, handles: u64 = 3, flags: u64 = 4 }
    SignalRaise { context: u64 = 0, signals: u64 = 1 }
    RingPoll { idle: u64 = 0 }
    RingMove { from: u64 = 0 }
    RingDrop { ring: u64 = 0 }
    ObtainFd { tag: u32 = 0 }
    CallHandler { address: u64 = 0, length: u64 = 1 }
    EndWord { address: u64 = 0 }
    Seek { fd: u64 = 0, offset: u64 = 1, whence: u32 = 2 }
    RegisterFiles { slot: u32 = 0, buffer: u64 = 1, count: u32 = 2 }
    RegisterBuffer { slot: u32 = 0, address: u64 = 1, length: u64 = 2 }
    RegisterGroup { group: u32 = 0, address: u64 = 1, entries: u32 = 2, size: u32 = 3, flags: u64 = 4 }
    LinkTimeout { nanoseconds: u64 = 0, flags: u64 = 1, grace: u64 = 2 }
    HandleReserve { fd: u64 = 0, reserve: u32 = 1 }
}

/// Words of any width, with the edges of 32 bits among them.
fn words() -> impl Strategy<Value = [u64; 8]> {
    prop::array::uniform8(prop_oneof![
        3 => any::<u32>().prop_map(u64::from),
        1 => any::<u64>(),
        1 => prop::sample::select(vec![0, u64::from(u32::MAX), 1 << 32, u64::MAX]),
    ])
}

proptest! {
    #[test]
    fn arguments_survive_the_wire(words in words(), tag in any::<u32>()) {
        check_all(words, tag);
    }

    #[test]
    fn one_wide_word_is_refused_where_a_narrow_one_belongs(at in 1usize..7, wide in (1u64 << 32).., tag in Just(7)) {
        let mut words = [1; 8];
        words[at] = wide;
        check_all(words, tag);
    }
}

#[test]
fn fields_stand_where_the_table_says() {
    for &(opcode, expected) in TABLE {
        assert_eq!(fields(opcode), expected, "{opcode:?}");
    }
}

#[test]
fn every_opcode_that_a_program_may_use_has_arguments() {
    for &opcode in Opcode::ALL {
        let listed = TABLE.iter().any(|&(with, _)| with == opcode);
        match opcode.origin() {
            Origin::Forwarded | Origin::Kernel => assert!(listed, "{opcode:?} has no arguments"),
            Origin::Reserved => assert!(!listed, "{opcode:?} is reserved"),
            Origin::KernelOnly => {}
        }
    }
}

// The kernel writes the client's user and group into the last word of what it forwards.
#[test]
fn forwarded_arguments_leave_the_last_word_to_the_kernel() {
    for &(opcode, fields) in TABLE {
        if opcode.origin() == Origin::Forwarded {
            assert_eq!(fields.first(), Some(&("fd", 0)), "{opcode:?}");
            assert!(fields.iter().all(|&(_, index)| index < 5), "{opcode:?}");
        }
    }
}

// The kernel finds the buffer of a forwarded operation without knowing the operation.
#[test]
fn forwarded_buffers_stand_in_the_same_words() {
    use ring_abi::opcode::Payload;
    for &(opcode, fields) in TABLE {
        if opcode.origin() == Origin::Forwarded {
            let buffered = fields.contains(&("buffer", 1)) && fields.contains(&("length", 2));
            assert_eq!(buffered, opcode.payload() != Payload::None, "{opcode:?}");
        }
    }
}
