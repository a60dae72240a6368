//! `cargo xtask docs`: writes `docs/rings.md` from the crate `ring-abi`.

use std::fs;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use ring_abi::manual;

use crate::tree::Tree;

/// Where the document is.
const PLACE: &str = "docs/rings.md";

/// What `cargo xtask docs` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Write nothing; fail if the document is not what `ring-abi` says
    #[arg(long)]
    check: bool,
}

/// Writes the document, or looks whether it is right.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let tree = Tree::find()?;
    if options.check {
        if let Some(line) = stale(&tree) {
            bail!("{line}");
        }
        println!("{PLACE} is what ring-abi says");
        return Ok(0);
    }
    let place = tree.source(PLACE);
    fs::write(&place, manual::document()).with_context(|| format!("cannot write {}", place.display()))?;
    println!("wrote {PLACE}");
    Ok(0)
}

/// What is to be done, if the document is not what `ring-abi` says.
pub(crate) fn stale(tree: &Tree) -> Option<String> {
    let found = fs::read_to_string(tree.source(PLACE)).unwrap_or_default();
    let is_right = found == manual::document();
    (!is_right).then(|| format!("{PLACE} is not what ring-abi says: run `cargo xtask docs`"))
}
