//! The golden tables: sizes, offsets, numbers and names as they are on the wire.
//!
//! A change here is a change of the ABI: it must say so, and raise `ABI_VERSION`. What the arguments of
//! an opcode are stands in `arguments.rs`.
#![cfg(not(loom))]

use ring_abi::context::{End, Reason, Registers};
use ring_abi::layout::{self, Sizes, word};
use ring_abi::map::Ring;
use ring_abi::opcode::{Origin, Payload};
use ring_abi::{Cqe, CqeFlags, CqeKind, Errno, Opcode, Sqe, SqeFlags, args, boot, enter};
use std::mem::{align_of, offset_of, size_of};
use syscall::schemev2 as v2;

#[test]
fn numbers_of_the_whole() {
    assert_eq!(ring_abi::ABI_VERSION, 2);
    assert_eq!(enter::RING_ENTER, 0x7000_0000);
    assert_eq!((enter::COMPLETIONS, enter::REQUESTS, enter::NO_REPLIES, enter::DEADLINE), (1, 2, 4, 8));
    assert_eq!((enter::SIGNALS, enter::MASK, enter::RELENT), (16, 32, 64));
    assert_eq!((enter::PLAIN, enter::ALL), (15, 127));
    assert_eq!(enter::NO_DEADLINE, u64::MAX);
    assert_eq!((enter::RINGS, enter::MOST), (4, 0xff_ffff));
    assert_eq!(enter::Control::new(2, 3, enter::DEADLINE).0, 3 | 2 << 24 | 8 << 48);
    assert_eq!(enter::Control::CALL.0, 1 | 0xff_ffff << 24 | 5 << 48);
    assert_eq!(enter::Control::SERVE.0, 2 << 48);
    assert_eq!(boot::MAGIC.to_le_bytes(), *b"ANNULUS\x01");
    assert_eq!((boot::HEADER_BYTES, boot::MAX_SEGMENTS, boot::HEADER_WORDS), (4096, 8, 56));
    assert_eq!(boot::USER_END, 0x7fff_ffff_f000);
    assert_eq!((args::CURRENT, args::CURSOR, args::LOWEST), (u64::MAX, u64::MAX, u64::MAX));
}

#[test]
fn the_submission_entry() {
    assert_eq!((size_of::<Sqe>(), align_of::<Sqe>()), (64, 8));
    let offsets = [
        (offset_of!(Sqe, opcode), 0, offset_of!(v2::Sqe, opcode)),
        (offset_of!(Sqe, flags), 1, offset_of!(v2::Sqe, sqe_flags)),
        (offset_of!(Sqe, group), 2, offset_of!(v2::Sqe, _rsvd)),
        (offset_of!(Sqe, tag), 4, offset_of!(v2::Sqe, tag)),
        (offset_of!(Sqe, args), 8, offset_of!(v2::Sqe, args)),
        (offset_of!(Sqe, caller), 56, offset_of!(v2::Sqe, caller)),
    ];
    for (ours, golden, theirs) in offsets {
        assert_eq!((ours, theirs), (golden, golden));
    }
    let flags = [
        ("ONEWAY", 0x01),
        ("MULTIPLE_IDS", 0x02),
        ("LINK", 0x04),
        ("HARD_LINK", 0x08),
        ("DRAIN", 0x10),
        ("MULTISHOT", 0x20),
        ("BUFFER_SELECT", 0x40),
        ("SKIP_SUCCESS", 0x80),
    ];
    let ours: Vec<(&str, u8)> =
        SqeFlags::all().iter_names().map(|(name, flag)| (name, flag.bits())).collect();
    assert_eq!(ours, flags);
}

#[test]
fn the_completion_entry() {
    assert_eq!((size_of::<Cqe>(), align_of::<Cqe>()), (16, 8));
    let offsets = [
        (offset_of!(Cqe, flags), 0, offset_of!(v2::Cqe, flags)),
        (offset_of!(Cqe, extra), 1, offset_of!(v2::Cqe, extra_raw)),
        (offset_of!(Cqe, tag), 4, offset_of!(v2::Cqe, tag)),
        (offset_of!(Cqe, result), 8, offset_of!(v2::Cqe, result)),
    ];
    for (ours, golden, theirs) in offsets {
        assert_eq!((ours, theirs), (golden, golden));
    }
    assert_eq!((CqeFlags::MORE.bits(), CqeFlags::BUFFER.bits(), CqeFlags::BUFFER_MORE.bits()), (8, 16, 32));
    assert_eq!((CqeFlags::MESSAGE.bits(), CqeFlags::HANDLE.bits(), CqeFlags::all().bits()), (64, 128, 248));
    let detailed = Cqe::new(9, Ok(5)).with_details(0x3012_3456);
    assert_eq!(
        (detailed.flags, detailed.extra(), detailed.tag, detailed.result()),
        (0x30, 0x12_3456, 9, Ok(5))
    );
    let kinds = [
        CqeKind::Regular,
        CqeKind::WithFd,
        CqeKind::SendFevent,
        CqeKind::ObtainFd,
        CqeKind::WithMultipleFds,
        CqeKind::NotifyOnDetach,
    ];
    for (raw, kind) in (0..).zip(kinds) {
        assert_eq!(kind as u8, raw);
        assert_eq!(CqeKind::from_flags(raw), Some(kind));
        let theirs = v2::CqeOpcode::try_from_raw(raw).expect("Redox knows the kind");
        assert_eq!(theirs as u8, raw);
    }
    assert_eq!((CqeKind::from_flags(6), CqeKind::from_flags(7)), (None, None));
}

#[test]
fn words_are_the_bytes_of_redox() {
    let sqe = Sqe {
        opcode: 5,
        flags: 0x84,
        group: 0x1234,
        tag: 0xdead_beef,
        args: [1, 2, 3, 4, 5, u64::MAX],
        caller: 42,
    };
    let theirs = v2::Sqe {
        opcode: 5,
        sqe_flags: v2::SqeFlags::from_bits_retain(0x84),
        _rsvd: 0x1234,
        tag: 0xdead_beef,
        args: [1, 2, 3, 4, 5, u64::MAX],
        caller: 42,
    };
    assert_eq!(sqe.to_words().map(u64::to_le_bytes).as_flattened(), &*theirs);
    let cqe = Cqe { flags: 9, extra: [1, 2, 3], tag: 7, result: 0x0102_0304_0506_0708 };
    let theirs = v2::Cqe { flags: 9, extra_raw: [1, 2, 3], tag: 7, result: 0x0102_0304_0506_0708 };
    assert_eq!(cqe.to_words().map(u64::to_le_bytes).as_flattened(), &*theirs);
    assert_eq!(cqe.extra(), theirs.extra());
}

#[test]
fn the_ring_header() {
    assert_eq!((layout::HEADER_BYTES, layout::SQE_BYTES, layout::CQE_BYTES), (128, 64, 16));
    assert_eq!((layout::MAX_LOG2, layout::flags::NEED_ENTER, layout::flags::BACKLOG), (12, 1, 2));
    let words = [
        (word::SQ_HEAD, 0),
        (word::SQ_TAIL, 1),
        (word::CQ_HEAD, 2),
        (word::CQ_TAIL, 3),
        (word::FLAGS, 4),
        (word::VERSION, 5),
        (word::SIZES, 6),
        (word::SQ_SLEEPS, 7),
        (word::CQ_SLEEPS, 8),
        (word::RQ_HEAD, 16),
        (word::RQ_TAIL, 17),
        (word::RP_HEAD, 18),
        (word::RP_TAIL, 19),
        (word::RQ_SLEEPS, 20),
        (word::RP_SLEEPS, 21),
        (word::SIGNALS, 22),
        (word::MASK, 24),
        (word::WAIT_MASK, 26),
        (word::RELENT_AT, 28),
        (word::COUNT, 32),
    ];
    for (ours, golden) in words {
        assert_eq!(ours, golden);
    }
    let ring = Ring::default();
    for index in 0..word::COUNT {
        let address = std::ptr::from_ref(ring.header(index)) as usize;
        assert_eq!(address, ring.address() + index * 4);
    }
}

#[test]
fn offsets_of_the_queues() {
    // Sizes, then: packed, offsets of completions, requests and replies, bytes.
    let golden = [
        (Sizes::SMALLEST, [0x0000_0303, 640, 768, 768, 768]),
        (Sizes { sq: 0, cq: 0, service: None }, [0x0000_0000, 192, 208, 208, 208]),
        (Sizes { sq: 0, cq: 0, service: Some(0) }, [0x0001_0000, 192, 208, 272, 288]),
        (Sizes { sq: 5, cq: 6, service: Some(7) }, [0x0008_0605, 2176, 3200, 11392, 13440]),
        (Sizes { sq: 12, cq: 12, service: Some(12) }, [0x000d_0c0c, 262_272, 327_808, 589_952, 655_488]),
    ];
    for (sizes, [packed, cq, rq, rp, bytes]) in golden {
        assert_eq!(sizes.packed() as usize, packed);
        let ours = [sizes.cq_offset(), sizes.rq_offset(), sizes.rp_offset(), sizes.bytes()];
        assert_eq!(ours, [cq, rq, rp, bytes], "{sizes:?}");
    }
}

#[test]
fn registered_names_and_groups() {
    use ring_abi::{group, registered};
    assert_eq!(registered::file(0x123), 0x8000_0000_0000_0123);
    assert_eq!(registered::buffer(0x12, 0x3456_789a), 0x8000_0012_3456_789a);
    assert_eq!((registered::MOST_FILES, registered::NO_FILE), (4096, u64::MAX));
    assert_eq!((registered::MOST_BUFFERS, registered::MOST_PAGES), (64, 4096));
    assert_eq!((group::TAIL, group::HEAD, group::HEADER_BYTES, group::ENTRY_BYTES), (0, 8, 64, 16));
    assert_eq!(
        (group::ALIGN, group::MOST_ENTRIES, group::MOST_BYTES, group::MOST_GROUPS),
        (16, 4096, 65536, 16)
    );
    assert_eq!(args::group::INCREMENTAL, 1);
    let one = group::Descriptor { address: 0x0102_0304_0506_0708, length: 0x1112_1314, id: 0x2122 };
    assert_eq!(one.to_words(), [0x0102_0304_0506_0708, 0x2122_1112_1314]);
}

#[test]
fn registers_and_ends() {
    assert_eq!(size_of::<Registers>(), 152);
    let words = std::array::from_fn(|index| index as u64);
    let r = Registers::from_words(words);
    assert_eq!([r.rip, r.rsp, r.rflags, r.fs_base, r.rax, r.rbx, r.rcx], [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!([r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9], [7, 8, 9, 10, 11, 12]);
    assert_eq!([r.r10, r.r11, r.r12, r.r13, r.r14, r.r15], [13, 14, 15, 16, 17, 18]);
    assert_eq!(offset_of!(Registers, r15), 144);
    let reasons = [
        (Reason::Killed, 0x101),
        (Reason::PageFault, 0x102),
        (Reason::InvalidOpcode, 0x103),
        (Reason::Exception, 0x104),
        (Reason::CorruptRing, 0x105),
        (Reason::BadCall, 0x106),
        (Reason::OutOfMemory, 0x107),
        (Reason::Replaced, 0x108),
    ];
    for (reason, raw) in reasons {
        assert_eq!(End::Ended(reason).to_raw(), raw);
    }
    assert_eq!(End::Exited(255).to_raw(), 255);
}

#[test]
fn flags_and_constants_of_arguments() {
    use syscall::MapFlags;
    let redox = [
        (args::map::EXECUTE, MapFlags::PROT_EXEC),
        (args::map::WRITE, MapFlags::PROT_WRITE),
        (args::map::READ, MapFlags::PROT_READ),
        (args::map::SHARED, MapFlags::MAP_SHARED),
        (args::map::PRIVATE, MapFlags::MAP_PRIVATE),
        (args::map::FIXED, MapFlags::MAP_FIXED),
        (args::map::FIXED_NOREPLACE, MapFlags::MAP_FIXED_NOREPLACE),
    ];
    for (ours, theirs) in redox {
        assert_eq!(ours, theirs.bits() as u64);
    }
    assert_eq!((args::advice::WILLNEED, args::advice::DONTNEED), (3, 4));
    assert_eq!(args::event::READ, syscall::EventFlags::EVENT_READ.bits() as u64);
    assert_eq!(args::event::WRITE, syscall::EventFlags::EVENT_WRITE.bits() as u64);
    assert_eq!((args::timeout::ABSOLUTE, args::exit::SPACE, args::handle::CLOSE_ON_EXEC), (1, 1, 1));
    assert_eq!(args::port::FIXED_TAG, 1);
    assert_eq!((args::restrict::HANDLES, args::restrict::NO_NAMES), (1, 2));
    assert_eq!(args::context::START, 1 << 32);
    assert_eq!(args::context::FS, 1 << 33);
    assert_eq!((args::Strength::Ask as u32, args::Strength::Force as u32), (0, 1));
    assert_eq!(args::cancel::FIRST, 256);
}

/// Error, number, name in C.
const ERRORS: &[(Errno, u16, &str)] = &[
    (Errno::PERM, 1, "EPERM"),
    (Errno::NOENT, 2, "ENOENT"),
    (Errno::SRCH, 3, "ESRCH"),
    (Errno::INTR, 4, "EINTR"),
    (Errno::IO, 5, "EIO"),
    (Errno::NXIO, 6, "ENXIO"),
    (Errno::TOOBIG, 7, "E2BIG"),
    (Errno::NOEXEC, 8, "ENOEXEC"),
    (Errno::BADF, 9, "EBADF"),
    (Errno::CHILD, 10, "ECHILD"),
    (Errno::AGAIN, 11, "EAGAIN"),
    (Errno::NOMEM, 12, "ENOMEM"),
    (Errno::ACCES, 13, "EACCES"),
    (Errno::FAULT, 14, "EFAULT"),
    (Errno::BUSY, 16, "EBUSY"),
    (Errno::EXIST, 17, "EEXIST"),
    (Errno::XDEV, 18, "EXDEV"),
    (Errno::NODEV, 19, "ENODEV"),
    (Errno::NOTDIR, 20, "ENOTDIR"),
    (Errno::ISDIR, 21, "EISDIR"),
    (Errno::INVAL, 22, "EINVAL"),
    (Errno::NFILE, 23, "ENFILE"),
    (Errno::MFILE, 24, "EMFILE"),
    (Errno::NOTTY, 25, "ENOTTY"),
    (Errno::FBIG, 27, "EFBIG"),
    (Errno::NOSPC, 28, "ENOSPC"),
    (Errno::SPIPE, 29, "ESPIPE"),
    (Errno::ROFS, 30, "EROFS"),
    (Errno::MLINK, 31, "EMLINK"),
    (Errno::PIPE, 32, "EPIPE"),
    (Errno::RANGE, 34, "ERANGE"),
    (Errno::DEADLK, 35, "EDEADLK"),
    (Errno::NAMETOOLONG, 36, "ENAMETOOLONG"),
    (Errno::NOSYS, 38, "ENOSYS"),
    (Errno::NOTEMPTY, 39, "ENOTEMPTY"),
    (Errno::LOOP, 40, "ELOOP"),
    (Errno::OVERFLOW, 75, "EOVERFLOW"),
    (Errno::ILSEQ, 84, "EILSEQ"),
    (Errno::OPNOTSUPP, 95, "EOPNOTSUPP"),
    (Errno::NOBUFS, 105, "ENOBUFS"),
    (Errno::CONNRESET, 104, "ECONNRESET"),
    (Errno::TIMEDOUT, 110, "ETIMEDOUT"),
    (Errno::ALREADY, 114, "EALREADY"),
    (Errno::CANCELED, 125, "ECANCELED"),
];

#[test]
fn error_numbers() {
    for &(errno, raw, name) in ERRORS {
        assert_eq!((errno.raw(), errno.name()), (raw, Some(name)));
        assert_eq!(errno.to_result(), u64::from(raw).wrapping_neg());
        assert_ne!(errno.text(), "unknown error");
    }
    let named = (1..4096).filter_map(Errno::from_raw).filter(|errno| errno.name().is_some());
    assert_eq!(named.count(), ERRORS.len(), "an error is missing from this table");
}

/// Number, name, who may ask for it, and which way its buffer goes.
const OPCODES: &[(u8, &str, Origin, Payload)] = {
    use Origin::{Forwarded, Kernel, KernelOnly, Reserved};
    use Payload::{In, InOut, None, Out};
    &[
        (3, "Close", Kernel, None),
        (4, "Dup", Forwarded, In),
        (5, "Read", Forwarded, Out),
        (6, "Write", Forwarded, In),
        (7, "Fsize", Forwarded, None),
        (8, "Fchmod", Forwarded, None),
        (9, "Fchown", Forwarded, None),
        (10, "Fcntl", Forwarded, None),
        (11, "Fevent", KernelOnly, None),
        (12, "Sendfd", Forwarded, None),
        (13, "Fpath", Forwarded, Out),
        (14, "Frename", Forwarded, In),
        (15, "Fstat", Forwarded, Out),
        (16, "Fstatvfs", Forwarded, Out),
        (17, "Fsync", Forwarded, None),
        (18, "Ftruncate", Forwarded, None),
        (19, "Futimens", Forwarded, In),
        (20, "MmapPrep", KernelOnly, None),
        (21, "RequestMmap", KernelOnly, None),
        (22, "Mremap", Reserved, None),
        (23, "Munmap", KernelOnly, None),
        (24, "Msync", Reserved, None),
        (25, "Cancel", KernelOnly, None),
        (26, "Getdents", Forwarded, Out),
        (27, "CloseMsg", KernelOnly, None),
        (28, "Call", Forwarded, InOut),
        (29, "OpenAt", Forwarded, InOut),
        (30, "Flink", Forwarded, In),
        (31, "Recvfd", Forwarded, None),
        (32, "UnlinkAt", Forwarded, In),
        (33, "StdFsCall", Reserved, None),
        (34, "Detach", KernelOnly, None),
        (64, "Nop", Kernel, None),
        (65, "Probe", Kernel, None),
        (66, "Timeout", Kernel, None),
        (67, "CancelTag", Kernel, None),
        (68, "Poll", Kernel, None),
        (69, "FutexWait", Kernel, None),
        (70, "FutexWake", Kernel, None),
        (71, "Map", Kernel, None),
        (72, "Unmap", Kernel, None),
        (73, "Protect", Kernel, None),
        (74, "SpaceCreate", Kernel, None),
        (75, "SpaceFork", Kernel, None),
        (76, "SpaceWrite", Kernel, None),
        (77, "ExecCommit", Kernel, None),
        (78, "ContextCreate", Kernel, None),
        (79, "ContextRegs", Kernel, None),
        (80, "ContextStart", Kernel, None),
        (81, "ContextStop", Kernel, None),
        (82, "ContextKill", Kernel, None),
        (83, "ContextWait", Kernel, None),
        (84, "ContextIdentity", Kernel, None),
        (85, "Exit", Kernel, None),
        (86, "TableCreate", Kernel, None),
        (87, "HandleDup", Kernel, None),
        (88, "HandleFlags", Kernel, None),
        (89, "SchemeRegister", Kernel, None),
        (90, "RingCreate", Kernel, None),
        (91, "ObtainFd", Kernel, None),
        (92, "CallHandler", Kernel, None),
        (93, "EndWord", Kernel, None),
        (94, "Seek", Kernel, None),
        (95, "LinkTimeout", Kernel, None),
        (96, "HandleReserve", Kernel, None),
        (97, "RingHandle", Kernel, None),
        (98, "Interval", Kernel, None),
        (99, "TimeoutUpdate", Kernel, None),
        (100, "TimeoutRemove", Kernel, None),
        (101, "CancelHandle", Kernel, None),
        (102, "CancelAll", Kernel, None),
        (103, "FutexWaitMany", Kernel, None),
        (104, "RegisterFiles", Kernel, None),
        (105, "RegisterBuffer", Kernel, None),
        (106, "RegisterGroup", Kernel, None),
        (108, "MessageSend", Kernel, None),
        (109, "MessageHandle", Kernel, None),
        (110, "Restrict", Kernel, None),
        (111, "RingMove", Kernel, None),
        (112, "Trace", Reserved, None),
        (113, "SignalRaise", Kernel, None),
        (114, "RingDrop", Kernel, None),
        (117, "RingPoll", Kernel, None),
        (118, "MapFile", Kernel, None),
        (120, "ContextWeight", Kernel, None),
        (121, "ContextAffinity", Kernel, None),
        (122, "FutexSwap", Kernel, None),
        (123, "Advise", Kernel, None),
    ]
};

#[test]
fn flags_of_opcodes() {
    for &opcode in Opcode::ALL {
        let expected = match opcode {
            Opcode::Interval | Opcode::Poll | Opcode::Dup | Opcode::Recvfd => 0b1011_1100,
            Opcode::Read | Opcode::Getdents | Opcode::Fpath => 0b1101_1100,
            _ => 0b1001_1100,
        };
        assert_eq!(opcode.flags().bits(), expected, "{opcode:?}");
    }
}

#[test]
fn opcodes() {
    assert_eq!(Opcode::ALL.len(), OPCODES.len());
    for (opcode, &(raw, name, origin, payload)) in Opcode::ALL.iter().zip(OPCODES) {
        let ours = (opcode.raw(), opcode.name(), opcode.origin(), opcode.payload());
        assert_eq!(ours, (raw, name, origin, payload));
    }
    for raw in 0..=u8::MAX {
        let expected = OPCODES.iter().find(|row| row.0 == raw).map(|row| row.1);
        assert_eq!(Opcode::from_raw(raw).map(Opcode::name), expected, "opcode {raw}");
    }
}

#[test]
fn numbers_of_redox_keep_their_meaning() {
    for raw in 0..64 {
        let theirs = v2::Opcode::try_from_raw(raw).map(|opcode| format!("{opcode:?}"));
        assert_eq!(Opcode::from_raw(raw).map(|opcode| opcode.name().to_owned()), theirs, "opcode {raw}");
    }
}
