//! The PC: this machine's parts, lowest first.
//!
//! - `serial`, `exit`, `rtc`, `acpi`: devices that are there whatever happens.
//! - `cpu`, `tables`: what a CPU is told once.
//! - `memory`, `tlb`, `copy`, `slab`, `wired`, `utf8`: memory as the kernel reaches it.
//! - `regs`, `state`: what is kept of a stopped program.
//! - `percpu`, `entry`, `interrupt`, `leap`, `leave`: the way in and the way out.
//! - `apic`, `timer`: interrupts and time.
//! - `lock`, `smp`: one CPU at a time, and how the others start; `watch`: what one without a program looks at meanwhile.
//! - `start`, `selftest`, `panic`: the beginning and the end.
//! - `machine`: all of it as the value that the layers above know; `symbols`: what they must offer in turn.

mod acpi;
mod apic;
mod copy;
mod cpu;
mod entry;
mod exit;
mod interrupt;
mod leap;
mod leave;
mod lock;
mod machine;
mod memory;
mod panic;
mod percpu;
mod place;
mod regs;
mod rtc;
mod selftest;
mod serial;
mod slab;
mod smp;
mod start;
mod state;
mod symbols;
mod tables;
mod timer;
mod tlb;
mod utf8;
mod watch;
mod wired;

pub use apic::{IRQ_LINES, IRQ_SERIAL, IRQ_TEST};
pub use exit::exit;
pub use interrupt::ignored_events;
pub use leap::{Road, leap};
pub use machine::{Machine, again, back, go_on, idle, poll, resume, resume_waiter};
pub use panic::EXIT_PANIC;
pub use percpu::ThisOne;
pub use place::{Filled, Place, Single};
pub use regs::{Regs, Start};
pub use slab::{FrameSource, NoMemory, Slab, near_link};
pub use start::{BootInfo, LOADER_CONFIG, start};
pub use state::StateBlock;
pub use wired::{UserPtr, Wired};
