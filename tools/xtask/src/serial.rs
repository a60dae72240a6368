//! What the guest says, taken apart into programs' output and the kernel's own lines.
//!
//! The guest has two ways to the host. COM1 carries the output of programs, byte for byte, and may carry lines of the
//! kernel. Port 0xe9 carries lines of the kernel only, and is the better place for them: nothing mixes there.
//!
//! - What comes before the first `annulus: ` on COM1 is the firmware's and is dropped.
//! - A line that begins `annulus: ` is an event for this tool; one that begins `[k] ` is the kernel's log.
//! - `annulus: exit status=N` is how a run ends well; `annulus: panic: ...` is how the kernel ends.
//! - `annulus: cannot run: ...` is a kernel that refuses this machine.
//! - `annulus: trace +0xADDRESS` is one return address, as linked, which the tool turns into names.
//! - The two endings are also found behind program output that did not end its line.

/// A piece of what came over COM1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Output of a program, to be passed on as it is.
    Output(Vec<u8>),
    /// A line of the kernel, without its line break.
    Kernel(String),
}

/// A kernel line that means something to this tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The kernel runs.
    Boot,
    /// The run ended with this status.
    Exit(u8),
    /// The kernel gave up.
    Panic(String),
    /// One return address of a trace, as linked.
    Frame(u64),
    /// Anything else: a message for people.
    Log,
}

impl Event {
    /// Reads one line of the kernel.
    pub(crate) fn of(line: &str) -> Event {
        let Some(text) = line.strip_prefix("annulus: ") else { return Event::Log };
        if let Some(number) = text.strip_prefix("exit status=") {
            return number.trim().parse::<i64>().map_or(Event::Log, |status| Event::Exit(low_byte(status)));
        }
        if let Some(reason) = text.strip_prefix("panic:") {
            return Event::Panic(reason.trim().to_owned());
        }
        if text.starts_with("cannot run:") {
            return Event::Panic(text.to_owned());
        }
        if let Some(address) = text.strip_prefix("trace +0x") {
            return u64::from_str_radix(address.trim(), 16).map_or(Event::Log, Event::Frame);
        }
        if text == "boot" || text.starts_with("boot ") { Event::Boot } else { Event::Log }
    }
}

/// A status that is not zero stays so when it is cut to eight bits.
fn low_byte(status: i64) -> u8 {
    match (status & 0xff) as u8 {
        0 if status != 0 => 255,
        byte => byte,
    }
}

/// Markers in the firmware's noise: the kernel is there.
const FIRST: &[&str] = &["annulus: "];
/// Markers of a kernel line at the start of a line.
const AT_START: &[&str] = &["annulus: ", "[k] "];
/// Markers behind output that did not end its line.
const ANYWHERE: &[&str] = &["annulus: exit status=", "annulus: panic:"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Firmware,
    LineStart,
    InLine,
    KernelLine,
}

/// Takes the bytes of COM1 apart.
#[derive(Debug)]
pub(crate) struct Splitter {
    state: State,
    /// Bytes that may yet turn out to be a marker, or the kernel line so far.
    held: Vec<u8>,
    output: Vec<u8>,
}

impl Splitter {
    /// Starts before the firmware.
    pub(crate) fn new() -> Self {
        Self { state: State::Firmware, held: Vec::new(), output: Vec::new() }
    }

    /// Takes bytes in and gives the pieces that are complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for &byte in bytes {
            self.step(byte, &mut pieces);
        }
        self.flush_output(&mut pieces);
        pieces
    }

    /// Gives what is left at the end of the stream.
    pub(crate) fn finish(&mut self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        match self.state {
            State::Firmware => {}
            State::KernelLine => self.end_kernel_line(&mut pieces),
            State::LineStart | State::InLine => self.output.append(&mut self.held),
        }
        self.flush_output(&mut pieces);
        pieces
    }

    fn step(&mut self, byte: u8, pieces: &mut Vec<Piece>) {
        if self.state == State::KernelLine {
            if byte == b'\n' {
                self.end_kernel_line(pieces)
            } else {
                self.held.push(byte)
            }
            return;
        }
        self.held.push(byte);
        while !self.held.is_empty() {
            match self.compare() {
                Match::Whole => {
                    self.flush_output(pieces);
                    self.state = State::KernelLine;
                    return;
                }
                Match::Part => return,
                Match::None => self.release_first(),
            }
        }
    }

    fn compare(&self) -> Match {
        let markers = match self.state {
            State::Firmware => FIRST,
            State::LineStart => AT_START,
            State::InLine | State::KernelLine => ANYWHERE,
        };
        let whole = |marker: &&str| self.held.starts_with(marker.as_bytes());
        if markers.iter().any(whole) {
            return Match::Whole;
        }
        let part = |marker: &&str| marker.as_bytes().starts_with(&self.held);
        if markers.iter().any(part) { Match::Part } else { Match::None }
    }

    /// The first held byte is no marker's: pass it on.
    fn release_first(&mut self) {
        let byte = self.held.remove(0);
        if self.state != State::Firmware {
            self.output.push(byte);
            self.state = if byte == b'\n' { State::LineStart } else { State::InLine };
        }
    }

    fn end_kernel_line(&mut self, pieces: &mut Vec<Piece>) {
        let line = String::from_utf8_lossy(&self.held).trim_end().to_owned();
        self.held.clear();
        self.state = State::LineStart;
        pieces.push(Piece::Kernel(line));
    }

    fn flush_output(&mut self, pieces: &mut Vec<Piece>) {
        if !self.output.is_empty() {
            pieces.push(Piece::Output(std::mem::take(&mut self.output)));
        }
    }
}

enum Match {
    Whole,
    Part,
    None,
}

/// Gathers bytes into lines, for streams that are all text.
#[derive(Debug, Default)]
pub(crate) struct Lines(Vec<u8>);

impl Lines {
    /// Takes bytes in and gives the lines that are complete.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<String> {
        self.0.extend_from_slice(bytes);
        let Some(end) = self.0.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.0.drain(..=end).collect();
        String::from_utf8_lossy(&whole).lines().map(|line| line.trim_end().to_owned()).collect()
    }

    /// Gives the line that the stream's end cut off.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        let rest = std::mem::take(&mut self.0);
        String::from_utf8_lossy(&rest).lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOISE: &str = "\x1b[2J\x1b[01;01HBdsDxe: starting\r\nannulus: boot test\r\n";

    fn split(text: &str, chunk: usize) -> (String, Vec<String>) {
        let (mut output, mut kernel) = (String::new(), Vec::new());
        let mut splitter = Splitter::new();
        let mut pieces: Vec<Piece> =
            text.as_bytes().chunks(chunk).flat_map(|part| splitter.feed(part)).collect();
        pieces.extend(splitter.finish());
        for piece in pieces {
            match piece {
                Piece::Output(bytes) => output.push_str(&String::from_utf8(bytes).unwrap()),
                Piece::Kernel(line) => kernel.push(line),
            }
        }
        (output, kernel)
    }

    #[test]
    fn output_and_kernel_lines_come_apart_however_the_bytes_arrive() {
        let text =
            format!("{NOISE}hello\nannulus: note\nann\n[k] log\n\nannul [k] x\nannulus: exit status=3\n");
        for chunk in 1..40 {
            let (output, kernel) = split(&text, chunk);
            assert_eq!(output, "hello\nann\n\nannul [k] x\n");
            assert_eq!(kernel, ["annulus: boot test", "annulus: note", "[k] log", "annulus: exit status=3"]);
        }
    }

    #[test]
    fn an_ending_is_found_behind_an_unfinished_line() {
        let (output, kernel) = split(&format!("{NOISE}abannulus: exit status=0\n"), 5);
        assert_eq!(output, "ab");
        assert_eq!(kernel, ["annulus: boot test", "annulus: exit status=0"]);
    }

    #[test]
    fn a_held_back_tail_is_given_at_the_end() {
        assert_eq!(split(&format!("{NOISE}x\nannul"), 3).0, "x\nannul");
    }

    #[test]
    fn firmware_noise_is_dropped_even_when_it_ends_without_a_line_break() {
        let (output, kernel) = split("noise annulus: boot x\nout", 4);
        assert_eq!((output.as_str(), kernel.len()), ("out", 1));
    }

    #[test]
    fn events_are_read_and_what_is_malformed_is_a_message() {
        assert_eq!(Event::of("annulus: exit status=7"), Event::Exit(7));
        assert_eq!(Event::of("annulus: exit status=256"), Event::Exit(255));
        assert_eq!(Event::of("annulus: exit status=-1"), Event::Exit(255));
        assert_eq!(Event::of("annulus: exit status=?"), Event::Log);
        assert_eq!(Event::of("annulus: panic: bad"), Event::Panic("bad".into()));
        assert_eq!(Event::of("annulus: trace +0x1f"), Event::Frame(31));
        assert_eq!(Event::of("annulus: boot"), Event::Boot);
        assert_eq!(Event::of("[k] boot"), Event::Log);
    }

    #[test]
    fn lines_are_kept_until_they_end() {
        let mut lines = Lines::default();
        assert!(lines.feed(b"ab").is_empty());
        assert_eq!(lines.feed(b"c\nd\ne"), ["abc", "d"]);
        assert_eq!(lines.finish(), ["e"]);
    }
}
