//! A context's share of its processor: its weight, and the virtual time that it has used.
//!
//! Virtual time runs faster the lighter a context is: a nanosecond of the processor moves it by [`DEFAULT`] / weight. Who
//! has used least of it is next, so contexts that are always ready get the processor in proportion to their weights.
//!
//! Both are one word, since there are 100,000 contexts: 54 bits of virtual time, which are only ever compared with times
//! that are close, so that they may wrap, and ten of the weight.
#![forbid(unsafe_code)]

use ring_abi::context::weight::DEFAULT;

/// Bits of virtual time.
const TIME_BITS: u32 = 54;
/// Nanoseconds of one unit of virtual time, at the default weight.
pub const UNIT: u64 = 16;
/// Bits of a weight.
const WEIGHT_BITS: u32 = 10;
const WEIGHT_MASK: u64 = (1 << WEIGHT_BITS) - 1;
/// What one charge counts at most, in nanoseconds: more than any slice.
const MOST: u64 = 1 << 32;

const _: () =
    assert!(TIME_BITS + WEIGHT_BITS == u64::BITS && ring_abi::context::weight::MOST as u64 <= WEIGHT_MASK);

/// A point of virtual time, in [`UNIT`]s; 54 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Time(u64);

impl Time {
    /// From units; what does not fit wraps.
    pub const fn new(units: u64) -> Time {
        Time(units & ((1 << TIME_BITS) - 1))
    }

    /// The same as units.
    pub const fn units(self) -> u64 {
        self.0
    }

    /// So many units later.
    pub const fn plus(self, units: u64) -> Time {
        Time::new(self.0.wrapping_add(units))
    }

    /// So many units sooner.
    pub const fn minus(self, units: u64) -> Time {
        Time::new(self.0.wrapping_sub(units))
    }

    /// How many units this is after another time; negative if it is before. The two are closer than half of the range.
    pub const fn after(self, other: Time) -> i64 {
        (self.0.wrapping_sub(other.0) << (u64::BITS - TIME_BITS)) as i64 >> (u64::BITS - TIME_BITS)
    }

    /// The later of two.
    pub const fn max(self, other: Time) -> Time {
        if self.after(other) < 0 { other } else { self }
    }

    /// The sooner of two.
    pub const fn min(self, other: Time) -> Time {
        if self.after(other) > 0 { other } else { self }
    }
}

/// A weight, and the virtual time used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Default for Share {
    fn default() -> Self {
        Share::new(Time::default(), DEFAULT)
    }
}

impl Share {
    /// A share of a weight, from 1 to the greatest.
    pub const fn new(time: Time, weight: u16) -> Share {
        Share(time.0 << WEIGHT_BITS | weight as u64 & WEIGHT_MASK)
    }

    /// The virtual time used.
    pub const fn time(self) -> Time {
        Time(self.0 >> WEIGHT_BITS)
    }

    /// The weight.
    pub const fn weight(self) -> u16 {
        (self.0 & WEIGHT_MASK) as u16
    }

    /// The same at another time.
    pub const fn at(self, time: Time) -> Share {
        Share(time.0 << WEIGHT_BITS | self.0 & WEIGHT_MASK)
    }

    /// The same with another weight.
    pub const fn with_weight(self, weight: u16) -> Share {
        Share(self.0 & !WEIGHT_MASK | weight as u64 & WEIGHT_MASK)
    }

    /// The same after so many nanoseconds of the processor. A turn is never for nothing: it counts one unit at least.
    pub fn charged(self, nanoseconds: u64) -> Share {
        let scaled = nanoseconds.min(MOST).wrapping_mul(u64::from(DEFAULT));
        let per_unit = u64::from(self.weight()).wrapping_mul(UNIT);
        let units = scaled.checked_div(per_unit).unwrap_or(0);
        self.at(self.time().plus(units.wrapping_add(1)))
    }

    /// How many nanoseconds of the processor move it by so many units.
    pub fn nanoseconds(self, units: u64) -> u64 {
        let scaled = units.saturating_mul(UNIT).saturating_mul(u64::from(self.weight()));
        scaled.checked_div(u64::from(DEFAULT)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_do_not_touch_each_other() {
        let share = Share::new(Time::new(u64::MAX), 1000).with_weight(7);
        assert_eq!((share.time(), share.weight()), (Time::new(u64::MAX), 7));
        assert_eq!((share.at(Time::new(0)).weight(), share.at(Time::new(0)).time()), (7, Time::new(0)));
    }

    #[test]
    fn a_weight_of_ten_times_makes_time_ten_times_slower() {
        let start = Time::new(0);
        let used = |weight| Share::new(start, weight).charged(16_000_000).time().after(start);
        assert_eq!((used(100), used(1000), used(10)), (1_000_001, 100_001, 10_000_001));
        assert_eq!(Share::new(start, 10).nanoseconds(10_000_000), 16_000_000);
    }

    #[test]
    fn time_wraps_and_is_compared_all_the_same() {
        let late = Time::new(0).minus(5);
        let later = late.plus(10);
        assert_eq!((later.after(late), late.after(later), later.units()), (10, -10, 5));
        assert_eq!((later.max(late), later.min(late)), (later, late));
    }
}
