//! `cargo xtask scale`: how much more two processors get done than one.
//!
//! The same tasks run on a machine with one processor and on one with two, under multi-threaded emulation, again and again in
//! turn. Time is the host's, so whatever else the host does counts too: its load stands beside each figure, and the middle of
//! the ratios is reported. It is a report; nothing fails because of a figure.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::choice::Programs;
use crate::guest::Listener;
use crate::initfs::Content;
use crate::qemu::Clock;
use crate::run::{Boot, MachineOptions};
use crate::serial::{Event, Lines};
use crate::setup::{self, Need};
use crate::symbols::frame;

/// The kinds of work, and how much more two processors should get done.
const WORKS: [(&str, f64); 2] = [("compute", 1.9), ("rings", 1.6)];
/// The machines that are compared, by their processors.
const MACHINES: [u32; 2] = [1, 2];
/// What begins a figure on the guest's output.
const MARK: &str = "scale: ";

/// What `cargo xtask scale` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Compare so often
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=99))]
    runs: u32,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    programs: Programs,
}

/// One boot: what was done in a second of the counter's ticks, in the order of [`WORKS`].
#[derive(Debug, Serialize)]
struct Figures {
    processors: u32,
    /// What was done in 2^30 ticks of the time stamp counter.
    rates: [f64; WORKS.len()],
    /// How the lock around the kernel's state was used meanwhile.
    locks: [Lock; WORKS.len()],
    /// What one program did through a ring that is polled.
    polled: Polled,
    /// The host's load averages over 1, 5 and 15 minutes before it.
    load: String,
}

/// The use of the lock around the kernel's state while one kind of work was done. All zeroes on one processor, which takes
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Lock {
    /// How often it was taken, how often somebody waited for it, and how often one of these slept.
    taken: f64,
    waits: f64,
    sleeps: f64,
    /// Shares of the time: that processors waited for it, all together, and that one had it.
    waited: f64,
    held: f64,
}

impl Lock {
    /// As the report says it.
    fn text(&self) -> String {
        let Lock { taken, waits, sleeps, waited, held } = self;
        format!(
            "held {:.0} % of the time, by {taken:.0}; awaited {:.0} %, by {waits:.0}, of whom {sleeps:.0} slept",
            held * 100.0,
            waited * 100.0
        )
    }
}

/// Operations through a polled ring: how many, the ticks of the time stamp counter that they took, and how often the kernel
/// was entered for one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Polled {
    count: f64,
    ticks: f64,
    traps: f64,
}

/// How much more two processors get done.
#[derive(Debug, Serialize)]
struct Scaling {
    work: &'static str,
    aim: f64,
    least: f64,
    median: f64,
    greatest: f64,
}

#[derive(Debug, Serialize)]
struct Report {
    scaling: Vec<Scaling>,
    runs: Vec<Figures>,
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let guest = options.programs.build(&tree, &tools)?;
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        for smp in MACHINES {
            let machine = MachineOptions { smp, memory: "1G".to_owned(), timeout: 120, silence: 60 };
            let load = load();
            let boot =
                Boot { tree: &tree, tools: &tools, guest: &guest, machine: &machine, clock: Clock::Host };
            let (rates, locks, polled) = rates(&boot, &guest.kernel)?;
            let said: Vec<_> =
                WORKS.iter().zip(rates).map(|((work, _), rate)| format!("{work} {rate:.0}")).collect();
            println!("run {number}, {smp} processors: {}; load {load}", said.join(", "));
            for ((work, _), lock) in WORKS.iter().zip(&locks).filter(|(_, lock)| lock.taken > 0.0) {
                println!("  lock during {work}: {}", lock.text());
            }
            let Polled { count, ticks, traps } = polled;
            println!("  polled: {:.4} traps and {:.0} ticks an operation", traps / count, ticks / count);
            runs.push(Figures { processors: smp, rates, locks, polled, load });
        }
    }
    let report = Report { scaling: scaling(&runs), runs };
    for Scaling { work, aim, least, median, greatest } in &report.scaling {
        println!("{work}: {median:.2} times on 2 processors (aim {aim}; {least:.2} to {greatest:.2})");
    }
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(&report)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(0)
}

/// Boots once, with as many tasks as the larger machine has processors.
fn rates(boot: &Boot<'_>, kernel: &Path) -> Result<([f64; WORKS.len()], [Lock; WORKS.len()], Polled)> {
    let tasks = MACHINES.into_iter().max().unwrap_or(1);
    let content = Content { added: Vec::new(), options: vec![("exec", format!("qtest --scale {tasks}"))] };
    let mut gather = Gather { kernel, lines: Lines::default(), rates: [None; WORKS.len()], polled: None };
    let status = boot.run(&content, &mut gather)?.status()?;
    gather.lines.finish().iter().for_each(|line| gather.line(line));
    ensure!(status == 0, "the guest ended with status {status}: see its lines above");
    let ([Some(first), Some(second)], Some(polled)) = (gather.rates, gather.polled) else {
        anyhow::bail!("the guest measured not everything")
    };
    Ok(([first.rate, second.rate], [first.lock, second.lock], polled))
}

/// The ratios of neighbouring runs, by kind of work.
fn scaling(runs: &[Figures]) -> Vec<Scaling> {
    let of = |index: usize| {
        let ratio = |pair: &[Figures]| pair.last().map_or(0.0, |two| two.rates[index]) / pair[0].rates[index];
        let mut ratios: Vec<f64> = runs.chunks_exact(MACHINES.len()).map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    };
    let one = |(index, (work, aim)): (usize, (&'static str, f64))| {
        let ratios = of(index);
        let at = |place: usize| ratios.get(place).copied().unwrap_or(0.0);
        let last = ratios.len().saturating_sub(1);
        Scaling { work, aim, least: at(0), median: at(last / 2), greatest: at(last) }
    };
    WORKS.into_iter().enumerate().map(one).collect()
}

/// The host's load averages.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    if words.is_empty() { "unknown".to_owned() } else { words.join(" ") }
}

/// What was done of one kind of work.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Done {
    rate: f64,
    lock: Lock,
}

/// A figure of the guest: which work, and what was done of it.
fn figure(line: &str) -> Option<(usize, Done)> {
    let mut words = line.trim_end().strip_prefix(MARK)?.split(' ');
    let name = words.next()?;
    let index = WORKS.iter().position(|(work, _)| *work == name)?;
    let mut number = |name: &str| -> Option<f64> { words.next()?.strip_prefix(name)?.parse().ok() };
    let (count, ticks) = (number("count=")?, number("ticks=")?);
    let (taken, waits, sleeps) = (number("taken=")?, number("waits=")?, number("sleeps=")?);
    let (waited, held) = (number("waited=")? / ticks, number("held=")? / ticks);
    let lock = Lock { taken, waits, sleeps, waited, held };
    (ticks > 0.0).then(|| (index, Done { rate: count / ticks * f64::from(1 << 30), lock }))
}

/// What the guest says of the ring that is polled.
fn polled(line: &str) -> Option<Polled> {
    let mut words = line.trim_end().strip_prefix(MARK)?.strip_prefix("polled ")?.split(' ');
    let mut number = |name: &str| words.next()?.strip_prefix(name)?.parse().ok();
    Some(Polled { count: number("count=")?, ticks: number("ticks=")?, traps: number("traps=")? })
}

/// Takes the figures, and shows everything else that the guest says.
struct Gather<'a> {
    kernel: &'a Path,
    lines: Lines,
    rates: [Option<Done>; WORKS.len()],
    polled: Option<Polled>,
}

impl Gather<'_> {
    fn line(&mut self, line: &str) {
        if let Some((index, done)) = figure(line) {
            self.rates[index] = Some(done);
        } else if let Some(found) = polled(line) {
            self.polled = Some(found);
        } else {
            eprintln!("{line}");
        }
    }
}

impl Listener for Gather<'_> {
    fn output(&mut self, bytes: &[u8]) {
        for line in self.lines.feed(bytes) {
            self.line(&line);
        }
    }

    fn kernel(&mut self, line: &str, event: &Event) {
        match event {
            Event::Frame(address) => eprintln!("{}", frame(line, *address, Some(self.kernel))),
            Event::Boot | Event::Exit(_) => {}
            Event::Panic(_) | Event::Log => eprintln!("{line}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(processors: u32, rates: [f64; 2]) -> Figures {
        let polled = Polled { count: 1.0, ticks: 1.0, traps: 0.0 };
        Figures { processors, rates, locks: <[Lock; 2]>::default(), polled, load: String::new() }
    }

    #[test]
    fn a_polled_ring_has_its_traps_counted() {
        let found = Some(Polled { count: 4.0, ticks: 9.0, traps: 1.0 });
        assert_eq!(polled("scale: polled count=4 ticks=9 traps=1"), found);
        assert_eq!(polled("scale: polled count=4 ticks=9"), None);
        assert_eq!(polled("scale: rings count=4 ticks=9 traps=1"), None);
    }

    #[test]
    fn a_figure_is_what_was_done_over_the_ticks_that_it_took() {
        let rest = "taken=9 waits=2 sleeps=1 waited=536870912 held=268435456";
        let lock = Lock { taken: 9.0, waits: 2.0, sleeps: 1.0, waited: 0.5, held: 0.25 };
        let said = figure(&format!("scale: rings count=6 ticks=1073741824 {rest}"));
        assert_eq!(said, Some((1, Done { rate: 6.0, lock })));
        assert_eq!(figure(&format!("scale: rings count=6 ticks=0 {rest}")), None);
        assert_eq!(figure(&format!("scale: other count=6 ticks=9 {rest}")), None);
        assert_eq!(figure(&format!("rings count=6 ticks=9 {rest}")), None);
        assert_eq!(figure("scale: rings count=6 ticks=9"), None);
        assert_eq!(lock.text(), "held 25 % of the time, by 9; awaited 50 %, by 2, of whom 1 slept");
    }

    #[test]
    fn the_middle_of_the_ratios_is_reported_and_not_the_ratio_of_the_middles() {
        let runs = [
            run(1, [10.0, 1.0]),
            run(2, [20.0, 1.0]),
            run(1, [1.0, 1.0]),
            run(2, [1.5, 3.0]),
            run(1, [5.0, 1.0]),
            run(2, [9.0, 2.0]),
        ];
        let scaling = scaling(&runs);
        let medians: Vec<_> = scaling.iter().map(|one| (one.least, one.median, one.greatest)).collect();
        assert_eq!(medians, [(1.5, 1.8, 2.0), (1.0, 2.0, 3.0)]);
    }
}
