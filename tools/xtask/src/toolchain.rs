//! The compiler for bare targets.
//!
//! Guest code needs `core` built from source, so a compiler with matching sources and a linker. Debian's packages have
//! all three in /usr; a rustup toolchain with `rust-src` serves as well. Nothing is assumed: each part is looked for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Oldest compiler that builds this tree.
pub(crate) const OLDEST: (u32, u32) = (1, 95);

/// A compiler, its cargo and its linker.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    cargo: PathBuf,
    linker: PathBuf,
}

impl Toolchain {
    /// Debian's toolchain if it is complete, otherwise the user's if that is.
    pub(crate) fn find() -> Result<Self> {
        Self::of_system()
            .or_else(Self::of_user)
            .context("no Rust compiler with sources of `core`: install rustc-web, cargo-web, rust-web-src and rust-web-llvm, or run `rustup component add rust-src`")
    }

    fn of_system() -> Option<Self> {
        let usr = |path: &str| Some(Path::new("/usr").join(path)).filter(|path| path.exists());
        let found = Self { rustc: usr("bin/rustc")?, cargo: usr("bin/cargo")?, linker: usr("bin/rust-lld")? };
        usr("lib/rustlib/src/rust/library/core")?;
        (version_of(&found.rustc)? >= OLDEST).then_some(found)
    }

    /// rustup's active toolchain, when it has `rust-src`.
    pub(crate) fn of_user() -> Option<Self> {
        let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
        let root = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        let inside = |path: &str| Some(root.join(path)).filter(|path| path.exists());
        inside("lib/rustlib/src/rust/library/core")?;
        let found = Self {
            rustc: inside("bin/rustc")?,
            cargo: inside("bin/cargo")?,
            linker: inside("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld")?,
        };
        (version_of(&found.rustc)? >= OLDEST).then_some(found)
    }

    /// Starts this toolchain's cargo, free of what the calling cargo left in the environment.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = clean(&self.cargo);
        command.env("PATH", self.search_path()).env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        command
    }

    /// The linker for guest programs.
    pub(crate) fn linker(&self) -> &Path {
        &self.linker
    }

    fn search_path(&self) -> OsString {
        let own = self.rustc.parent().map(Path::to_path_buf);
        let rest = env::var_os("PATH").unwrap_or_default();
        let all = own.into_iter().chain(env::split_paths(&rest));
        env::join_paths(all).unwrap_or(rest)
    }
}

/// Starts `program` without the variables through which one cargo steers another.
pub(crate) fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in
        ["CARGO", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC", "RUSTC_WRAPPER"]
    {
        command.env_remove(name);
    }
    for name in ["RUSTC_WORKSPACE_WRAPPER", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH", "CARGO_BUILD_TARGET"] {
        command.env_remove(name);
    }
    command
}

/// Major and minor version of a compiler, if it runs.
pub(crate) fn version_of(rustc: &Path) -> Option<(u32, u32)> {
    let output = clean(rustc).arg("--version").output().ok()?;
    parse_version(&String::from_utf8(output.stdout).ok()?)
}

fn parse_version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().nth(1)?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Finds a program in the search path.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Refuses to go on without `name`.
pub(crate) fn required(name: &str) -> Result<PathBuf> {
    match program(name) {
        Some(path) => Ok(path),
        None => bail!("`{name}` is not in the search path: install it and try again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_two_numbers() {
        assert_eq!(parse_version("rustc 1.96.0 (ac68faa20 2026-05-25)"), Some((1, 96)));
        assert_eq!(parse_version("rustc 1.97.0-nightly (x)"), Some((1, 97)));
        assert_eq!(parse_version("something else"), None);
    }
}
