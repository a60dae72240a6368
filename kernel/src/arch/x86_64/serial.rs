//! The debug console: COM1 at 115200 baud, polled on the way out, interrupting on the way in.
//!
//! The port interrupts again at every access while received bytes lie in it, so they are collected at once.

use core::cell::Cell;
use core::fmt::{self, Write};

use x86_64::instructions::port::Port;

/// The ISA interrupt line of COM1.
pub(super) const LINE: u8 = 4;

const BASE: u16 = 0x3f8;
const DATA: u16 = BASE;
const INTERRUPTS: u16 = BASE + 1;
const FIFO: u16 = BASE + 2;
const FORMAT: u16 = BASE + 3;
const MODEM: u16 = BASE + 4;
const STATUS: u16 = BASE + 5;

const STATUS_RECEIVED: u8 = 1 << 0;
const STATUS_ROOM: u8 = 1 << 5;

/// How often the sender looks for room before it drops the byte: a machine without the port must still boot.
const PATIENCE: u32 = 100_000;

/// Programs the port; received bytes raise [`LINE`] from then on.
pub(super) fn start() {
    // Divisor 1 is 115200 baud; 8 data bits, no parity, one stop bit; FIFO on and empty; OUT2 lets interrupts through.
    let script = [
        (INTERRUPTS, 0x00),
        (FORMAT, 0x80),
        (DATA, 0x01),
        (INTERRUPTS, 0x00),
        (FORMAT, 0x03),
        (FIFO, 0x07),
        (MODEM, 0x0b),
        (INTERRUPTS, 0x01),
    ];
    for (register, value) in script {
        write(register, value);
    }
}

/// Sends bytes as they are.
pub(super) fn send(bytes: &[u8]) {
    for &byte in bytes {
        for _ in 0..PATIENCE {
            if read(STATUS) & STATUS_ROOM != 0 {
                write(DATA, byte);
                break;
            }
        }
    }
}

/// Moves what was received into the kernel's own buffer, so that the port stops interrupting. Bytes beyond the buffer
/// are lost, as they would be in the port.
pub(super) fn collect() {
    while read(STATUS) & STATUS_RECEIVED != 0 {
        INPUT.put(read(DATA));
    }
}

/// Takes one received byte, if there is one.
pub(super) fn receive() -> Option<u8> {
    collect();
    INPUT.take()
}

/// Whether [`receive`] has a byte.
pub(super) fn is_ready() -> bool {
    collect();
    INPUT.head.get() != INPUT.tail.get()
}

/// Received bytes that nobody has taken yet.
struct Input {
    bytes: [Cell<u8>; 256],
    head: Cell<u8>,
    tail: Cell<u8>,
}

// SAFETY: used only by the one CPU that runs the kernel.
unsafe impl Sync for Input {}

static INPUT: Input = Input { bytes: [const { Cell::new(0) }; 256], head: Cell::new(0), tail: Cell::new(0) };

impl Input {
    fn put(&self, byte: u8) {
        let tail = self.tail.get();
        let next = tail.wrapping_add(1);
        if next == self.head.get() {
            return;
        }
        if let Some(slot) = self.bytes.get(usize::from(tail)) {
            slot.set(byte);
            self.tail.set(next);
        }
    }

    fn take(&self) -> Option<u8> {
        let head = self.head.get();
        if head == self.tail.get() {
            return None;
        }
        self.head.set(head.wrapping_add(1));
        self.bytes.get(usize::from(head)).map(Cell::get)
    }
}

/// Writes formatted text.
pub(super) fn print(arguments: fmt::Arguments<'_>) {
    // `Console` never fails.
    let _ = Console.write_fmt(arguments);
}

/// The console as a writer.
pub(super) struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(line) => {
                    send(line.as_bytes());
                    send(b"\r\n");
                }
                None => send(piece.as_bytes()),
            }
        }
        Ok(())
    }
}

fn read(register: u16) -> u8 {
    // SAFETY: the registers of COM1 belong to this file alone, and reading them touches no memory.
    unsafe { Port::new(register).read() }
}

fn write(register: u16, value: u8) {
    // SAFETY: the registers of COM1 belong to this file alone, and writing them touches no memory.
    unsafe { Port::new(register).write(value) }
}
