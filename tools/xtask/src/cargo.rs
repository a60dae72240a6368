//! Builds each crate for the target that it runs on.
//!
//! The kernel is for `x86_64-unknown-none`, programs are for `x86_64-unknown-redox`, used without its C library: no
//! start files, static, at a fixed address, linked by the compiler's own linker. `core` and `alloc` are built from
//! source for both. What cargo says is kept and shown only when a build fails.

use std::io::{BufRead, BufReader, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::progress::Step;
use crate::toolchain::Toolchain;
use crate::tree::Tree;

/// Target of the kernel.
pub(crate) const KERNEL_TARGET: &str = "x86_64-unknown-none";
/// Target of guest programs.
pub(crate) const PROGRAM_TARGET: &str = "x86_64-unknown-redox";

/// Where bootstrap is linked, unless its build script says otherwise. Other programs begin at 2 MiB.
const BOOTSTRAP_BASE: &str = "0x10000";

/// What a build made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Binary {
    /// Its name, without a folder.
    pub(crate) name: String,
    /// The ELF file.
    pub(crate) path: PathBuf,
}

/// Everything that goes into an image.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    /// The kernel, with symbols.
    pub(crate) kernel: PathBuf,
    /// The first program.
    pub(crate) bootstrap: PathBuf,
    /// The programs of `/bin`.
    pub(crate) programs: Vec<Binary>,
}

/// Builds the kernel and these programs.
pub(crate) fn guest(tree: &Tree, tools: &Toolchain, packages: &[String]) -> Result<Guest> {
    let kernel = build(kernel(tree, tools), "building the kernel")?;
    let programs = build(programs(tree, tools, packages), "building the programs")?;
    let bootstrap = build(bootstrap(tree, tools), "building bootstrap")?;
    Ok(Guest { kernel: one(kernel, "kernel")?, bootstrap: one(bootstrap, "bootstrap")?, programs })
}

/// Cargo for a bare target, without a subcommand's arguments.
pub(crate) fn bare(tree: &Tree, tools: &Toolchain, subcommand: &str, target: &str) -> Command {
    let mut command = tools.cargo();
    command.current_dir(tree.root()).arg(subcommand);
    command.args(["-Zbuild-std=core,alloc,compiler_builtins", "-Zbuild-std-features=compiler-builtins-mem"]);
    command.args(["--profile", "guest", "--target", target, "--target-dir"]).arg(tree.built("guest"));
    // The addresses of records are displacements (`base/name.rs` of the kernel), not numbers to keep in a register.
    command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", "-Cllvm-args=-disable-constant-hoisting");
    if target == PROGRAM_TARGET {
        command.env("CARGO_TARGET_X86_64_UNKNOWN_REDOX_RUSTFLAGS", program_flags(tools.linker()));
        command.env("CARGO_PROFILE_GUEST_STRIP", "debuginfo");
    }
    command
}

/// Segments are page aligned in the file too, so that exec can map them as they are.
fn program_flags(linker: &Path) -> String {
    let flags = [
        &format!("-Clinker={}", linker.display()),
        "-Clinker-flavor=ld.lld",
        "-Crelocation-model=static",
        "-Cpanic=abort",
        "-Clink-arg=-zseparate-loadable-segments",
        "-Clink-arg=-znorelro",
    ];
    flags.join(" ")
}

fn kernel(tree: &Tree, tools: &Toolchain) -> Command {
    let mut command = bare(tree, tools, "build", KERNEL_TARGET);
    command.args(["-p", "kernel", "--bin", "kernel"]);
    command
}

fn programs(tree: &Tree, tools: &Toolchain, packages: &[String]) -> Command {
    let mut command = bare(tree, tools, "build", PROGRAM_TARGET);
    command.arg("--bins");
    for package in packages {
        command.args(["-p", package]);
    }
    command
}

fn bootstrap(tree: &Tree, tools: &Toolchain) -> Command {
    let mut command = bare(tree, tools, "rustc", PROGRAM_TARGET);
    command.args(["-p", "bootstrap", "--bin", "bootstrap"]);
    if !tree.source("bootstrap/build.rs").exists() {
        command.args(["--", &format!("-Clink-arg=--image-base={BOOTSTRAP_BASE}")]);
    }
    command
}

/// The crates whose binaries are programs of the guest, by the names of their folders.
pub(crate) fn program_packages(tree: &Tree) -> Result<Vec<String>> {
    let folder = tree.source("initfs/programs");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = vec!["bench".to_owned(), "qtest".to_owned()];
    for entry in entries {
        let path = entry?.path();
        if path.join("Cargo.toml").exists() {
            names.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

fn one(mut list: Vec<Binary>, name: &str) -> Result<PathBuf> {
    match list.pop() {
        Some(binary) if list.is_empty() => Ok(binary.path),
        _ => bail!("cargo did not build exactly one `{name}`"),
    }
}

/// Runs a cargo build and gives the executables that it made or found up to date.
pub(crate) fn build(command: Command, name: &str) -> Result<Vec<Binary>> {
    let mut list = Vec::new();
    quietly(with_messages(&command), name, |line| list.extend(executable(line)))?;
    list.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(list)
}

/// The same command with machine-readable messages asked for. They stand right behind the subcommand, because what
/// follows a `--` belongs to the compiler.
fn with_messages(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    let mut arguments = command.get_args();
    copy.args(arguments.next()).arg("--message-format=json-render-diagnostics").args(arguments);
    copy_surroundings(command, &mut copy);
    copy
}

fn copy_surroundings(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env(name, value),
            None => to.env_remove(name),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
}

/// Runs a command behind a spinner. Lines of stdout go to `line`; stderr is shown when the command fails.
pub(crate) fn quietly(mut command: Command, name: &str, mut line: impl FnMut(&str)) -> Result<()> {
    let step = Step::start(name);
    if std::io::stderr().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let mut stdout = child.stdout.take().context("no stdout")?;
    let stderr = BufReader::new(child.stderr.take().context("no stderr")?);
    let (output, words) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut text = Vec::new();
            stdout.read_to_end(&mut text).map(|_| String::from_utf8_lossy(&text).into_owned())
        });
        let mut words = Vec::new();
        for text in lines(stderr) {
            step.note(text.trim());
            words.push(text);
        }
        (reader.join().unwrap_or_else(|_| Ok(String::new())), words)
    });
    output?.lines().for_each(&mut line);
    if !child.wait()?.success() {
        words.iter().for_each(|text| step.print(text));
        bail!("{name} failed: see the messages above");
    }
    step.done();
    Ok(())
}

/// The lines of a stream until it ends, whatever bytes they hold: a stream that nobody reads stops its writer.
pub(crate) fn lines(stream: impl BufRead) -> impl Iterator<Item = String> {
    stream.split(b'\n').map_while(Result::ok).map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// Reads one of cargo's messages: the executable of a binary target, if it tells of one.
fn executable(message: &str) -> Option<Binary> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    let target = message.get("target")?;
    let kinds = target.get("kind")?.as_array()?;
    let name = target.get("name")?.as_str()?.to_owned();
    kinds.iter().any(|kind| kind == "bin").then_some(Binary { name, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_of_binary_targets_count() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"init"},"executable":"/t/init"}"#;
        let expected = Binary { name: "init".into(), path: "/t/init".into() };
        assert_eq!(executable(message), Some(expected));
        assert_eq!(executable(&message.replace("bin\"", "custom-build\"")), None);
        assert_eq!(executable(r#"{"reason":"x","executable":null}"#), None);
        assert_eq!(executable("no json"), None);
    }

    #[test]
    fn messages_are_asked_for_before_the_compilers_own_arguments() {
        let mut command = Command::new("cargo");
        command.args(["rustc", "-p", "x", "--", "-Cy"]).env("A", "b");
        let copy = with_messages(&command);
        let words: Vec<_> = copy.get_args().collect();
        assert_eq!(words[1], "--message-format=json-render-diagnostics");
        assert_eq!(words[4], "--");
    }
}
