//! What must hold for any bytes that a peer puts into an entry.
//!
//! The fuzz target and `ring-abi/tests/wire.rs` share this file, so what the fuzzer looks for is also
//! checked, with random bytes, by `cargo test`.

use ring_abi::context::End;
use ring_abi::errno::Errno;
use ring_abi::layout::Sizes;
use ring_abi::opcode::Origin;
use ring_abi::{Cqe, Opcode, Sqe, args};

/// Reads `bytes` (as many as there are, then zeros) as each kind of entry and small word of the wire.
pub(crate) fn check(bytes: &[u8]) {
    let words = words(bytes);
    let [first, second, ..] = words;
    submission(Sqe::from_words(words), words);
    completion(Cqe::from_words([first, second]), [first, second]);
    if let Some(end) = End::from_raw(first) {
        assert_eq!(end.to_raw(), first);
    }
    if let Some(sizes) = Sizes::unpack(first as u32) {
        assert_eq!(sizes.packed(), first as u32);
        assert!(sizes.bytes() <= 655_488);
    }
}

fn words(bytes: &[u8]) -> [u64; 8] {
    let mut padded = [0; 64];
    for (to, from) in padded.iter_mut().zip(bytes) {
        *to = *from;
    }
    let (words, _) = padded.as_chunks::<8>();
    std::array::from_fn(|index| words.get(index).copied().map_or(0, u64::from_le_bytes))
}

macro_rules! decode_as_its_opcode_says {
    ($sqe:expr, $opcode:expr, $($name:ident)*) => {
        match $opcode {
            $(Opcode::$name => Some(args::$name::decode($sqe).map(|decoded| decoded.encode($sqe.tag))),)*
            _ => None,
        }
    };
}

/// A refused entry is refused as invalid; an accepted one says the same when it is encoded again.
fn submission(sqe: Sqe, words: [u64; 8]) {
    assert_eq!(sqe.to_words(), words);
    let Some(opcode) = Opcode::from_raw(sqe.opcode) else { return };
    assert_eq!(opcode.raw(), sqe.opcode);
    let decoded = decode_as_its_opcode_says!(&sqe, opcode,
        Close Dup Read Write Fsize Fchmod Fchown Fcntl Fevent Sendfd Fpath Frename Fstat Fstatvfs Fsync
        Ftruncate Futimens Cancel Getdents CloseMsg Call OpenAt Flink Recvfd UnlinkAt
        Nop Probe Timeout CancelTag Poll FutexWait FutexWake FutexSwap Map MapFile Unmap Protect Advise SpaceCreate SpaceFork
        Interval TimeoutUpdate TimeoutRemove CancelHandle CancelAll FutexWaitMany
        SpaceWrite ExecCommit ContextCreate ContextRegs ContextStart ContextStop ContextKill ContextWait
        ContextIdentity ContextWeight Exit TableCreate HandleDup HandleFlags SchemeRegister RingCreate ObtainFd
        CallHandler EndWord Seek RegisterFiles RegisterBuffer RegisterGroup ContextAffinity
        LinkTimeout HandleReserve RingHandle MessageSend MessageHandle Restrict SignalRaise
        RingPoll RingMove RingDrop);
    match decoded {
        None => assert!(matches!(opcode.origin(), Origin::Reserved | Origin::KernelOnly), "{opcode:?}"),
        Some(Err(error)) => assert_eq!(error, Errno::INVAL),
        Some(Ok(again)) => {
            assert_eq!((again.opcode, again.tag), (sqe.opcode, sqe.tag));
            let named = args::fields(opcode);
            for (index, (word, sent)) in again.args.into_iter().zip(sqe.args).enumerate() {
                let kept = named.iter().any(|&(_, at)| at == index);
                assert_eq!(word, if kept { sent } else { 0 }, "word {index} of {opcode:?}");
            }
        }
    }
}

/// A completion's result is a value or an error between 1 and 4095, and nothing of it is lost.
fn completion(cqe: Cqe, words: [u64; 2]) {
    assert_eq!(cqe.to_words(), words);
    match cqe.result() {
        Ok(value) => assert_eq!(value, cqe.result),
        Err(error) => {
            assert!((1..=4095).contains(&error.raw()));
            assert_eq!(error.to_result(), cqe.result);
            assert!(!error.to_string().is_empty());
        }
    }
}
