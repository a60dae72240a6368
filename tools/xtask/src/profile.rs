//! `cargo xtask profile`: where the instructions of one bench case go.
//!
//! A plugin of QEMU (`tools/profile/window.c`, compiled by the host's C compiler) logs every instruction of one sample.
//! Here each address becomes a function and the file that it was written in, and what belongs together is added up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::guest;
use crate::initfs::Content;
use crate::qemu::Clock;
use crate::run::{self, MachineOptions, Relay};
use crate::setup::{self, Need};
use crate::toolchain;
use crate::tree::{Scratch, Tree};
use crate::window::{self, Executed, SIDES, cache_lines};
use crate::{cargo, image};

/// What `cargo xtask profile` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The bench case to look into
    #[arg(value_name = "CASE")]
    case: String,
    /// The program on the other side of the case, where there is one
    #[arg(long, value_name = "PROGRAM", default_value = "null")]
    other: String,
    /// Print every instruction's place in the order of execution instead of sums
    #[arg(long)]
    sequence: bool,
    /// Print the path phase by phase, with the cache lines that each touches
    #[arg(long)]
    phases: bool,
    /// Keep the log here: an address a line, in the order of execution
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineOptions,
}

impl Options {
    /// What `bench --profile` shows of a case.
    pub(crate) fn of(case: &str, machine: MachineOptions) -> Options {
        let (case, other) = (case.to_owned(), "null".to_owned());
        Options { case, other, sequence: false, phases: true, log: None, machine }
    }
}

/// Runs the case and prints where its instructions go.
pub(crate) fn run(options: &Options) -> Result<u8> {
    ensure!(!options.case.contains(char::is_whitespace), "the name of a case has no spaces");
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let plugin = build_plugin(&tree)?;
    let guest = cargo::guest(&tree, &tools, &cargo::program_packages(&tree)?)?;
    let file = Scratch::new(&tree, ".img")?;
    let log = Scratch::new(&tree, ".window")?;
    let exec = format!("bench --quick --case {}", options.case);
    let content = Content { added: Vec::new(), options: vec![("exec", exec), ("icount", "1".to_owned())] };
    image::assemble(&tree, &tools, &guest, &content, file.path())?;
    let mut machine = run::machine(file.path(), &options.machine, Clock::Instructions);
    machine.plugin = Some(format!("{},out={}", plugin.display(), log.path().display()));
    let status =
        guest::run(&machine, options.machine.limits(), &mut Relay::new(Some(&guest.kernel)))?.status()?;
    ensure!(status == 0, "the guest's bench ended with status {status}: see its lines above");
    let text = fs::read_to_string(log.path()).context("QEMU's plugin wrote no log")?;
    if let Some(file) = &options.log {
        fs::write(file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let program = |name: &str| guest.programs.iter().find(|program| program.name == name);
    let (Some(bench), Some(other)) = (program("bench"), program(&options.other)) else {
        bail!("--other {}: there is no such program", options.other);
    };
    let list = window::read(&text)?;
    let places = name_all(&list, [&guest.kernel, &bench.path, &other.path])?;
    print!("{}", if options.sequence { sequence(&places) } else { sums(&places) });
    if options.phases {
        print!("{}", phases(&list, &places));
    }
    Ok(0)
}

/// Compiles the plugin, which takes a moment.
fn build_plugin(tree: &Tree) -> Result<PathBuf> {
    let source = tree.source("tools/profile/window.c");
    let plugin = tree.built("window.so");
    let compiler = toolchain::required("cc")?;
    let status = Command::new(compiler)
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-o"])
        .args([&plugin, &source])
        .status()
        .context("cannot start the C compiler")?;
    ensure!(status.success(), "the plugin {} does not compile", source.display());
    Ok(plugin)
}

/// Where an instruction was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    side: &'static str,
    /// The function that it is part of in the binary.
    function: String,
    /// The file and line of the tree that it comes from, after inlining; empty if unknown.
    line: String,
}

/// Names all addresses with the host's binutils, one call for each binary.
fn name_all(list: &[Executed], binaries: [&Path; 3]) -> Result<Vec<Place>> {
    let mut names = BTreeMap::new();
    for (side, binary) in binaries.into_iter().enumerate() {
        let mut wanted: Vec<u64> = list.iter().filter(|one| one.side == side).map(|one| one.at).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            for (address, place) in name(binary, SIDES[side], &wanted)? {
                names.insert((side, address), place);
            }
        }
    }
    let unknown = |side: usize| Place { side: SIDES[side], function: "?".into(), line: String::new() };
    Ok(list
        .iter()
        .map(|one| names.get(&(one.side, one.at)).cloned().unwrap_or_else(|| unknown(one.side)))
        .collect())
}

fn name(binary: &Path, side: &'static str, addresses: &[u64]) -> Result<Vec<(u64, Place)>> {
    let tool = toolchain::required("addr2line")?;
    let mut child = Command::new(tool)
        .args(["-a", "-f", "-C", "-i", "-e"])
        .arg(binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start addr2line")?;
    let mut input = child.stdin.take().context("addr2line has no input")?;
    let lines: String = addresses.iter().map(|address| format!("{address:#x}\n")).collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().context("addr2line failed")?;
    writer.join().ok().context("the addresses could not be written")??;
    Ok(parse(&String::from_utf8_lossy(&output.stdout), side))
}

/// Reads addr2line's blocks: an address, then function and line of each frame, the innermost first.
fn parse(text: &str, side: &'static str) -> Vec<(u64, Place)> {
    let mut list: Vec<(u64, Place)> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let address = line.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let Some(address) = address else { continue };
        let mut place = Place { side, function: "?".into(), line: String::new() };
        while lines.peek().is_some_and(|next| !next.starts_with("0x")) {
            let (Some(function), Some(at)) = (lines.next(), lines.next()) else { break };
            place.function = function.to_owned(); // the last one is the outermost
            if place.line.is_empty()
                && let Some(line) = in_tree(at)
            {
                place.line = line;
            }
        }
        list.push((address, place));
    }
    list
}

/// A line of this tree, without the way to it; `None` for those of other crates.
fn in_tree(at: &str) -> Option<String> {
    let at = at.split(" (").next()?;
    let start = [
        "kernel/rmm/src/",
        "kernel/tickets/src/",
        "kernel/src/",
        "ring-abi/src/",
        "relibc-uring/",
        "bench/src/",
        "initfs/programs/",
    ]
    .iter()
    .find_map(|folder| at.find(folder))?;
    (!at.contains("/registry/") && !at.contains("/library/")).then(|| at[start..].to_owned())
}

/// What belongs together, the greatest first: by function, and by file of the tree.
fn sums(places: &[Place]) -> String {
    let mut text = String::new();
    let total = |side: &str| places.iter().filter(|place| place.side == side).count();
    let parts: Vec<String> = SIDES.iter().map(|side| format!("{} {side}", total(side))).collect();
    let _ = writeln!(text, "{} instructions: {}", places.len(), parts.join(", "));
    let function = |place: &Place| format!("{}: {}", place.side, place.function);
    let file = |place: &Place| match place.line.rsplit_once(':') {
        Some((file, _)) => format!("{}: {file}", place.side),
        None => format!("{}: (no file of the tree)", place.side),
    };
    for (title, keys) in [
        ("function", places.iter().map(function).collect::<Vec<String>>()),
        ("file, after inlining", places.iter().map(file).collect()),
    ] {
        let _ = writeln!(text, "\ninstructions  {title}");
        for (count, key) in count(keys) {
            let _ = writeln!(text, "{count:>12}  {key}");
        }
    }
    text
}

fn count(keys: Vec<String>) -> Vec<(usize, String)> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    let mut list: Vec<(usize, String)> = counts.into_iter().map(|(key, count)| (count, key)).collect();
    list.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    list
}

/// One line for each run of instructions from the same line.
fn sequence(places: &[Place]) -> String {
    let mut text = String::new();
    for run in places.chunk_by(|a, b| a == b) {
        let place = &run[0];
        let _ = writeln!(text, "{:>4} {:<6} {:<44} {}", run.len(), place.side, place.line, place.function);
    }
    text
}

/// The path in the order of execution, a line for each stay in one function: instructions, cache lines of code and of data.
fn phases(list: &[Executed], places: &[Place]) -> String {
    let mut text = String::from("\ninstructions  code lines  data lines  phase\n");
    let mut row = |part: &[Executed], name: &str| {
        let (code, data) = cache_lines(part);
        let _ = writeln!(text, "{:>12}  {code:>10}  {data:>10}  {name}", part.len());
    };
    let mut rest = list;
    for run in places.chunk_by(|a, b| a.side == b.side && a.function == b.function) {
        let (part, behind) = rest.split_at(run.len().min(rest.len()));
        rest = behind;
        row(part, &format!("{}: {}", run[0].side, run[0].function));
    }
    row(list, "together");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_outer_function_and_the_innermost_line_of_the_tree() {
        let text = "0x0000000000000010\nget<u32>\n/rust/library/core/src/cell.rs:5\nstart\n/a/kernel/src/op/nop.rs:7 (discriminator 2)\nkernel_enter\n/a/kernel/src/entry/enter.rs:9\n0x0000000000000020\n??\n??:0\n";
        let list = parse(text, "kernel");
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].0, list[0].1.function.as_str()), (0x10, "kernel_enter"));
        assert_eq!(list[0].1.line, "kernel/src/op/nop.rs:7");
        assert_eq!(list[1].1.line, "");
    }

    #[test]
    fn sums_are_in_order_and_complete() {
        let place = |function: &str| Place {
            side: "kernel",
            function: function.into(),
            line: "kernel/src/a.rs:1".into(),
        };
        let text = sums(&[place("a"), place("b"), place("b")]);
        assert!(text.starts_with("3 instructions: 3 kernel, 0 bench, 0 other"), "{text}");
        assert!(text.contains("           2  kernel: b\n           1  kernel: a\n"), "{text}");
        assert!(text.contains("           3  kernel: kernel/src/a.rs\n"), "{text}");
    }
}
