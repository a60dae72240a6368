//! Arguments, environment and auxiliary vector, as they lie on the first stack (System V).
#![allow(unsafe_code, reason = "the first stack is read by address")]

use core::ffi::{CStr, c_char};
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Address of the first stack's `argc`; zero if there is none.
static STACK: AtomicUsize = AtomicUsize::new(0);

/// Remembers the first stack. `stack` leads to what the loader of this program laid out, or is zero.
#[cfg(target_os = "redox")]
pub(super) fn set_stack(stack: usize) {
    STACK.store(stack, Ordering::Relaxed);
}

/// The program's arguments, its own name first. Those that are not UTF-8 are left out.
pub fn args() -> impl Iterator<Item = &'static str> {
    let count = if STACK.load(Ordering::Relaxed) == 0 { 0 } else { word(0) };
    (1..=count).filter_map(|index| text(word(index)))
}

/// The value of a variable of the environment, if it is UTF-8.
pub fn var(name: &str) -> Option<&'static str> {
    vars().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
}

/// The environment: `NAME=value` each. What is not UTF-8 is left out.
pub fn vars() -> impl Iterator<Item = &'static str> {
    let first = environment();
    (first..).map(word).take_while(|address| *address != 0).filter_map(text)
}

/// A number of the auxiliary vector.
pub fn auxiliary(key: u64) -> Option<u64> {
    if STACK.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let first = environment();
    let end = (first..).find(|index| word(*index) == 0)?;
    let mut pairs = (end.wrapping_add(1)..).step_by(2).map(|at| (word(at), word(at.wrapping_add(1))));
    pairs
        .by_ref()
        .take_while(|(found, _)| *found != 0)
        .find(|(found, _)| *found as u64 == key)
        .map(|(_, value)| value as u64)
}

/// A string whose address and length stand in the auxiliary vector.
pub fn auxiliary_bytes(address: u64, length: u64) -> Option<&'static [u8]> {
    let (start, length) = (auxiliary(address)? as usize, auxiliary(length)? as usize);
    if start == 0 {
        return None;
    }
    // SAFETY: the loader of this program put `length` bytes there, on a stack that is never taken away.
    Some(unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(start), length) })
}

/// Index of the environment's first word: behind argc, the arguments and a zero.
fn environment() -> usize {
    if STACK.load(Ordering::Relaxed) == 0 { 0 } else { word(0).wrapping_add(2) }
}

/// Word `index` of the first stack. The vectors there end with zeros, and nobody reads behind those.
fn word(index: usize) -> usize {
    let stack = STACK.load(Ordering::Relaxed);
    if stack == 0 {
        return 0;
    }
    let place = ptr::with_exposed_provenance::<usize>(stack).wrapping_add(index);
    // SAFETY: the loader laid the vectors out there as System V says, and callers stop at their ends.
    unsafe { *place }
}

fn text(address: usize) -> Option<&'static str> {
    let start = ptr::with_exposed_provenance::<c_char>(address);
    // SAFETY: the words of the vectors lead to strings that end with a zero byte.
    unsafe { CStr::from_ptr(start) }.to_str().ok()
}
