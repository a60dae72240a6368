//! Which slots of the ring's registered files and buffers are in use, by number.
//!
//! A number is given out once until it is given back, also if the thread goes on with another ring meanwhile: what has a
//! slot of an old ring must not name memory of somebody else in the new one.
#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::cell::Cell;

/// Numbers below a bound, the lowest free one first.
pub(crate) struct Taken {
    words: Cell<Vec<u64>>,
    bound: u32,
}

impl Taken {
    /// None is in use.
    pub(crate) const fn new(bound: u32) -> Taken {
        Taken { words: Cell::new(Vec::new()), bound }
    }

    /// Takes the lowest free number.
    pub(crate) fn take(&self) -> Option<u32> {
        let mut words = self.words.take();
        let at = words.iter().position(|word| *word != u64::MAX).unwrap_or(words.len());
        if at == words.len() {
            words.push(0);
        }
        let number = words.get_mut(at).and_then(|word| {
            let bit = word.trailing_ones();
            let number =
                (at as u32).checked_mul(64)?.checked_add(bit).filter(|number| *number < self.bound)?;
            *word |= 1 << bit;
            Some(number)
        });
        self.words.set(words);
        number
    }

    /// Gives a number back.
    pub(crate) fn give(&self, number: u32) {
        let mut words = self.words.take();
        if let Some(word) = words.get_mut((number / 64) as usize) {
            *word &= !(1 << (number % 64));
        }
        self.words.set(words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_come_again() {
        let taken = Taken::new(70);
        let all: Vec<_> = (0..71).map(|_| taken.take()).collect();
        let expected: Vec<_> = (0..70).map(Some).chain([None]).collect();
        assert_eq!(all, expected);
        taken.give(66);
        taken.give(3);
        assert_eq!([taken.take(), taken.take(), taken.take()], [Some(3), Some(66), None]);
    }
}
