//! A daemon's loop without the kit: what serving costs at least.
//!
//! It is what one would write by hand over the two queues: positions in locals, a test for the one request that matters,
//! everything else out of the way.
#![allow(unsafe_code, reason = "answers lie in the arena, which requests name by address")]

use crate::{Ring, ring};
use core::ptr;
use core::sync::atomic::Ordering::{Acquire, Release};
use ring_abi::args::{CURRENT, SchemeRegister};
use ring_abi::cqe::POSITIONED;
use ring_abi::enter::RING_ENTER;
use ring_abi::layout::Sizes;
use ring_abi::map::Settled;
use ring_abi::ring::store;
use ring_abi::sqe::Head;
use ring_abi::{Cqe, Errno, Opcode, SqeFlags};

/// Of the daemon's ring.
const SIZES: Sizes = Sizes { sq: 3, cq: 3, service: Some(6) };
/// Bytes of a slot.
const SLOT: u32 = 4096;
/// The id of the only file.
const ZERO: u64 = 1;
/// Opcode and flags of a plain read, in the low half of a request's first word.
const READ: u16 = Opcode::Read.raw() as u16;
/// The part of a request's first word that its answer repeats.
const TAG: u64 = !(u32::MAX as u64);

/// Becomes a scheme, in which every path is a file of zeros without end, and serves until the kernel refuses to.
pub fn zeros(ring: &Ring, name: &str) -> Errno {
    let (buffer, length) = (name.as_ptr().addr() as u64, name.len() as u64);
    let register = SchemeRegister { buffer, length, slot: SLOT, namespace: CURRENT, root: ZERO };
    match ring.create(SIZES).and_then(|own| own.call(register.encode(0)).map(|_| own)) {
        Ok(own) => serve(&own),
        Err(error) => error,
    }
}

/// One request after the other. There are as many places for answers as for requests, so each answer has one.
#[inline(never)]
fn serve(own: &Ring) -> Errno {
    let call = RING_ENTER.wrapping_add(own.number());
    let memory = own.view(SIZES);
    let (requests, replies) = (memory.service_requests(), memory.service_replies());
    let (mut taken, mut given) = (0_u32, 0_u32);
    loop {
        if requests.tail().load(Acquire) == taken {
            let refused = ring::serve(call);
            if refused != 0 {
                return ring_abi::errno::demux(refused).err().unwrap_or(Errno::IO);
            }
            // The wait ends when there is a request, and only then.
        }
        // SAFETY: the kernel leaves a request alone until it is taken off, and writes only while we are in it.
        let entry = unsafe { Settled::at(&requests, taken) };
        let [head, file, place, length, ..] = entry.words();
        taken = taken.wrapping_add(1);
        if head as u16 == READ && file == ZERO && length == 1 {
            // SAFETY: the kernel names a byte of this scheme's arena, where nothing else lies.
            unsafe { ptr::with_exposed_provenance_mut::<u8>(place as usize).write(0) };
            store(replies.slot(given), [head & TAG, 1]);
            given = given.wrapping_add(1);
        } else if let Some(answer) = rarely(entry) {
            store(replies.slot(given), answer);
            given = given.wrapping_add(1);
        }
        requests.head().store(taken, Release);
        replies.tail().store(given, Release);
    }
}

/// The answer to any other request, if it wants one.
#[cold]
#[inline(never)]
fn rarely(entry: Settled<'_>) -> Option<[u64; 2]> {
    let [head, _, place, length, ..] = entry.words();
    let head = Head(head);
    if head.flags() & SqeFlags::ONEWAY.bits() != 0 {
        return None;
    }
    let answer = |result| Cqe::new(head.tag(), result);
    let reply = match Opcode::from_raw(head.opcode()) {
        Some(Opcode::OpenAt) => answer(Ok(ZERO)).with_extra(POSITIONED),
        Some(Opcode::Read) => {
            // SAFETY: as in `serve`, for all of the slot that is named.
            unsafe { ptr::with_exposed_provenance_mut::<u8>(place as usize).write_bytes(0, length as usize) };
            answer(Ok(length))
        }
        _ => answer(Err(Errno::NOSYS)),
    };
    Some(reply.to_words())
}
