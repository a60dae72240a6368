//! What the processors of a guest did that is about to be stopped, as QEMU's monitor tells it.
//!
//! A guest that hangs cannot say where. Its emulator can, for each processor, if it is asked before it is killed.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What the monitor writes when it waits for a command.
const PROMPT: &str = "(qemu) ";
/// How long it may take to answer one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Words that are looked at of each stack of the kernel.
const DEPTH: usize = 96;
/// Bytes that the kernel's image has at most.
const IMAGE: u64 = 16 << 20;

/// The socket of a machine's monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    path: PathBuf,
}

/// Where a processor was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Processor {
    number: u32,
    instruction: u64,
    stack: u64,
    ring: u8,
    halted: bool,
    interruptible: bool,
}

/// One line of the scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Words.
    Text(String),
    /// An address in the kernel, as linked.
    Place(u64),
}

impl Monitor {
    /// A place for the socket that no other run uses.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("annulus-{}-{number}.monitor", std::process::id());
        Self { path: std::env::temp_dir().join(name) }
    }

    /// Where QEMU is to listen.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Asks where all processors are. Nothing if the monitor does not answer.
    pub(crate) fn scene(&self, base: Option<u64>) -> Vec<Line> {
        self.ask(base).unwrap_or_default()
    }

    fn ask(&self, base: Option<u64>) -> std::io::Result<Vec<Line>> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        answer(&mut stream)?;
        let mut lines = Vec::new();
        for processor in processors(&command(&mut stream, "info registers -a")?) {
            lines.push(Line::Text(processor.says()));
            let Some(base) = base.filter(|_| processor.ring == 0) else { continue };
            lines.extend(linked(base, processor.instruction.wrapping_add(1)));
            command(&mut stream, &format!("cpu {}", processor.number))?;
            let stack = command(&mut stream, &format!("x /{DEPTH}gx {:#x}", processor.stack))?;
            lines.extend(words(&stack).filter_map(|word| linked(base, word)));
        }
        Ok(lines)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path); // the machine may never have been started
    }
}

impl Processor {
    fn says(&self) -> String {
        let state = if self.halted { "halted" } else { "running" };
        let interrupts = if self.interruptible { "on" } else { "off" };
        let Processor { number, instruction, ring, .. } = self;
        format!("processor {number}: {state} at {instruction:#x}, ring {ring}, interrupts {interrupts}")
    }
}

fn command(stream: &mut UnixStream, words: &str) -> std::io::Result<String> {
    stream.write_all(format!("{words}\n").as_bytes())?;
    answer(stream)
}

/// Reads up to the next prompt.
fn answer(stream: &mut UnixStream) -> std::io::Result<String> {
    let end = Instant::now() + PATIENCE;
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(PROMPT.as_bytes()) && Instant::now() < end {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..count]);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// An address of the kernel's image, as linked.
fn linked(base: u64, address: u64) -> Option<Line> {
    address.checked_sub(base).filter(|offset| *offset < IMAGE).map(Line::Place)
}

/// The words of a dump of memory: `ffff800000010000: 0x0000000000000000 0x0000000000000000`.
fn words(dump: &str) -> impl Iterator<Item = u64> {
    dump.split_whitespace().filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
}

/// Reads `info registers -a`: for each processor lines with `CPU#N`, `RSP=` and last `RIP=`.
fn processors(text: &str) -> Vec<Processor> {
    let (mut number, mut stack) = (0, 0);
    let mut list = Vec::new();
    for line in text.lines() {
        if let Some(digits) = line.trim().strip_prefix("CPU#") {
            number = digits.parse().unwrap_or(number);
        }
        let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        let hexadecimal = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
        stack = hexadecimal("RSP=").unwrap_or(stack);
        if let (Some(instruction), Some(flags)) = (hexadecimal("RIP="), hexadecimal("RFL=")) {
            list.push(Processor {
                number,
                instruction,
                stack,
                ring: hexadecimal("CPL=").unwrap_or(0) as u8,
                halted: hexadecimal("HLT=") == Some(1),
                interruptible: flags & 0x200 != 0,
            });
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    const TWO: &str = "info registers -a\r\n\r\nCPU#0\r\nRBP=0000000000000000 RSP=ffff8000000bff00\r\n\
        RIP=ffff800000002345 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n\r\nCPU#1\r\n\
        RIP=0000000000401000 RFL=00000046 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n(qemu) ";

    #[test]
    fn registers_are_read_for_each_processor() {
        let found = processors(TWO);
        assert_eq!(
            found.iter().map(Processor::says).collect::<Vec<_>>(),
            [
                "processor 0: halted at 0xffff800000002345, ring 0, interrupts on",
                "processor 1: running at 0x401000, ring 3, interrupts off",
            ]
        );
    }

    #[test]
    fn the_kernels_stack_is_shown_as_linked_addresses() {
        let monitor = Monitor::new();
        let listener = UnixListener::bind(monitor.path()).unwrap();
        let machine = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"QEMU 7.2\r\n(qemu) ").unwrap();
            let stack = "0: 0x0000000000000001 0xffff800000000010\r\n(qemu) ";
            for (wanted, reply) in
                [("info registers -a", TWO), ("cpu 0", "(qemu) "), ("x /96gx 0xffff8000000bff00", stack)]
            {
                let mut asked = [0; 64];
                let count = stream.read(&mut asked).unwrap();
                assert_eq!(&asked[..count], format!("{wanted}\n").as_bytes());
                stream.write_all(reply.as_bytes()).unwrap();
            }
        });
        let lines = monitor.scene(Some(0xffff_8000_0000_0000));
        machine.join().unwrap();
        let places: Vec<&Line> = lines.iter().filter(|line| matches!(line, Line::Place(_))).collect();
        assert_eq!(places, [&Line::Place(0x2346), &Line::Place(0x10)]);
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_machine_without_a_monitor_has_no_scene() {
        assert_eq!(Monitor::new().scene(None), []);
    }
}
