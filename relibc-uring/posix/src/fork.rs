//! `fork(2)`: a copy of this process, made of a copied space, a copied handle table and a new context.
//!
//! The parent keeps what a function keeps on its stack, and copies the space while it is there. The child
//! starts on the copy of that stack, below everything that is in use, with a fresh ring; it gives the ring to
//! its runtime, takes the kept registers back and returns from the same call with zero.
//!
//! - Operations in flight stay the parent's. The child's runtime marks its copies of them as cancelled.
//! - Only the calling thread exists in the child.
#![allow(unsafe_code, reason = "two returns from one call need their own assembly")]

use crate::file;
use crate::handles::Handles;
use crate::process::{proc_handle, set_proc_handle};
use crate::spawn::{fork_handle, register};
use core::arch::naked_asm;
use core::ptr::NonNull;
use ring_abi::Errno;
use ring_abi::args::ContextCreate;
use uring::op::{self, Fd};
use uring::start::fork::Renewal;

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// The caller; the child has this process id.
    Parent(u32),
    /// The child.
    Child,
}

/// Bytes below the parent's stack in use that the child leaves alone: the red zone.
const RED_ZONE: u64 = 128;

/// What the child needs to know, on the part of the stack that it leaves alone.
struct Birth {
    /// The registers that [`fork_point`] kept.
    frame: u64,
    /// What the runtime needs. The parent's is dropped by the parent, the child's copy is used up there.
    renewal: Renewal,
    /// The handle that stands for the child.
    proc: Fd,
    /// The handle that stands for the parent, which the child has a copy of.
    parent: Fd,
}

/// Makes a copy of this process.
pub fn fork() -> Result<Fork, Errno> {
    let mut outcome = Err(Errno::IO);
    // SAFETY: `fork_point` calls `parent` with its argument, and comes back once in each process.
    let side = unsafe { fork_point(NonNull::from(&mut outcome)) };
    if side == 0 { Ok(Fork::Child) } else { outcome.map(Fork::Parent) }
}

/// Keeps the registers that a function keeps, and calls [`parent`] with their address. Returns one in the
/// parent and, from [`fork_child`], zero in the child.
#[unsafe(naked)]
unsafe extern "C" fn fork_point(outcome: NonNull<Result<u32, Errno>>) -> u64 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov rsi, rsp",
        "call {parent}",
        "mov eax, 1",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        parent = sym parent,
    )
}

/// First code of the child: `rdi` is its ring, `rsi` its [`Birth`].
#[unsafe(naked)]
unsafe extern "C" fn fork_child() -> ! {
    naked_asm!(
        "call {child}",
        "mov rsp, rax",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "xor eax, eax",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        child = sym child,
    )
}

/// The parent's side, called on the stack of [`fork_point`].
unsafe extern "C" fn parent(mut outcome: NonNull<Result<u32, Errno>>, frame: u64) {
    let result = copy_process(frame);
    // SAFETY: `fork` handed over the address of its own variable and waits for us.
    *unsafe { outcome.as_mut() } = result;
}

fn copy_process(frame: u64) -> Result<u32, Errno> {
    let mut handles = Handles::default();
    let parent = proc_handle()?;
    let proc = handles.keep(fork_handle()?);
    let table = handles.keep(op::handle::table_copy().wait()?);
    let birth = Birth { frame, renewal: Renewal::prepare(), proc, parent };
    let address = core::hint::black_box(&raw const birth).addr() as u64;
    let space = handles.keep(op::memory::space_fork().wait()?);
    let context = handles.keep(create(space, table, address, stack_below())?);
    let pid = register(proc, context)?;
    op::context::start(context).wait()?;
    Ok(pid)
}

fn create(space: Fd, table: Fd, birth: u64, stack: u64) -> Result<Fd, Errno> {
    let args = ContextCreate {
        space: space.0,
        table: table.0,
        entry: (fork_child as *const ()).addr() as u64,
        stack,
        argument: birth,
        sizes_flags: 0,
    };
    // SAFETY: the context runs in the copy of our space, not in our own.
    unsafe { op::context::create(args) }.wait()
}

/// An address below everything of this stack that the callers of this function use, a multiple of 16.
#[inline(never)]
fn stack_below() -> u64 {
    let here = 0_u64;
    let address = core::hint::black_box(&raw const here).addr() as u64;
    address.wrapping_sub(RED_ZONE).wrapping_sub(256) & !15
}

/// The child's side, on a stack of its own below the parent's; the frame to return through.
unsafe extern "C" fn child(ring: usize, birth: NonNull<Birth>) -> u64 {
    // SAFETY: the parent left it on the part of the stack that we leave alone, and nobody else in this
    // process will ever use it.
    let birth = unsafe { birth.read() };
    // SAFETY: this is the child's copy, nothing was used yet, and the kernel gave us this ring.
    unsafe { birth.renewal.renew(ring) };
    set_proc_handle(birth.proc);
    // It is ours alone, so this cannot fail.
    let _ = file::close(birth.parent);
    birth.frame
}
