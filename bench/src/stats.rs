//! From samples to a spread: the least, the middle one, and the one that one in a hundred exceeds.

use alloc::vec::Vec;
use core::fmt;

/// A figure in hundredths, so that it can be printed without a rounding surprise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure(u64);

impl Figure {
    /// A whole number.
    pub const fn whole(number: u64) -> Figure {
        Figure(number.saturating_mul(100))
    }

    /// A quotient, to the nearest hundredth; zero if there is nothing to divide by.
    pub fn quotient(number: u64, divisor: u64) -> Figure {
        let hundredths = u128::from(number).saturating_mul(100).saturating_add(u128::from(divisor / 2));
        let quotient = hundredths.checked_div(u128::from(divisor)).unwrap_or(0);
        Figure(u64::try_from(quotient).unwrap_or(u64::MAX))
    }

    /// What is left when another figure is taken away; never below zero.
    pub const fn less(self, other: Figure) -> Figure {
        Figure(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole}"),
            rest if rest % 10 == 0 => write!(f, "{whole}.{}", rest / 10),
            rest => write!(f, "{whole}.{rest:02}"),
        }
    }
}

/// How samples spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The least.
    pub min: Figure,
    /// The middle one.
    pub median: Figure,
    /// The one that one in a hundred exceeds.
    pub p99: Figure,
}

impl Spread {
    /// Of one figure, which is exact.
    pub const fn exact(figure: Figure) -> Spread {
        Spread { min: figure, median: figure, p99: figure }
    }

    /// Of samples in any order; `None` if there is none. An even number has two in the middle: the lower counts,
    /// so a spread is made of figures that occurred.
    pub fn of(mut samples: Vec<Figure>) -> Option<Spread> {
        samples.sort_unstable();
        let last = samples.len().checked_sub(1)?;
        let at = |index: usize| samples.get(index).copied();
        let above_99 = last.saturating_mul(99).div_ceil(100);
        Some(Spread { min: at(0)?, median: at(last / 2)?, p99: at(above_99)? })
    }

    /// Every figure less by the same.
    pub const fn less(self, other: Figure) -> Spread {
        Spread { min: self.min.less(other), median: self.median.less(other), p99: self.p99.less(other) }
    }
}

/// What a tick is worth, and what a pair of readings costs by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    ticks_per_thousand: u64,
    pair: u64,
}

/// The counter does not count instructions: two readings of the same code differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsteady;

impl Scale {
    /// From readings of a thousand instructions and of none, each several times: all must agree but for the
    /// few that an interrupt fell into.
    pub fn new(thousand: &[u64], none: &[u64]) -> Result<Scale, Unsteady> {
        let pair = steady(none)?;
        let ticks_per_thousand =
            steady(thousand)?.checked_sub(pair).filter(|ticks| *ticks != 0).ok_or(Unsteady)?;
        Ok(Scale { ticks_per_thousand, pair })
    }

    /// Instructions between the readings of a pair, for each of `per` operations.
    pub fn instructions(&self, ticks: u64, per: u64) -> Figure {
        let own = ticks.saturating_sub(self.pair);
        Figure::quotient(own.saturating_mul(1000), self.ticks_per_thousand.saturating_mul(per))
    }

    /// Instructions that so many ticks are, with nothing taken off.
    pub fn whole_instructions(&self, ticks: u64) -> Figure {
        Figure::quotient(ticks.saturating_mul(1000), self.ticks_per_thousand)
    }

    /// Ticks of one instruction.
    pub fn ticks_per_instruction(&self) -> Figure {
        Figure::quotient(self.ticks_per_thousand, 1000)
    }
}

/// The least of the readings, if at least half of them are the same.
fn steady(readings: &[u64]) -> Result<u64, Unsteady> {
    let least = readings.iter().copied().min().ok_or(Unsteady)?;
    let same = readings.iter().filter(|reading| **reading == least).count();
    if same.saturating_mul(2) >= readings.len() { Ok(least) } else { Err(Unsteady) }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Scale, Spread, Unsteady};
    use alloc::vec::Vec;

    fn figures(numbers: impl IntoIterator<Item = u64>) -> Vec<Figure> {
        numbers.into_iter().map(Figure::whole).collect()
    }

    #[test]
    fn a_figure_is_printed_without_needless_digits() {
        for (number, divisor, text) in
            [(7, 1, "7"), (7, 2, "3.5"), (1, 3, "0.33"), (2, 3, "0.67"), (1, 100, "0.01")]
        {
            assert_eq!(Figure::quotient(number, divisor).to_string(), text);
        }
        assert_eq!(Figure::quotient(1, 0), Figure::whole(0));
        assert_eq!(Figure::quotient(u64::MAX, 1).to_string(), "184467440737095516.15", "it saturates");
    }

    #[test]
    fn a_spread_is_made_of_samples_that_occurred() {
        let spread = Spread::of(figures((1..=200).rev())).unwrap();
        assert_eq!(
            spread,
            Spread { min: Figure::whole(1), median: Figure::whole(100), p99: Figure::whole(199) }
        );
        assert_eq!(Spread::of(figures([5])), Some(Spread::exact(Figure::whole(5))));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn one_outlier_of_two_hundred_is_above_p99() {
        let spread = Spread::of(figures((0..199).map(|_| 10).chain([1_000_000]))).unwrap();
        assert_eq!(spread, Spread::exact(Figure::whole(10)));
    }

    #[test]
    fn ticks_become_instructions_and_the_pair_costs_nothing() {
        let scale = Scale::new(&[16_048; 8], &[48; 8]).unwrap();
        assert_eq!(scale.ticks_per_instruction(), Figure::whole(16));
        assert_eq!(scale.instructions(48, 1), Figure::whole(0));
        assert_eq!(scale.whole_instructions(48), Figure::whole(3));
        assert_eq!(scale.instructions(48 + 16 * 100, 8).to_string(), "12.5");
    }

    #[test]
    fn a_clock_that_counts_time_is_found_out() {
        assert_eq!(Scale::new(&[1000, 1001, 1003], &[10, 10, 10]), Err(Unsteady));
        assert_eq!(Scale::new(&[10; 4], &[10; 4]), Err(Unsteady));
        assert!(Scale::new(&[1010, 1010, 9000], &[10, 10, 10]).is_ok(), "an interrupt is allowed");
    }
}
