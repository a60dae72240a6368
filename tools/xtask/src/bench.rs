//! `cargo xtask bench`: the guest measures, the host judges.
//!
//! The guest runs under an instruction counter, so a run repeats exactly and nothing else that this machine does can
//! change a figure.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::cargo;
use crate::choice::Programs;
use crate::ended::Ended;
use crate::guest::Listener;
use crate::initfs::{Added, Content};
use crate::large;
use crate::profile;
use crate::progress::Step;
use crate::qemu::Clock;
use crate::rows::{Row, Rows};
use crate::run::{Boot, MachineOptions};
use crate::serial::{Event, Lines};
use crate::setup::{self, Need};
use crate::symbols::frame;
use crate::table;
use crate::toolchain::Toolchain;
use crate::tree::{Scratch, Tree};

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Measure only this case; may be given several times
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Write the rows to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show the change against the rows in this file, written by --json
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Fail when a budget that binds is missed
    #[arg(long)]
    gate: bool,
    /// Instead of measuring, show where the instructions of one case go, function by function
    #[arg(long, value_name = "CASE", conflicts_with_all = ["case", "json", "compare", "gate"])]
    profile: Option<String>,
    /// Size of the guest's memory
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    memory: String,
    /// End the run after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    timeout: u64,
    /// End the run when the guest says nothing for this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 400)]
    silence: u64,
    #[command(flatten)]
    programs: Programs,
}

/// Measures, prints the table, and fails only at the gate.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let machine = MachineOptions {
        smp: 1,
        memory: options.memory.clone(),
        timeout: options.timeout,
        silence: options.silence,
    };
    if let Some(case) = &options.profile {
        return profile::run(&profile::Options::of(case, machine));
    }
    let before = options.compare.as_deref().map(Rows::read).transpose()?;
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let guest = options.programs.build(&tree, &tools)?;
    let rows = measure(&tree, &tools, &guest, &machine, &options.case)?;
    print!("{}", table::render(&rows, before.as_ref()));
    table::misses(&rows).iter().for_each(|line| println!("{line}"));
    if let Some(path) = &options.json {
        rows.write(path)?;
    }
    let failed = if options.gate { gate(&rows, &options.case) } else { Vec::new() };
    ensure!(failed.is_empty(), "--gate: over budget or not measured: {}", failed.join(", "));
    Ok(0)
}

/// With `--case` the gate is for those cases alone.
fn gate(rows: &Rows, cases: &[String]) -> Vec<&'static str> {
    let chosen = |name: &&str| cases.is_empty() || rows.get(name).is_some();
    table::gate(rows).into_iter().filter(chosen).collect()
}

/// The case for which an image is made that has a large program.
const LARGE: &str = "exec.large";
/// Rows that it measures beside its own.
const OF_LARGE: [&str; 5] = [LARGE, "exec.large.resident", "exec.small", "exec.small.resident", "fault.file"];

/// Boots the guest and gathers the rows that it prints; once more for what needs a large program, which would take the others'
/// memory.
pub(crate) fn measure(
    tree: &Tree,
    tools: &Toolchain,
    guest: &cargo::Guest,
    machine: &MachineOptions,
    cases: &[String],
) -> Result<Rows> {
    let (large, others): (Vec<String>, _) =
        cases.iter().cloned().partition(|case| OF_LARGE.contains(&case.as_str()));
    let mut rows = Rows::default();
    if large.is_empty() || !others.is_empty() {
        rows = measure_once(tree, tools, guest, machine, (&others, Vec::new()))?;
    }
    if cases.is_empty() || !large.is_empty() {
        let program = guest.programs.iter().find(|program| program.name == "prompt");
        let program = program.context("there is no program `prompt` to make a large one of")?;
        let file = Scratch::new(tree, ".large")?;
        std::fs::write(file.path(), large::of(&program.path)?).context("cannot write the large program")?;
        let added = vec![Added::program(file.path(), "/bin/large")];
        let more = measure_once(tree, tools, guest, machine, (&[LARGE.to_owned()], added))?;
        rows.rows.extend(more.rows);
    }
    Ok(rows)
}

fn measure_once(
    tree: &Tree,
    tools: &Toolchain,
    guest: &cargo::Guest,
    machine: &MachineOptions,
    (cases, added): (&[String], Vec<Added>),
) -> Result<Rows> {
    let mut words = vec!["bench".to_owned()];
    for case in cases {
        ensure!(!case.contains(char::is_whitespace), "--case {case:?}: the name of a case has no spaces");
        words.extend(["--case".to_owned(), case.clone()]);
    }
    let content = Content { added, options: vec![("exec", words.join(" "))] };
    let mut gather = Gather::new(&guest.kernel);
    let boot = Boot { tree, tools, guest, machine, clock: Clock::Instructions };
    let ended = boot.run(&content, &mut gather)?;
    gather.end();
    let verdict = verdict(ended, &mut gather);
    if verdict.is_err() && !gather.rows.rows.is_empty() {
        eprint!("measured before the failure:\n{}", table::render(&gather.rows, None));
    }
    verdict.map(|()| gather.rows)
}

/// Whether the run may be believed.
fn verdict(ended: Ended, gather: &mut Gather<'_>) -> Result<()> {
    let status = ended.status()?;
    gather.broken.take().map_or(Ok(()), Err)?;
    ensure!(status == 0, "the guest's bench ended with status {status}: see its lines above");
    ensure!(!gather.rows.rows.is_empty(), "the guest measured nothing: is --case the name of a case?");
    Ok(())
}

/// Gathers rows, and shows everything else that the guest says.
struct Gather<'a> {
    step: Option<Step>,
    kernel: &'a std::path::Path,
    lines: Lines,
    rows: Rows,
    broken: Option<anyhow::Error>,
}

impl<'a> Gather<'a> {
    fn new(kernel: &'a std::path::Path) -> Self {
        Self { step: None, kernel, lines: Lines::default(), rows: Rows::default(), broken: None }
    }

    fn line(&mut self, line: &str) {
        match Row::of_line(line) {
            Ok(Some(row)) => {
                self.note(&format!("{} cases, last {}", self.rows.rows.len() + 1, row.name));
                self.rows.rows.push(row);
            }
            Ok(None) => self.print(line),
            Err(error) => self.broken = Some(error),
        }
    }

    fn end(&mut self) {
        for line in self.lines.finish() {
            self.line(&line);
        }
        if let Some(step) = self.step.take() {
            step.done();
        }
    }

    fn note(&self, text: &str) {
        self.step.iter().for_each(|step| step.note(text));
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
        self.step = Some(Step::start("booting and measuring"));
    }

    fn output(&mut self, bytes: &[u8]) {
        for line in self.lines.feed(bytes) {
            self.line(&line);
        }
    }

    fn kernel(&mut self, line: &str, event: &Event) {
        match event {
            Event::Frame(address) => self.print(&frame(line, *address, Some(self.kernel))),
            Event::Boot => self.note("booted"),
            Event::Exit(_) => {}
            Event::Panic(_) | Event::Log => self.print(line),
        }
    }
}
