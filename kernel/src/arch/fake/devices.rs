//! The fake machine's clock, timer, serial line and interrupt lines: values that tests read and set.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

/// Interrupt lines of the machine, the test line counted.
pub const IRQ_LINES: u8 = 17;
/// The serial port's line.
pub const IRQ_SERIAL: u8 = 4;
/// A line that only [`raise_test_irq`](super::Machine::raise_test_irq) raises.
pub const IRQ_TEST: u8 = 16;

/// No timer is set.
pub(super) const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Devices {
    pub(super) now: Cell<u64>,
    enabled: Cell<u32>,
    raised: Cell<u32>,
    printed: RefCell<Vec<u8>>,
    typed: RefCell<VecDeque<u8>>,
}

impl Devices {
    pub(super) fn new() -> Devices {
        Devices {
            now: Cell::new(1_000_000),
            enabled: Cell::new(0),
            raised: Cell::new(0),
            printed: RefCell::default(),
            typed: RefCell::default(),
        }
    }

    pub(super) fn print(&self, bytes: &[u8]) {
        self.printed.borrow_mut().extend_from_slice(bytes);
    }

    pub(super) fn printed(&self) -> Vec<u8> {
        self.printed.take()
    }

    pub(super) fn type_in(&self, bytes: &[u8]) {
        self.typed.borrow_mut().extend(bytes);
        self.raise(IRQ_SERIAL);
    }

    pub(super) fn read_typed(&self) -> Option<u8> {
        self.typed.borrow_mut().pop_front()
    }

    pub(super) fn has_typed(&self) -> bool {
        !self.typed.borrow().is_empty()
    }

    pub(super) fn enable(&self, line: u8, on: bool) {
        assert!(line < IRQ_LINES, "no interrupt line {line}");
        let bit = 1_u32.wrapping_shl(u32::from(line));
        let enabled = self.enabled.get();
        self.enabled.set(if on { enabled | bit } else { enabled & !bit });
    }

    pub(super) fn raise(&self, line: u8) {
        assert!(line < IRQ_LINES, "no interrupt line {line}");
        self.raised.set(self.raised.get() | 1_u32.wrapping_shl(u32::from(line)));
    }

    /// The lowest raised line that is enabled; it is not raised any more.
    pub(super) fn take_irq(&self) -> Option<u8> {
        let pending = self.raised.get() & self.enabled.get();
        if pending == 0 {
            return None;
        }
        let line = pending.trailing_zeros();
        self.raised.set(self.raised.get() & !1_u32.wrapping_shl(line));
        Some(line as u8)
    }
}
