//! A thread's block, its first code and its last.
//!
//! The block lies at the upper end of the stack. It is the argument that the kernel hands over and the base of `fs`, so
//! the thread finds its runtime without asking the kernel for anything. What the thread's function owns and what it returns
//! lie there too, so that making a thread allocates nothing.
#![allow(unsafe_code, reason = "a context starts at an address, with its block on memory given by address")]

use super::stack::{PAGE, Stack};
use crate::op::{Fd, context, handle};
use crate::ring::current::Thread;
use crate::ring::ends::Ends;
use crate::ring::local::{BLOCKING, Local};
use crate::ring::place::attach;
use core::cell::Cell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use ring_abi::args::context::{FS, START};
use ring_abi::args::{CURRENT, ContextCreate, Exit};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use ring_abi::{Errno, enter};

/// Bytes of a stack that are a thread's own at least, beside its block.
const LEAST: u64 = PAGE;

/// What lies at the upper end of a thread's stack. `fs` leads to its first field.
#[repr(C, align(64))]
struct Block<F, T> {
    /// Written by the thread itself.
    thread: Cell<MaybeUninit<Thread>>,
    /// Taken by the thread.
    body: Cell<Option<F>>,
    /// Empty until the body has returned.
    result: Cell<Option<T>>,
}

impl<F, T> Block<F, T> {
    const BYTES: u64 = size_of::<Block<F, T>>() as u64;

    /// Whether such a block fits a stack of so many bytes and leaves enough.
    const fn fits(stack: u64) -> bool {
        stack >= Block::<F, T>::BYTES.saturating_add(LEAST) && align_of::<Block<F, T>>() as u64 <= PAGE
    }
}

/// A thread that was made here.
#[derive(Debug)]
#[must_use = "join it; without that its handle and its stack stay until the program ends"]
pub struct JoinHandle<T> {
    context: Fd,
    stack: Stack,
    result: NonNull<Cell<Option<T>>>,
    owns: PhantomData<T>,
}

// SAFETY: what `result` leads to is touched by the thread until it has ended, and from then on by the owner of this alone.
unsafe impl<T: Send> Send for JoinHandle<T> {}

/// Makes a thread with a stack of at least so many bytes, all of them mapped at once, and with the smallest ring
/// ([`crate::ring::resize`] gives it a larger one). `EINVAL`: the stack is too small.
///
/// When its function returns, its tasks are dropped, operations that were dropped are waited for (they are cancelled), and all
/// that its runtime had is given back. What is in flight still, since nobody dropped it, is cancelled by the kernel; the memory
/// of that stays until the program ends. A panic of a thread ends the program, as anywhere.
pub fn spawn<F, T>(stack: u64, body: F) -> Result<JoinHandle<T>, Errno>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if !Block::<F, T>::fits(stack) {
        return Err(Errno::INVAL);
    }
    let stack = Stack::get(stack)?;
    let place = stack.end().wrapping_sub(Block::<F, T>::BYTES);
    let block = ptr::with_exposed_provenance_mut::<Block<F, T>>(place as usize);
    // SAFETY: the block lies within the stack, which is longer, and is aligned as the stack's end is; nobody else has it.
    unsafe {
        block.write(Block {
            thread: Cell::new(MaybeUninit::uninit()),
            body: Cell::new(Some(body)),
            result: Cell::new(None),
        });
    }
    // SAFETY: it was just written, and the thread, which uses it too, has not begun or has ended when we do.
    let block = unsafe { &*block };
    let args = ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: (first::<F, T> as *const ()).addr() as u64,
        // A function begins with a return address on its stack, which `first` never uses.
        stack: place.wrapping_sub(8),
        argument: place,
        sizes_flags: u64::from(Sizes::SMALLEST.packed()) | START | FS,
    };
    let result = NonNull::from(&block.result);
    // SAFETY: `first` never returns and gets the two arguments that it expects; the stack is its own.
    match unsafe { context::create(args) }.wait() {
        Ok(context) => Ok(JoinHandle { context, stack, result, owns: PhantomData }),
        Err(error) => {
            drop(block.body.take()); // no thread has begun
            // SAFETY: nothing runs on it, and nobody uses what lies there.
            unsafe { stack.give() }?;
            Err(error)
        }
    }
}

impl<T> JoinHandle<T> {
    /// The handle of its context, which is closed when it is joined.
    pub fn context(&self) -> Fd {
        self.context
    }

    /// Waits for its end: what its function returned, or how it ended instead. Somebody may have killed it: then whatever it
    /// owned stays as it was, locks too, and only its stack is given back.
    pub fn join(self) -> Result<Result<T, End>, Errno> {
        let end = context::wait(self.context).wait()?;
        let closed = handle::close(self.context).wait();
        if end != End::Exited(0) {
            // It may have been in the middle of anything, also of writing its result.
            // SAFETY: nothing runs there any more.
            unsafe { self.stack.unmap() }?;
            return closed.map(|()| Err(end));
        }
        // SAFETY: the thread has ended by itself, so what it left there is whole, and ours.
        let result = unsafe { self.result.as_ref() }.take();
        // SAFETY: nothing runs there any more, and the result was all that anybody could have wanted of it.
        unsafe { self.stack.give() }?;
        closed?;
        Ok(result.ok_or(end))
    }
}

/// First code of a thread: `rdi` is its ring, `rsi` its block.
extern "C" fn first<F: FnOnce() -> T, T>(ring: u64, block: u64) -> ! {
    let block = ptr::with_exposed_provenance::<Block<F, T>>(block as usize);
    // SAFETY: `spawn` laid it out for this thread, which alone uses it until it has ended.
    let block = unsafe { &*block };
    let ends = attach(ring as usize, 0, None);
    // SAFETY: this frame is never left, so what lies in it lives as long as the thread.
    let ends: &'static Ends = unsafe { &*ptr::from_ref(&ends) };
    let thread = block.thread.as_ptr().cast::<Thread>();
    // SAFETY: there is room for it, and nothing yet.
    unsafe { thread.write(Thread::new(Local::new(ends))) };
    // SAFETY: it was just written, and lives as long as the thread.
    let known: &'static Thread = unsafe { &*thread };
    known.settle();
    inside(block);
    // SAFETY: the body has returned, so no task runs, and this runtime is used for nothing but the exit.
    unsafe { retire(thread) };
    exit(ends)
}

/// A call of its own, so that nothing in it is done before the block is what `fs` leads to.
#[inline(never)]
fn inside<F: FnOnce() -> T, T>(block: &Block<F, T>) {
    if let Some(body) = block.body.take() {
        block.result.set(Some(body()));
    }
}

/// Gives back what the thread's runtime has in memory.
///
/// # Safety
///
/// This must be the calling thread's, with no task running, and be used for nothing afterwards.
#[inline(never)]
unsafe fn retire(thread: *mut Thread) {
    // SAFETY: our caller's promise.
    let local = unsafe { &(*thread).local };
    // SAFETY: our caller's promise.
    if unsafe { local.retire() } {
        // SAFETY: our caller's promise; what is left is empty, or found by nobody but its owner.
        unsafe { thread.drop_in_place() };
    }
}

/// Ends the calling context.
fn exit(ends: &'static Ends) -> ! {
    let entry = Exit { code: 0, flags: 0 }.encode(BLOCKING).to_words();
    let mut refused = false;
    while !refused {
        // There is no room while entries are there that nobody waits for; the kernel takes them first.
        let _ = ends.push(entry, 3);
        ends.enter_with(1, enter::COMPLETIONS);
        ends.reap(|tag, _| refused |= tag == BLOCKING);
    }
    panic!("the thread cannot end");
}
