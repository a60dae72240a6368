//! The clock, which all CPUs have in common, and the one-shot timer of this CPU.
//!
//! Time is the time stamp counter scaled to nanoseconds. Both it and the local timer are measured at boot against the
//! one clock whose rate is known: channel 2 of the old interval timer.

use core::arch::x86_64::_rdtsc;
use core::cell::Cell;

use x86_64::instructions::port::Port;

use super::apic;

/// Ticks of the interval timer a second.
const INTERVAL_RATE: u64 = 1_193_182;
/// Length of the measurement in ticks of the interval timer: ten milliseconds.
const INTERVAL: u64 = 11_932;
const SECOND: u64 = 1_000_000_000;
/// A number of counts with 32 binary places.
const ONE: u64 = 1 << 32;

/// What was measured; written once at boot.
struct Clock {
    start: Cell<u64>,
    ticks_per_second: Cell<u64>,
    /// Nanoseconds a tick, with 32 binary places.
    scale: Cell<u64>,
    /// Counts of the local timer a nanosecond, with 32 binary places.
    timer_scale: Cell<u64>,
    /// Seconds since 1970 when time started.
    epoch: Cell<u64>,
}

// SAFETY: all are written by the first CPU at boot, before others start, and only read afterwards.
unsafe impl Sync for Clock {}

static CLOCK: Clock = Clock {
    start: Cell::new(0),
    ticks_per_second: Cell::new(SECOND),
    scale: Cell::new(ONE),
    timer_scale: Cell::new(ONE),
    epoch: Cell::new(0),
};

/// The time stamp counter.
#[inline(always)]
pub(super) fn ticks() -> u64 {
    // SAFETY: reading the counter changes nothing.
    unsafe { _rdtsc() }
}

/// Nanoseconds since [`start`].
#[inline(always)]
pub(super) fn now() -> u64 {
    scaled(ticks().wrapping_sub(CLOCK.start.get()), CLOCK.scale.get())
}

/// Ticks of the time stamp counter a second.
pub(super) fn ticks_per_second() -> u64 {
    CLOCK.ticks_per_second.get()
}

/// Nanoseconds since 1970 when [`now`] was zero.
pub(super) fn realtime_offset() -> u64 {
    CLOCK.epoch.get().saturating_mul(SECOND)
}

/// Sets the timer to a time of [`now`], which was read a moment ago; `u64::MAX` stops it, the past fires at once. It may
/// fire early when the time is further away than it can count.
#[inline(always)]
pub(super) fn set(now: u64, deadline: u64) {
    if deadline == u64::MAX {
        apic::start_timer(0);
        return;
    }
    let count = scaled(deadline.saturating_sub(now), CLOCK.timer_scale.get());
    apic::start_timer(u32::try_from(count.saturating_add(1)).unwrap_or(u32::MAX));
}

#[inline(always)]
fn scaled(value: u64, scale: u64) -> u64 {
    (u128::from(value).wrapping_mul(u128::from(scale)) >> 32) as u64
}

/// A quotient with 32 binary places.
fn ratio(above: u64, below: u64) -> u64 {
    let quotient = (u128::from(above) << 32).checked_div(u128::from(below)).unwrap_or(0);
    u64::try_from(quotient).unwrap_or(u64::MAX)
}

/// Measures the counters; time starts now.
pub(super) fn start() {
    let (ticks, counts) = measure();
    let per_second = |amount: u64| amount.saturating_mul(INTERVAL_RATE) / INTERVAL;
    let ticks_per_second = per_second(ticks).max(1);
    CLOCK.ticks_per_second.set(ticks_per_second);
    CLOCK.scale.set(ratio(SECOND, ticks_per_second));
    CLOCK.timer_scale.set(ratio(per_second(counts), SECOND));
    CLOCK.epoch.set(super::rtc::seconds());
    CLOCK.start.set(self::ticks());
}

/// How far both counters get while the interval timer runs once.
fn measure() -> (u64, u64) {
    const GATE: u16 = 0x61;
    const GATE_ON: u8 = 1;
    const SPEAKER: u8 = 2;
    const EXPIRED: u8 = 1 << 5;
    let gate = read_port(GATE) & !(GATE_ON | SPEAKER);
    write_port(GATE, gate);
    // Channel 2, low byte then high byte, interrupt on terminal count.
    write_port(0x43, 0b1011_0000);
    let [low, high, ..] = INTERVAL.to_le_bytes();
    write_port(0x42, low);
    write_port(0x42, high);

    // It takes a minute to run out.
    apic::start_timer(u32::MAX);
    let left = apic::timer_left();
    let start = ticks();
    write_port(GATE, gate | GATE_ON);
    while read_port(GATE) & EXPIRED == 0 {}
    let end = ticks();
    let counts = left.wrapping_sub(apic::timer_left());
    apic::start_timer(0);
    write_port(GATE, gate);
    (end.wrapping_sub(start), u64::from(counts))
}

fn read_port(port: u16) -> u8 {
    // SAFETY: the interval timer's ports belong to this file alone.
    unsafe { Port::new(port).read() }
}

fn write_port(port: u16, value: u8) {
    // SAFETY: the interval timer's ports belong to this file alone.
    unsafe { Port::new(port).write(value) }
}
