//! What this machine lacks, and how it gets it.
//!
//! Every part is looked for by the file that proves it, so nothing is started when nothing is missing. Debian's
//! `rust-lld` is a link to the linker of one LLVM version that no package pulls in: the link's target names it, so a
//! second look follows the first installation.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

use crate::progress::Step;
use crate::toolchain::{self, OLDEST, Toolchain};
use crate::{qemu, tree::Tree};

/// What a command needs besides a compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To build and boot.
    Guest,
    /// To build, boot and debug.
    Debugger,
    /// To build and check.
    Lints,
}

/// Questions about this machine; tests answer them with an invented one.
trait Probe {
    fn exists(&self, path: &str) -> bool;
    /// The file name that a symbolic link points to.
    fn link(&self, path: &str) -> Option<String>;
    fn has_program(&self, name: &str) -> bool;
    /// Version of the system's compiler.
    fn compiler(&self) -> Option<(u32, u32)>;
    fn has_user_toolchain(&self) -> bool;
    fn has_firmware(&self) -> bool;
}

struct Host;

impl Probe for Host {
    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }

    fn link(&self, path: &str) -> Option<String> {
        let target = std::fs::read_link(path).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    fn has_program(&self, name: &str) -> bool {
        toolchain::program(name).is_some()
    }

    fn compiler(&self) -> Option<(u32, u32)> {
        toolchain::version_of(Path::new("/usr/bin/rustc"))
    }

    fn has_user_toolchain(&self) -> bool {
        Toolchain::of_user().is_some()
    }

    fn has_firmware(&self) -> bool {
        qemu::firmware().is_some()
    }
}

/// The packages that are missing, as Debian calls them.
fn missing(probe: &impl Probe, need: Need) -> Vec<String> {
    let mut list = compiler_packages(probe, need);
    if !list.is_empty() && probe.has_user_toolchain() {
        list.clear();
    }
    let mut also = |present: bool, package: &str| {
        if !present {
            list.push(package.to_owned());
        }
    };
    also(probe.has_program("cc"), "gcc");
    also(probe.has_program("addr2line"), "binutils");
    also(need == Need::Lints || probe.has_program(qemu::PROGRAM), "qemu-system-x86");
    also(need == Need::Lints || probe.has_firmware(), "ovmf");
    also(need != Need::Debugger || probe.has_program("gdb"), "gdb");
    list
}

fn compiler_packages(probe: &impl Probe, need: Need) -> Vec<String> {
    let linker = probe.link("/usr/bin/rust-lld");
    if probe.compiler().is_none_or(|version| version < OLDEST) {
        let lints = ["rust-web-clippy", "rustfmt-web"].into_iter().filter(|_| need == Need::Lints);
        let compiler = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm"];
        return compiler.into_iter().chain(lints).map(str::to_owned).collect();
    }
    let mut list = Vec::new();
    let mut also = |present: bool, package: &str| {
        if !present {
            list.push(package.to_owned());
        }
    };
    also(probe.exists("/usr/bin/cargo"), "cargo-web");
    also(probe.exists("/usr/lib/rustlib/src/rust/library/core"), "rust-web-src");
    also(need != Need::Lints || probe.exists("/usr/bin/clippy-driver"), "rust-web-clippy");
    also(need != Need::Lints || probe.exists("/usr/bin/cargo-fmt"), "rustfmt-web");
    match linker {
        None => also(probe.exists("/usr/bin/rust-lld"), "rust-web-llvm"),
        Some(version) => also(probe.exists("/usr/bin/rust-lld"), &version),
    }
    list
}

/// Installs what is missing, or says how. Quick when nothing is.
pub(crate) fn ensure(need: Need) -> Result<()> {
    for _ in 0..3 {
        let packages = missing(&Host, need);
        if packages.is_empty() {
            return Ok(());
        }
        install(&packages)?;
    }
    bail!("{} are installed but not found: is this Debian 12 or newer?", missing(&Host, need).join(" "))
}

/// A fresh tree has its tools looked for before anything is built.
pub(crate) fn prepare(need: Need) -> Result<(Tree, Toolchain)> {
    ensure(need)?;
    Ok((Tree::find()?, Toolchain::find()?))
}

fn install(packages: &[String]) -> Result<()> {
    let names = packages.join(" ");
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {names}");
    let Some(prefix) = right_to_install() else {
        bail!("missing: {names}. As root, run: {by_hand}");
    };
    let step = Step::start(&format!("installing {names}"));
    let update = apt(&prefix, &["update"]).output().context("cannot start apt-get")?;
    if !update.status.success() {
        step.print("apt-get update had errors, going on with the lists at hand");
    }
    let mut arguments = vec!["install", "-y", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    let output = apt(&prefix, &arguments).output().context("cannot start apt-get")?;
    if !output.status.success() {
        bail!("apt-get cannot install {names}: {}. Try by hand: {by_hand}", last_words(&output));
    }
    step.done();
    Ok(())
}

/// The words before `apt-get`: none for root, sudo where it asks nothing; `None` without the right.
fn right_to_install() -> Option<Vec<PathBuf>> {
    toolchain::program("apt-get")?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    if is_root(&status) {
        return Some(Vec::new());
    }
    let sudo = toolchain::program("sudo")?;
    let asks_nothing =
        Command::new(&sudo).args(["-n", "true"]).output().is_ok_and(|done| done.status.success());
    asks_nothing.then(|| vec![sudo, "-n".into()])
}

/// Reads the effective user out of `/proc/self/status`.
fn is_root(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|numbers| numbers.split_whitespace().nth(1)) == Some("0")
}

fn apt(prefix: &[PathBuf], arguments: &[&str]) -> Command {
    let words =
        prefix.iter().cloned().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"].map(PathBuf::from));
    let mut words = words.collect::<Vec<_>>().into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::http::Timeout=60"]);
    command.args(arguments).stdin(std::process::Stdio::null());
    command
}

fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().rfind(|line| line.starts_with("E:")).or_else(|| text.lines().last());
    line.unwrap_or("it gave no reason").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine described by what it has.
    #[derive(Clone, Default)]
    struct Invented {
        files: Vec<&'static str>,
        link: Option<&'static str>,
        compiler: Option<(u32, u32)>,
        user: bool,
    }

    impl Probe for Invented {
        fn exists(&self, path: &str) -> bool {
            self.files.contains(&path)
        }
        fn link(&self, _: &str) -> Option<String> {
            self.link.map(str::to_owned)
        }
        fn has_program(&self, name: &str) -> bool {
            self.files.contains(&name)
        }
        fn compiler(&self) -> Option<(u32, u32)> {
            self.compiler
        }
        fn has_user_toolchain(&self) -> bool {
            self.user
        }
        fn has_firmware(&self) -> bool {
            self.files.contains(&"ovmf")
        }
    }

    fn complete() -> Invented {
        Invented {
            files: vec![
                "/usr/bin/cargo",
                "/usr/lib/rustlib/src/rust/library/core",
                "/usr/bin/rust-lld",
                "cc",
                "addr2line",
                "qemu-system-x86_64",
                "ovmf",
            ],
            link: Some("lld-22"),
            compiler: Some((1, 96)),
            user: false,
        }
    }

    #[test]
    fn nothing_is_missing_on_a_complete_machine() {
        assert!(missing(&complete(), Need::Guest).is_empty());
        assert_eq!(missing(&complete(), Need::Debugger), ["gdb"]);
        assert_eq!(missing(&complete(), Need::Lints), ["rust-web-clippy", "rustfmt-web"]);
    }

    #[test]
    fn a_fresh_machine_lacks_everything_but_the_linker_that_is_not_known_yet() {
        let fresh = missing(&Invented { files: vec!["cc", "addr2line"], ..Invented::default() }, Need::Guest);
        let expected = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-llvm", "qemu-system-x86", "ovmf"];
        assert_eq!(fresh, expected);
    }

    #[test]
    fn a_dangling_link_names_the_linker_to_install() {
        let mut machine = complete();
        machine.files.retain(|file| *file != "/usr/bin/rust-lld");
        assert_eq!(missing(&machine, Need::Guest), ["lld-22"]);
        machine.link = None;
        assert_eq!(missing(&machine, Need::Guest), ["rust-web-llvm"]);
    }

    #[test]
    fn an_old_compiler_is_replaced_unless_the_user_has_a_good_one() {
        let old = Invented { compiler: Some((1, 63)), ..complete() };
        assert_eq!(missing(&old, Need::Guest).len(), 4);
        assert!(missing(&Invented { user: true, ..old }, Need::Guest).is_empty());
    }

    #[test]
    fn the_second_number_of_uid_is_who_we_are() {
        assert!(is_root("Name:\tx\nUid:\t1000\t0\t0\t0\n"));
        assert!(!is_root("Uid:\t0\t1000\t0\t0\n"));
    }
}
