//! A context that does what it must not dies alone; and system calls that are no `ring_enter`.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::{Guest, until};
use crate::on_ring::{Running, ends_with, on_ring, same, start};
use crate::verdict::{Verdict, ensure, equal};
use bare::mischief::{self, NESTED, halt, jump, old_call, overflow, peek, poke};
use core::ptr;
use core::sync::atomic::AtomicU32;
use ring_abi::args::FutexWait;
use ring_abi::boot::USER_END;
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use uring::op::sync::futex_wake;

tests! {
    a_wild_read_ends_its_context_alone,
    a_wild_write_ends_its_context_alone,
    the_kernels_memory_is_out_of_reach,
    code_cannot_be_written_and_data_cannot_be_executed,
    a_stack_that_overflows_ends_its_context,
    what_only_the_kernel_may_ends_a_context,
    an_old_system_call_without_a_handler_ends_a_context,
    an_old_system_call_goes_to_its_handler,
}

static WORD: AtomicU32 = AtomicU32::new(0);

/// A context that waits, and must still do so when others have died.
fn witness() -> Result<Running, crate::verdict::Failed> {
    WORD.store(0, core::sync::atomic::Ordering::Relaxed);
    start(Sizes::SMALLEST, |ring| {
        let address = ptr::from_ref(&WORD).addr() as u64;
        crate::on_ring::call(1, ring, FutexWait { address, expected: 0, deadline: u64::MAX }.encode(1), Ok(0))
    })
}

/// Does something that ends a context, beside one that must survive.
fn dies(reason: Reason, act: fn()) -> Verdict {
    let other = witness()?;
    ends_with(End::Ended(reason), move |_| {
        act();
        Ok(())
    })?;
    let mut woken = Ok(0);
    until("the other one waits", || {
        woken = futex_wake(&WORD, 1).wait();
        woken != Ok(0)
    })?;
    equal(woken, Ok(1))?;
    other.verdict()
}

fn a_wild_read_ends_its_context_alone(_: &Guest) -> Verdict {
    dies(Reason::PageFault, || _ = peek(0))?;
    dies(Reason::PageFault, || _ = peek(8))?;
    dies(Reason::PageFault, || _ = peek(USER_END))
}

fn a_wild_write_ends_its_context_alone(_: &Guest) -> Verdict {
    dies(Reason::PageFault, || poke(0))?;
    dies(Reason::PageFault, || poke(0x7000_0000_0000))
}

fn the_kernels_memory_is_out_of_reach(_: &Guest) -> Verdict {
    for address in [0xffff_8000_0000_0000, 0xffff_ffff_8000_0000, 0xffff_ffff_ffff_fff8_u64] {
        ends_with(End::Ended(Reason::PageFault), move |_| same(1, peek(address), 0))?;
    }
    // An address that is none is another exception.
    ends_with(End::Ended(Reason::Exception), |_| same(1, peek(0x8000_0000_0000), 0))
}

fn code_cannot_be_written_and_data_cannot_be_executed(_: &Guest) -> Verdict {
    dies(Reason::PageFault, || poke((dies as *const ()).addr() as u64))?;
    dies(Reason::PageFault, || jump(ptr::from_ref(&WORD).addr() as u64))
}

fn a_stack_that_overflows_ends_its_context(_: &Guest) -> Verdict {
    dies(Reason::PageFault, || _ = overflow(0))
}

fn what_only_the_kernel_may_ends_a_context(_: &Guest) -> Verdict {
    dies(Reason::Exception, halt)?;
    dies(Reason::InvalidOpcode, || mischief::stop())
}

fn an_old_system_call_without_a_handler_ends_a_context(_: &Guest) -> Verdict {
    dies(Reason::BadCall, || _ = old_call(1, 2))?;
    dies(Reason::BadCall, || _ = old_call(u64::MAX, 2))
}

fn an_old_system_call_goes_to_its_handler(_: &Guest) -> Verdict {
    mischief::set_handler()?;
    on_ring(|_| {
        for number in [1, 0x2100_0003, u64::MAX.wrapping_sub(100)] {
            same(1, old_call(number, 40), number.wrapping_add(40))?;
        }
        Ok(())
    })?;
    ensure(old_call(7, 5) == 12, "the first thread's call went elsewhere")?;
    // A call from within the handler is a mistake that cannot be reflected.
    ends_with(End::Ended(Reason::BadCall), |_| same(1, old_call(1, NESTED), 0))
}
