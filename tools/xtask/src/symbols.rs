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
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with("??")).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}
