//! Names for the addresses of a kernel trace, from the kernel's own debug information.

use std::path::Path;
use std::process::Command;

use crate::toolchain;

/// A line of a trace, with names where there are some.
pub(crate) fn frame(line: &str, address: u64, kernel: Option<&Path>) -> String {
    let name = kernel.and_then(|kernel| symbol(kernel, address));
    name.map_or_else(|| line.to_owned(), |name| format!("  at {name}"))
}

/// Names the function and line at a linked address of `binary`, if the host's binutils can.
fn symbol(binary: &Path, address: u64) -> Option<String> {
    let tool = toolchain::program("addr2line")?;
    // A return address belongs to the call before it.
    let place = format!("{:#x}", address.saturating_sub(1));
    let output =
        Command::new(tool).args(["-f", "-C", "-i", "-p", "-e"]).arg(binary).arg(place).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    shorten(&text)
}

/// On one line, and with paths as they are in the source tree.
fn shorten(text: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("/"));
    let text = text.replace(&format!("{}/", root.display()), "");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with("??")).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_without_the_way_to_the_tree() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/main.rs:3");
        let text = format!("main at {here}\n (inlined by) start at x.rs:1\n");
        assert_eq!(shorten(&text).unwrap(), "main at tools/xtask/src/main.rs:3 (inlined by) start at x.rs:1");
        assert_eq!(shorten("?? ??:0\n"), None);
    }
}
