//! Becomes a scheme: a ring with a service pair, a name for it, and the loop that serves.
#![forbid(unsafe_code)]

use super::request::push;
use crate::op::file::{Fd, number};
use crate::op::shape::sealed::Sealed;
use crate::op::{Op, Operation};
use crate::ring::current::local;
use crate::ring::resize;
use crate::ring::slots::Answer;
use alloc::string::String;
use core::marker::PhantomData;
use ring_abi::layout::Sizes;
use ring_abi::{Cqe, CqeKind, Errno, Opcode, Sqe, args};

/// A scheme that this thread serves. The kernel forgets it when the thread ends.
#[derive(Debug)]
pub struct Scheme {
    root: u64,
    stays: PhantomData<*const ()>,
}

/// How a scheme is to be served.
#[derive(Clone, Debug)]
pub struct Builder {
    name: String,
    root: u64,
    namespace: Fd,
    slot: u32,
    queue: u8,
}

impl Scheme {
    /// Becomes the scheme `/scheme/NAME`, with 64 slots of 4096 bytes for what clients read and write; its root is
    /// file 0.
    ///
    /// The thread's operations go to the new ring from now on, so nothing may be in flight (`EBUSY`).
    pub fn register(name: &str) -> Result<Scheme, Errno> {
        Scheme::builder(name).register()
    }

    /// The same with other numbers.
    pub fn builder(name: &str) -> Builder {
        Builder { name: name.into(), root: 0, namespace: Fd::CURRENT, slot: 4096, queue: 6 }
    }

    /// File id of the root.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Tells the kernel that a file has events now, after a [`Body::Events`](super::Body::Events) found none.
    pub fn send_events(&self, file: u64, events: u64) {
        send_events(file, events);
    }
}

/// As [`Scheme::send_events`], for tasks that do not hold the scheme.
pub fn send_events(file: u64, events: u64) {
    push(Cqe::new(events as u32, Ok(file)).with_kind(CqeKind::SendFevent));
}

impl Builder {
    /// File id of the scheme's root.
    pub fn root(mut self, id: u64) -> Builder {
        self.root = id;
        self
    }

    /// Bytes of a slot, a power of two from 512 to 65536: the most that one read or write moves.
    pub fn slot_bytes(mut self, bytes: u32) -> Builder {
        self.slot = bytes;
        self
    }

    /// Number of requests that can be unanswered at once, as its logarithm to base two.
    pub fn queue(mut self, log2: u8) -> Builder {
        self.queue = log2;
        self
    }

    /// Registers in another namespace than the own.
    pub fn namespace(mut self, namespace: Fd) -> Builder {
        self.namespace = namespace;
        self
    }

    /// Becomes the scheme. A thread that serves one already serves both, over the same queues.
    pub fn register(self) -> Result<Scheme, Errno> {
        let local = local();
        if local.ends().sizes.service.is_none() {
            self.make_ring()?;
        }
        let (buffer, length) = (self.name.as_ptr().addr() as u64, self.name.len() as u64);
        let (slot, namespace, root) = (self.slot, self.namespace.0, self.root);
        let ask = Named(args::SchemeRegister { buffer, length, slot, namespace, root }, self.name);
        Op::new(ask).wait()?;
        let known = local.service.slot_bytes.get();
        local.service.slot_bytes.set(if known == 0 { slot } else { known.min(slot) });
        Ok(Scheme { root, stays: PhantomData })
    }

    /// Makes a ring with a service pair the thread's own.
    fn make_ring(&self) -> Result<(), Errno> {
        resize(Sizes { sq: 6, cq: 6, service: Some(self.queue) })
    }
}

/// The request to register, with the name that it points to.
struct Named(args::SchemeRegister, #[expect(dead_code, reason = "the arguments point to it")] String);

impl Sealed for Named {}

impl Operation for Named {
    type Output = Result<u64, Errno>;
    const OPCODE: Opcode = Opcode::SchemeRegister;

    fn entry(&mut self) -> Sqe {
        self.0.encode(0)
    }

    fn finish(self, answer: Answer) -> Self::Output {
        number(answer)
    }
}
