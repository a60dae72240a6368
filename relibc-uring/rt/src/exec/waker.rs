//! Wakers without memory: the data of a waker is the index of its task.
#![allow(unsafe_code, reason = "a raw waker is made by hand")]

use crate::ring::current::local;
use core::ptr;
use core::task::{RawWaker, RawWakerVTable, Waker};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, ignore);

/// The waker of a task.
#[inline(always)]
pub(crate) fn waker(task: u32) -> Waker {
    // SAFETY: the functions of the table take the data as a number, so nothing is ever freed or dangling; they
    // touch `Cell`s of the thread that they run on, whichever it is.
    unsafe { Waker::from_raw(raw(task)) }
}

/// The task that a waker wakes, if it is one of ours.
#[inline(always)]
pub(crate) fn index_of(waker: &Waker) -> Option<u32> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| waker.data().addr() as u32)
}

#[inline(always)]
fn raw(task: u32) -> RawWaker {
    RawWaker::new(ptr::without_provenance(task as usize), &VTABLE)
}

fn clone(data: *const ()) -> RawWaker {
    raw(data.addr() as u32)
}

fn wake(data: *const ()) {
    local().tasks.wake(data.addr() as u32);
}

fn ignore(_: *const ()) {}
