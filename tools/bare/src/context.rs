//! Makes contexts of this address space that run one function on a stack of their own.
#![allow(unsafe_code, reason = "a context starts at an address, on memory given by address")]

use crate::Ring;
use core::ptr;
use ring_abi::Errno;
use ring_abi::args::map::{GUARD, POPULATE, PRIVATE, READ, WRITE};
use ring_abi::args::{self, CURRENT};
use ring_abi::context::End;
use ring_abi::layout::Sizes;
use uring::Fd;
use uring::op::{context, handle, memory};

/// What a bare context runs: its ring and its argument in, its exit code out.
pub type Body<T> = fn(&Ring, &'static T) -> u8;

/// What lies at the upper end of a fresh stack.
#[repr(C, align(16))]
struct Birth {
    /// [`call`] for the type of the argument.
    call: unsafe fn(&Ring, &Birth) -> u8,
    body: *const (),
    argument: *const (),
}

/// Calls a body.
///
/// # Safety
///
/// `birth` must have been made for this type.
unsafe fn call<T: 'static>(ring: &Ring, birth: &Birth) -> u8 {
    // SAFETY: our caller's promise: it was a `Body<T>` when `prepare` put it there.
    let body = unsafe { core::mem::transmute::<*const (), Body<T>>(birth.body) };
    // SAFETY: and this a `&'static T`.
    body(ring, unsafe { &*birth.argument.cast::<T>() })
}

const PAGE: u64 = 4096;
/// Bytes of a stack that are not the body's: what it starts with, and the return address of a call.
const TOP: u64 = size_of::<Birth>() as u64 + 16;
const _: () = assert!(TOP.is_multiple_of(16));

/// A context that was started here.
#[derive(Debug)]
#[must_use = "join it or let it go"]
pub struct Bare {
    /// Its handle.
    pub fd: Fd,
    stack: Stack,
}

/// A mapped stack on which no context runs.
#[derive(Debug)]
pub struct Stack {
    address: u64,
    length: u64,
}

impl Stack {
    /// Maps a stack with an empty page below it.
    pub fn map(length: u64) -> Result<Stack, Errno> {
        Stack::map_with(length, 0)
    }

    /// The same, with all of its pages there at once.
    pub fn map_at_once(length: u64) -> Result<Stack, Errno> {
        Stack::map_with(length, POPULATE)
    }

    fn map_with(length: u64, flags: u64) -> Result<Stack, Errno> {
        let flags = READ | WRITE | PRIVATE | GUARD | flags;
        // SAFETY: it may lie anywhere, so it takes nothing away.
        let address = unsafe { memory::map_in(Fd::CURRENT, 0, length, flags) }.wait()?;
        Ok(Stack { address, length })
    }

    /// A part of a file, mapped with rights and flags of [`args::map`]. What others write into the file is seen here, so it is to be
    /// a file that nobody writes meanwhile.
    pub fn map_file(file: Fd, offset: u64, length: u64, flags: u64) -> Result<Stack, Errno> {
        let at = memory::Place { space: Fd::CURRENT, address: 0, length, flags };
        // SAFETY: it may lie anywhere, so it takes nothing away.
        let address = unsafe { memory::map_file(file, offset, at) }.wait()?;
        Ok(Stack { address, length })
    }

    /// Writes to one of its pages, from the lowest on; nothing beyond the last.
    #[inline]
    pub fn touch(&self, page: u64) {
        let offset = page.wrapping_mul(PAGE);
        if offset < self.length {
            let place = ptr::with_exposed_provenance_mut::<u8>(self.address.wrapping_add(offset) as usize);
            // SAFETY: it lies in this memory, in which nobody has anything yet.
            unsafe { place.write_volatile(1) };
        }
    }

    /// Reads from one of its pages, from the lowest on; nothing beyond the last.
    #[inline]
    pub fn look(&self, page: u64) {
        let offset = page.wrapping_mul(PAGE);
        if offset < self.length {
            let place = ptr::with_exposed_provenance::<u8>(self.address.wrapping_add(offset) as usize);
            // SAFETY: it lies in this memory.
            unsafe { place.read_volatile() };
        }
    }

    /// Its words, the lowest first.
    pub fn words(&mut self) -> &mut [u64] {
        let place = ptr::with_exposed_provenance_mut::<u64>(self.address as usize);
        // SAFETY: it is mapped, aligned to pages, and ours; what was never written is zero.
        unsafe { core::slice::from_raw_parts_mut(place, (self.length >> 3) as usize) }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        let place = ptr::with_exposed_provenance::<u8>(self.address as usize);
        // SAFETY: as for `words`.
        unsafe { core::slice::from_raw_parts(place, self.length as usize) }
    }

    /// Its bytes, to be written.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let place = ptr::with_exposed_provenance_mut::<u8>(self.address as usize);
        // SAFETY: as for `words`.
        unsafe { core::slice::from_raw_parts_mut(place, self.length as usize) }
    }

    /// Says what becomes of it: one of [`args::advice`].
    pub fn advise(&mut self, advice: u64) -> Result<(), Errno> {
        // SAFETY: nobody has anything in it, and any words will do.
        unsafe { memory::advise(Fd::CURRENT, self.address, self.length, advice) }.wait()
    }

    /// Takes it away again.
    pub fn unmap(self) -> Result<(), Errno> {
        // SAFETY: a context that was started keeps its stack until it has ended (`Bare`), and nobody else was told of
        // this memory.
        unsafe { memory::unmap(Fd::CURRENT, self.address, self.length) }.wait()
    }

    /// Takes or gives the right to write to it.
    pub fn protect(&self, writable: bool) -> Result<(), Errno> {
        let rights = if writable { READ | WRITE } else { READ };
        // SAFETY: as for `unmap`.
        unsafe { memory::protect(Fd::CURRENT, self.address, self.length, rights) }.wait()
    }

    /// Lays out what [`first`] finds; its address.
    fn prepare<T: Sync + 'static>(&self, body: Body<T>, argument: &'static T) -> u64 {
        let birth = self.address.wrapping_add(self.length).wrapping_sub(size_of::<Birth>() as u64);
        let place = ptr::with_exposed_provenance_mut::<Birth>(birth as usize);
        let argument = ptr::from_ref(argument).cast();
        // SAFETY: `place` lies within the fresh mapping, aligned, and nobody else knows it.
        unsafe { place.write(Birth { call: call::<T>, body: body as *const (), argument }) };
        birth
    }
}

/// First code of a bare context: `rdi` is its ring, `rsi` its [`Birth`].
extern "C" fn first(ring: u64, birth: u64) -> ! {
    // SAFETY: `prepare` laid it out, and the stack lives as long as this context.
    let birth = unsafe { &*ptr::with_exposed_provenance::<Birth>(birth as usize) };
    // SAFETY: the kernel made this ring for this context, and nothing ran here before.
    let Some(ring) = (unsafe { Ring::at(ring, 0) }) else { crate::mischief::stop() };
    // SAFETY: `call` and the other two were put there together.
    let code = unsafe { (birth.call)(&ring, birth) };
    exit(&ring, code)
}

/// Ends the calling context alone.
pub fn exit(ring: &Ring, code: u8) -> ! {
    let _ = ring.call(args::Exit { code: u32::from(code), flags: 0 }.encode(u32::MAX));
    crate::mischief::stop()
}

/// Starts a context on a stack of so many bytes, with a ring of these sizes.
pub fn start<T: Sync + 'static>(
    body: Body<T>,
    argument: &'static T,
    stack: u64,
    sizes: Sizes,
) -> Result<Bare, Errno> {
    start_with(body, argument, stack, sizes, args::context::START)
}

/// Makes a context on a stack of so many bytes; with [`args::context::START`] it runs at once.
pub fn start_with<T: Sync + 'static>(
    body: Body<T>,
    argument: &'static T,
    stack: u64,
    sizes: Sizes,
    flags: u64,
) -> Result<Bare, Errno> {
    // At once, so that too little memory is an error here and not the end of somebody.
    let stack = Stack::map_at_once(stack)?;
    match create(&stack, body, argument, sizes, flags) {
        Ok(fd) => Ok(Bare { fd, stack }),
        Err(error) => stack.unmap().and(Err(error)),
    }
}

fn create<T: Sync + 'static>(
    stack: &Stack,
    body: Body<T>,
    argument: &'static T,
    sizes: Sizes,
    flags: u64,
) -> Result<Fd, Errno> {
    let birth = stack.prepare(body, argument);
    let args = args::ContextCreate {
        space: CURRENT,
        table: CURRENT,
        entry: (first as *const ()).addr() as u64,
        // A function begins with a return address on its stack, which `first` never uses.
        stack: stack.address.wrapping_add(stack.length).wrapping_sub(TOP).wrapping_sub(8),
        argument: birth,
        sizes_flags: u64::from(sizes.packed()) | flags,
    };
    // SAFETY: `first` never returns and gets the two arguments that it expects; the stack is its own.
    unsafe { context::create(args) }.wait()
}

impl Bare {
    /// Waits for its end and takes its stack away; how it ended.
    pub fn join(self) -> Result<End, Errno> {
        let end = context::wait(self.fd).wait()?;
        handle::close(self.fd).wait()?;
        self.stack.unmap()?; // nothing runs on it any more
        Ok(end)
    }

    /// Gives the handle up: the context runs as long as it wants, and its stack stays.
    pub fn let_go(self) -> Result<(), Errno> {
        handle::close(self.fd).wait()
    }
}
