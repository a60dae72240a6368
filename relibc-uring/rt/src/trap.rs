//! The one instruction that enters the kernel.
//!
//! In the guest it is `syscall`. On a host there is no kernel below, so a test installs its own with
//! [`set_hook`]: the real one on its fake machine, or a small mock.
#![allow(unsafe_code, reason = "the instruction itself")]

use ring_abi::enter::Control;

#[cfg(not(target_os = "redox"))]
pub use host::{Hook, set_hook};

/// What `ring_enter` is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enter {
    /// [`RING_ENTER`](ring_abi::enter::RING_ENTER) plus the number of the ring among those of this context.
    pub call: u64,
    /// What to take and what to wait for, without a deadline.
    pub control: Control,
}

/// Enters the kernel. The result is zero or the negative of an error number.
#[cfg(target_os = "redox")]
#[inline(always)]
pub(crate) fn enter(how: Enter) -> u64 {
    let result;
    // SAFETY: `ring_enter` is a function call to the compiler: it keeps the stack and the registers that
    // the C convention keeps. It writes to this program's memory only where an entry in the ring says so,
    // and `Local::push` was promised that this is allowed.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") how.call => result,
            in("rsi") how.control.0,
            clobber_abi("C"),
            options(nostack),
        );
    }
    result
}

/// The processor's time-stamp counter: a rough clock that needs no entry into the kernel.
#[inline(always)]
pub fn ticks() -> u64 {
    // SAFETY: every processor of this architecture has the counter, and the kernel lets programs read it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_os = "redox"))]
pub(crate) use host::enter;

#[cfg(not(target_os = "redox"))]
mod host {
    use super::Enter;
    use ring_abi::Errno;
    use std::boxed::Box;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A kernel for tests: gets what `ring_enter` is asked and gives its result.
    pub type Hook = dyn Fn(Enter) -> u64;

    std::thread_local! {
        static HOOK: RefCell<Option<Rc<Hook>>> = const { RefCell::new(None) };
    }

    /// Makes `hook` the kernel of this host thread.
    pub fn set_hook(hook: Box<Hook>) {
        HOOK.with(|place| *place.borrow_mut() = Some(Rc::from(hook)));
    }

    /// Asks this thread's hook; without one there is no ring to enter.
    pub(crate) fn enter(how: Enter) -> u64 {
        let hook = HOOK.with(|place| place.borrow().clone());
        hook.map_or(Errno::NOSYS.to_result(), |hook| hook(how))
    }
}
