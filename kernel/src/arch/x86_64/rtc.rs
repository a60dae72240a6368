//! The calendar clock on the board, read once at boot.

use x86_64::instructions::port::Port;

const SECONDS: u8 = 0;
const MINUTES: u8 = 2;
const HOURS: u8 = 4;
const DAY: u8 = 7;
const MONTH: u8 = 8;
const YEAR: u8 = 9;
const STATUS_A: u8 = 10;
const STATUS_B: u8 = 11;

const UPDATING: u8 = 1 << 7;
const BINARY: u8 = 1 << 2;
const HOURS_24: u8 = 1 << 1;
const AFTERNOON: u8 = 1 << 7;

/// Reads are repeated until two agree, but not for ever: the clock may be absent.
const TRIES: u32 = 10_000;

/// Seconds since 1970, or zero where there is no sensible clock.
pub(super) fn seconds() -> u64 {
    let mut last = read_all();
    for _ in 0..TRIES {
        let now = read_all();
        if now == last && register(STATUS_A) & UPDATING == 0 {
            return convert(now).unwrap_or(0);
        }
        last = now;
    }
    0
}

/// Second, minute, hour, day, month and year as the clock has them.
fn read_all() -> [u8; 6] {
    [SECONDS, MINUTES, HOURS, DAY, MONTH, YEAR].map(register)
}

fn convert(raw: [u8; 6]) -> Option<u64> {
    let status = register(STATUS_B);
    let number = |value: u8| {
        let value = u64::from(value);
        if status & BINARY != 0 { value } else { (value >> 4).wrapping_mul(10).wrapping_add(value & 15) }
    };
    let [second, minute, hour, day, month, year] = raw;
    let mut hours = number(hour & !AFTERNOON);
    if status & HOURS_24 == 0 {
        hours %= 12;
        if hour & AFTERNOON != 0 {
            hours = hours.wrapping_add(12);
        }
    }
    let days = days_since_1970(number(year).checked_add(2000)?, number(month), number(day))?;
    let minutes = days.checked_mul(24)?.checked_add(hours)?.checked_mul(60)?.checked_add(number(minute))?;
    minutes.checked_mul(60)?.checked_add(number(second))
}

/// Days from the first of January 1970 to a date of this century.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let before = *BEFORE.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    let years = year.checked_sub(1970)?;
    // 1972 was the first leap year, and 2000 was one as well.
    let leap_days = years.checked_add(1)? / 4;
    let this_leap_day = u64::from(year.is_multiple_of(4) && month > 2);
    let whole_years = years.checked_mul(365)?.checked_add(leap_days)?;
    whole_years.checked_add(before)?.checked_add(this_leap_day)?.checked_add(day.checked_sub(1)?)
}

fn register(index: u8) -> u8 {
    // SAFETY: the clock's ports belong to this file alone; bit 7 clear keeps non-maskable interrupts on.
    unsafe { Port::new(0x70).write(index) };
    // SAFETY: as above.
    unsafe { Port::new(0x71).read() }
}
