//! Building and testing the crates that run on this machine, with the cargo that started this tool.

use std::io::BufReader;
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};

use crate::cargo::lines;
use crate::progress::Step;
use crate::toolchain;
use crate::tree::Tree;
use crate::verdicts::{self, Counts};

/// Crates that build for the host.
pub(crate) const HOST_PACKAGES: &[&str] =
    &["ring-abi", "rmm", "tickets", "kernel", "uring", "posix", "initfs-format", "xtask"];

/// Guest programs that keep their logic in a library, which builds for the host: by package and folder.
const PROGRAM_HOMES: &[(&str, &str)] = &[
    ("bootstrap", "bootstrap"),
    ("bench", "bench"),
    ("qtest", "tools/qtest"),
    ("commands", "initfs/programs/commands"),
    ("init", "initfs/programs/init"),
    ("null", "initfs/programs/null"),
    ("ramfs", "initfs/programs/ramfs"),
];

/// The guest programs whose library has tests for the host.
pub(crate) fn program_libraries(tree: &Tree) -> Vec<&'static str> {
    let has_library = |home: &&(&str, &str)| tree.source(home.1).join("src/lib.rs").exists();
    PROGRAM_HOMES.iter().filter(has_library).map(|home| home.0).collect()
}

/// No run of tests may take longer than this many seconds.
const TEST_LIMIT: &str = "1500";

/// Cargo as it was called, same toolchain, same target directory; it ends at the time limit, or when this tool does,
/// and its test programs with it.
pub(crate) fn cargo(tree: &Tree) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = match (toolchain::program("setpriv"), toolchain::program("timeout")) {
        (Some(setpriv), Some(timeout)) => {
            let mut command = Command::new(setpriv);
            command
                .args(["--pdeathsig", "TERM"])
                .arg(timeout)
                .args(["--kill-after=10", TEST_LIMIT])
                .arg(cargo);
            command
        }
        _ => Command::new(cargo),
    };
    command.current_dir(tree.root());
    command
}

/// Packages that have loom models, with the names of the test files: `tests/loom*.rs`.
pub(crate) fn loom_models(tree: &Tree) -> Result<Vec<(String, String)>> {
    let homes = [
        ("ring-abi", "ring-abi"),
        ("kernel", "kernel"),
        ("rmm", "kernel/rmm"),
        ("tickets", "kernel/tickets"),
        ("uring", "relibc-uring/rt"),
    ];
    let mut found = Vec::new();
    for (package, folder) in homes {
        let Ok(entries) = fs::read_dir(tree.source(folder).join("tests")) else { continue };
        for entry in entries {
            let file = entry?.file_name().into_string().unwrap_or_default();
            match file.strip_suffix(".rs") {
                Some(name) if name.starts_with("loom") => found.push((package.to_owned(), name.to_owned())),
                _ => {}
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs a `cargo test`; what failed is shown at its end.
pub(crate) fn tests(mut command: Command, name: &str, filters: &[String]) -> Result<Counts> {
    command.arg("--").args(filters);
    let step = Step::start(name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start cargo")?;
    let stdout = BufReader::new(child.stdout.take().context("no stdout")?);
    let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
    let (text, words) = std::thread::scope(|scope| {
        let compiler = scope.spawn(|| {
            let show = |line: &String| step.note(line.trim());
            lines(stderr).inspect(show).collect::<Vec<_>>()
        });
        let show = |line: &String| step.note(line.trim());
        let text = lines(stdout).inspect(show).collect::<Vec<_>>();
        (text, compiler.join().unwrap_or_default())
    });
    let status = child.wait()?;
    let counts = verdicts::of_cargo(&text.join("\n"));
    if !status.success() {
        interesting(&text).for_each(|line| step.print(line));
        if status.code() == Some(124) {
            bail!(
                "{name} took longer than {TEST_LIMIT} s and was stopped: the last test started is the one to look at"
            );
        }
        if counts.failed == 0 {
            words.iter().for_each(|line| step.print(line));
            bail!("{name} failed: see the messages above");
        }
    }
    step.done();
    Ok(counts)
}

/// Lines of a test run that say more than that something went well.
fn interesting(text: &[String]) -> impl Iterator<Item = &str> {
    let dull = |line: &str| {
        let passed = line.starts_with("test ") && (line.ends_with("... ok") || line.ends_with("... ignored"));
        passed || line.starts_with("running ") || line.starts_with("test result: ok") || line.is_empty()
    };
    text.iter().map(String::as_str).filter(move |line| !dull(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_went_wrong_is_shown() {
        let text =
            ["running 2 tests", "test a ... ok", "test b ... FAILED", "", "panicked at x"].map(str::to_owned);
        assert_eq!(interesting(&text).collect::<Vec<_>>(), ["test b ... FAILED", "panicked at x"]);
    }
}
