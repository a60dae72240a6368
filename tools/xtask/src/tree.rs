//! Where things are: the source tree and the directory for what is built from it.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context as _, Result};

/// The source tree and its target directory.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    target: PathBuf,
}

impl Tree {
    /// Finds the tree that this tool was started in.
    pub(crate) fn find() -> Result<Self> {
        let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here).ancestors().nth(2).context("start this tool as `cargo xtask`")?;
        let root = root.canonicalize().with_context(|| format!("{} is gone", root.display()))?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(place) => env::current_dir()?.join(place),
            None => root.join("target"),
        };
        fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        Ok(Self { root, target })
    }

    /// The top of the source tree.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A path inside the source tree.
    pub(crate) fn source(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A path inside the target directory.
    pub(crate) fn built(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }
}

/// A file of this run alone, deleted when the run ends.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Names a file that no other run of this tool uses.
    pub(crate) fn new(tree: &Tree, suffix: &str) -> Result<Self> {
        let folder = tree.built("guest-runs");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder.join(format!("{}{suffix}", std::process::id()))))
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // it may never have been written
    }
}
