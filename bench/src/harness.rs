//! Warm-up, samples, and the lines that come of them.
#![forbid(unsafe_code)]

use alloc::vec;
use alloc::vec::Vec;
use bare::clock::{empty_pair, thousand_nops, ticks};
use bench::options::Options;
use bench::report::{Row, Unit};
use bench::stats::{Figure, Scale, Spread};
use core::fmt;
use ring_abi::Errno;
use ring_abi::layout::Sizes;
use uring::println;

/// This program's ring: it holds the largest batch.
const RING: Sizes = Sizes { sq: 8, cq: 8, service: None };
/// Rounds before the first sample, so that every table, cache and slab that an operation needs has grown.
const WARM_UP: usize = 20;
/// Samples of a cheap case.
const SAMPLES: usize = 1000;
/// Samples of a case whose rounds take tens of thousands of instructions.
const FEW_SAMPLES: usize = 200;

/// Why a case has no figures.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// An operation failed.
    Error(Errno),
    /// Something is not what it must be for the figures to mean what they say.
    Wrong(&'static str),
    /// Two counts of the same thing.
    Differ(&'static str, u64, u64),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Failure {
        Failure::Error(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(error) => error.fmt(f),
            Failure::Wrong(what) => f.write_str(what),
            Failure::Differ(what, one, other) => write!(f, "{what}: {one} and {other}"),
        }
    }
}

/// Whether a case could be measured.
pub(crate) type Outcome = Result<(), Failure>;

/// What the cases measure with.
pub(crate) struct Bench {
    scale: Scale,
    quick: bool,
    /// Whether to say what figures are made of.
    pub(crate) verbose: bool,
    /// The counter when this program's `main` began.
    pub(crate) started: u64,
}

impl Bench {
    /// Finds out what a tick is worth.
    pub(crate) fn new(options: &Options, started: u64) -> Result<Bench, Failure> {
        let gather = |read: fn() -> u64| (0..9).map(|_| read()).collect::<Vec<u64>>();
        let unsteady = Failure::Wrong(
            "the time-stamp counter does not count instructions here: run under `cargo xtask bench`, or with --icount",
        );
        let scale = Scale::new(&gather(thousand_nops), &gather(empty_pair)).map_err(|_| unsteady)?;
        uring::ring::resize(RING)?;
        Ok(Bench { scale, quick: options.quick, verbose: options.verbose, started })
    }

    /// What ticks are worth.
    pub(crate) fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Samples of a cheap case.
    pub(crate) fn samples(&self) -> usize {
        if self.quick { FEW_SAMPLES } else { SAMPLES }
    }

    /// Samples of a dear case.
    pub(crate) fn few_samples(&self) -> usize {
        FEW_SAMPLES
    }

    /// Measures a cheap operation: `round` does `per` of them. Prints the row.
    #[inline(always)]
    pub(crate) fn time(&self, name: &str, per: u64, round: impl Round) -> Outcome {
        self.time_some(name, per, self.samples(), round)
    }

    /// Measures an operation with a number of samples.
    #[inline(always)]
    pub(crate) fn time_some(&self, name: &str, per: u64, samples: usize, mut round: impl Round) -> Outcome {
        let mut readings = vec![0; WARM_UP.saturating_add(samples)];
        for reading in &mut readings {
            let start = ticks();
            let result = round.go();
            *reading = ticks().wrapping_sub(start);
            result?;
        }
        let counted = readings.get(WARM_UP..).unwrap_or_default();
        self.row(name, Unit::Instructions, self.spread(counted, per)?);
        Ok(())
    }

    /// The spread of readings, each of `per` operations.
    pub(crate) fn spread(&self, readings: &[u64], per: u64) -> Result<Spread, Failure> {
        let samples = readings.iter().map(|reading| self.scale.instructions(*reading, per)).collect();
        Spread::of(samples).ok_or(Failure::Wrong("no samples"))
    }

    /// Prints a row.
    pub(crate) fn row(&self, name: &str, unit: Unit, spread: Spread) {
        println!("{}", Row { name, unit, spread });
    }

    /// Prints a row of one exact figure.
    pub(crate) fn exact(&self, name: &str, unit: Unit, figure: Figure) {
        self.row(name, unit, Spread::exact(figure));
    }
}

/// What is measured.
pub(crate) trait Round {
    /// Does it once.
    fn go(&mut self) -> Result<(), Errno>;
}

/// A closure may become a function, whose call is measured too.
impl<F: FnMut() -> Result<(), Errno>> Round for F {
    #[inline(always)]
    fn go(&mut self) -> Result<(), Errno> {
        self()
    }
}

/// An error where a figure would not mean what its row says.
pub(crate) fn ensure(holds: bool, what: &'static str) -> Outcome {
    if holds { Ok(()) } else { Err(Failure::Wrong(what)) }
}
