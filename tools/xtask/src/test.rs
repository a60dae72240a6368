//! `cargo xtask test`: host tests, loom models, then the booted system.
//!
//! A part that cannot run counts as one failure and does not keep the others from running. The last line on stdout is
//! the sum: `N passed, N failed`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::cargo;
use crate::choice::Programs;
use crate::ended::Ended;
use crate::guest::Listener;
use crate::host::{self, HOST_PACKAGES};
use crate::initfs::Content;
use crate::progress::Step;
use crate::qemu::Clock;
use crate::run::{Boot, MachineOptions};
use crate::serial::{Event, Lines};
use crate::setup::{self, Need};
use crate::symbols::frame;
use crate::toolchain::Toolchain;
use crate::tree::Tree;
use crate::verdicts::{Counts, Line};

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit and integration tests on this machine.
    Host,
    /// Every interleaving of the rings, with loom.
    Loom,
    /// The tests inside the booted system.
    Guest,
    /// The same on machines with several processors.
    Processors,
    /// The guest's tests where time is counted instructions, with those that are true only there.
    Counted,
    /// One bench case measured twice gives the same counts.
    Repeat,
}

/// What `cargo xtask test` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Run only tests whose names contain one of these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Run only this part; may be given several times
    #[arg(long, value_enum)]
    part: Vec<Part>,
    #[command(flatten)]
    machine: MachineOptions,
    #[command(flatten)]
    programs: Programs,
}

/// Machines with several processors, and the tests that run there: all, or those with one of these words in their names.
const PROCESSORS: &[(u32, &[&str])] = &[
    (2, &[]),
    (4, &[]),
    (8, &["processor", "thread", "kill", "fork"]),
    (16, &["processor", "thread", "kill", "fork"]),
];

/// What begins a line that is shown whether the test passes or not.
const MEASURED: &str = "measured: ";

impl Options {
    fn wants(&self, part: Part) -> bool {
        match self.part.as_slice() {
            // The repetition is one test without a name of its own.
            [] => self.names.is_empty() || part != Part::Repeat,
            chosen => chosen.contains(&part),
        }
    }
}

/// Runs every part that is asked for.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let mut sum = Counts::default();
    if options.wants(Part::Host) {
        sum.add(part("host tests", || host_tests(&tree, &options.names)));
    }
    if options.wants(Part::Loom) {
        sum.add(part("loom models", || loom_models(&tree, &options.names)));
    }
    if [Part::Guest, Part::Processors, Part::Counted, Part::Repeat]
        .into_iter()
        .any(|part| options.wants(part))
    {
        sum.add(part("booted system", || booted(&tree, &tools, options)));
    }
    println!("{} passed, {} failed", sum.passed, sum.failed);
    if sum == Counts::default() {
        eprintln!("xtask: no test has such a name");
    }
    Ok(u8::from(sum.failed > 0 || sum.passed == 0))
}

/// Runs one part; a part that cannot run is one failure.
fn part(name: &str, run: impl FnOnce() -> Result<Counts>) -> Counts {
    match run() {
        Ok(counts) => {
            eprintln!("{name}: {} passed, {} failed", counts.passed, counts.failed);
            counts
        }
        Err(error) => {
            eprintln!("{name}: {error:#}");
            Counts::one(false)
        }
    }
}

fn host_tests(tree: &Tree, names: &[String]) -> Result<Counts> {
    let mut sum = host::tests(host_command(tree, &[], HOST_PACKAGES), "running the host tests", names)?;
    let libraries = host::program_libraries(tree);
    if !libraries.is_empty() {
        let command = host_command(tree, &["--lib"], &libraries);
        sum.add(host::tests(command, "running the host tests of programs", names)?);
    }
    Ok(sum)
}

fn host_command(tree: &Tree, arguments: &[&str], packages: &[&str]) -> Command {
    let mut command = host::cargo(tree);
    command.args(["test", "--no-fail-fast"]).args(arguments);
    for package in packages {
        command.args(["-p", package]);
    }
    // Random walks of a million steps want speed, and every check that a debug build has.
    command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "2");
    if std::env::var_os("STEPS").is_none() {
        command.env("STEPS", "1200000");
    }
    command
}

fn loom_models(tree: &Tree, names: &[String]) -> Result<Counts> {
    let mut sum = Counts::default();
    for (package, model) in host::loom_models(tree)? {
        let mut command = host::cargo(tree);
        command.args(["test", "--release", "-p", &package, "--test", &model, "--target-dir"]);
        command.arg(tree.built("loom")).env("RUSTFLAGS", "--cfg loom");
        sum.add(host::tests(command, &format!("checking the loom models of {package}"), names)?);
    }
    Ok(sum)
}

fn booted(tree: &Tree, tools: &Toolchain, options: &Options) -> Result<Counts> {
    let guest = options.programs.build(tree, tools)?;
    let mut sum = Counts::default();
    if options.wants(Part::Guest) {
        let boot = Boot { tree, tools, guest: &guest, machine: &options.machine, clock: Clock::Host };
        sum.add(part("tests in the guest", || in_guest(&boot, &options.names)));
    }
    if options.wants(Part::Processors) {
        for (smp, names) in PROCESSORS {
            let machine = MachineOptions { smp: *smp, ..options.machine.clone() };
            let some: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let names = if options.names.is_empty() { &some } else { &options.names };
            let name = format!("tests in the guest with {smp} processors");
            let boot = Boot { tree, tools, guest: &guest, machine: &machine, clock: Clock::Host };
            sum.add(part(&name, || in_guest(&boot, names)));
        }
    }
    if options.wants(Part::Counted) {
        let machine = MachineOptions { smp: 1, ..options.machine.clone() };
        let boot = Boot { tree, tools, guest: &guest, machine: &machine, clock: Clock::Instructions };
        sum.add(part("tests in the guest that count instructions", || in_guest(&boot, &options.names)));
    }
    if options.wants(Part::Repeat) {
        sum.add(part("one case measured twice", || measured_twice(tree, tools, &guest, options)));
    }
    Ok(sum)
}

/// Boots once and runs the tests that are for such a machine.
fn in_guest(boot: &Boot<'_>, names: &[String]) -> Result<Counts> {
    for name in names {
        ensure!(
            !name.contains(char::is_whitespace),
            "{name:?}: the name of a test in the guest has no spaces"
        );
    }
    let counted = (boot.clock == Clock::Instructions).then_some("--counted");
    let words = std::iter::once("qtest").chain(counted).chain(names.iter().map(String::as_str));
    let exec = words.collect::<Vec<_>>().join(" ");
    let content = Content { added: Vec::new(), options: vec![("exec", exec)] };
    let mut gather = Gather::new(&boot.guest.kernel);
    let ended = boot.run(&content, &mut gather)?;
    gather.end();
    conclude(ended, &gather)
}

/// What the tests said, and whether they said it to the end.
fn conclude(ended: Ended, gather: &Gather<'_>) -> Result<Counts> {
    let seen = gather.seen;
    let failure = match (ended.status(), gather.done) {
        (Err(error), _) => Some(format!("{error:#}")),
        (Ok(status), None) => Some(format!("qtest ended with status {status} before its last line")),
        (Ok(_), Some(done)) if done != seen => {
            Some(format!("qtest counted {done:?}, its lines are {seen:?}"))
        }
        (Ok(status), Some(_)) if (status != 0) != (seen.failed > 0) => {
            Some(format!("qtest ended with status {status} after {} failures", seen.failed))
        }
        _ => None,
    };
    let mut counts = seen;
    if let Some(reason) = failure {
        eprintln!("booted system: {reason}");
        counts.add(Counts::one(false));
    }
    Ok(counts)
}

/// Figures are worth something only if they repeat.
fn measured_twice(tree: &Tree, tools: &Toolchain, guest: &cargo::Guest, options: &Options) -> Result<Counts> {
    let machine = MachineOptions { smp: 1, ..options.machine.clone() };
    let case = ["nop.1".to_owned()];
    let first = crate::bench::measure(tree, tools, guest, &machine, &case).context("first run")?;
    let second = crate::bench::measure(tree, tools, guest, &machine, &case).context("second run")?;
    ensure!(first.rows == second.rows, "two runs differ: {:?} and {:?}", first.rows, second.rows);
    Ok(Counts::one(true))
}

/// Counts the guest's test lines and shows failures as they come, with what was said before them.
struct Gather<'a> {
    step: Option<Step>,
    kernel: &'a Path,
    lines: Lines,
    /// What was said since the last test line: of interest only if the test fails.
    since: Vec<String>,
    seen: Counts,
    done: Option<Counts>,
}

impl<'a> Gather<'a> {
    fn new(kernel: &'a Path) -> Self {
        Self {
            step: None,
            kernel,
            lines: Lines::default(),
            since: Vec::new(),
            seen: Counts::default(),
            done: None,
        }
    }

    fn line(&mut self, line: &str) {
        match Line::of(line) {
            Some(Line::Passed(name)) => {
                self.since.clear();
                self.step.iter().for_each(|step| step.note(&name));
                self.seen.add(Counts::one(true));
            }
            Some(Line::Failed(name, reason)) => {
                self.show();
                self.print(&format!("FAILED {name}: {reason}"));
                self.seen.add(Counts::one(false));
            }
            Some(Line::Done(counts)) => {
                self.since.clear();
                self.done = Some(counts);
            }
            None if line.starts_with(MEASURED) => self.print(line),
            None => self.since.push(line.to_owned()),
        }
    }

    fn end(&mut self) {
        for line in self.lines.finish() {
            self.line(&line);
        }
        self.show();
        if let Some(step) = self.step.take() {
            step.done();
        }
    }

    /// Prints what was said since the last test that passed.
    fn show(&mut self) {
        for line in std::mem::take(&mut self.since) {
            self.print(&line);
        }
    }

    fn print(&self, line: &str) {
        match &self.step {
            Some(step) => step.print(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Listener for Gather<'_> {
    fn started(&mut self) {
        self.step = Some(Step::start("testing in the guest"));
    }

    fn output(&mut self, bytes: &[u8]) {
        for line in self.lines.feed(bytes) {
            self.line(&line);
        }
    }

    fn kernel(&mut self, line: &str, event: &Event) {
        match event {
            Event::Frame(address) => self.since.push(frame(line, *address, Some(self.kernel))),
            Event::Boot | Event::Exit(_) => {}
            Event::Panic(_) | Event::Log => self.since.push(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ended::End;

    fn after(lines: &str, end: End) -> Counts {
        let mut gather = Gather::new(Path::new("/none"));
        gather.output(lines.as_bytes());
        gather.end();
        conclude(Ended { end, tail: Vec::new() }, &gather).unwrap()
    }

    #[test]
    fn a_run_that_says_all_is_counted_as_it_says() {
        let lines = "qtest: a ok\nqtest: b FAILED x\nqtest: done passed=1 failed=1\n";
        assert_eq!(after(lines, End::Exit(1)), Counts { passed: 1, failed: 1 });
    }

    #[test]
    fn a_run_that_is_cut_off_or_contradicts_itself_is_one_more_failure() {
        let lines = "qtest: a ok\n";
        assert_eq!(after(lines, End::Exit(0)).failed, 1);
        assert_eq!(after(lines, End::Panic("x".into())).failed, 1);
        assert_eq!(after(&format!("{lines}qtest: done passed=2 failed=0\n"), End::Exit(0)).failed, 1);
        assert_eq!(after(&format!("{lines}qtest: done passed=1 failed=0\n"), End::Exit(9)).failed, 1);
        assert_eq!(after(&format!("{lines}qtest: done passed=1 failed=0\n"), End::Exit(0)).failed, 0);
    }
}
