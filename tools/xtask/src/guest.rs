//! One run of the guest, from power on to its end, whatever that end is.
//!
//! The run is over when QEMU is. It is ended from here when it takes too long or says nothing for too long, and a
//! little after the guest said that it is done. So every run ends, and every end has a name.

use std::collections::VecDeque;
use std::io::Read;
use std::process::{Child, ChildStdin, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::ended::{End, Ended, unexplained};
use crate::qemu::Machine;
use crate::scene::{Line, Monitor};
use crate::serial::{Event, Lines, Piece, Splitter};

/// What bounds a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The whole run.
    pub(crate) total: Duration,
    /// The longest time without a byte from the guest.
    pub(crate) silence: Duration,
}

/// How long QEMU may take to end after the guest said that it is done.
const GRACE: Duration = Duration::from_secs(5);
/// Lines kept for the message of a run that went wrong.
const TAIL: usize = 20;

/// Receives what the guest says while it runs.
pub(crate) trait Listener {
    /// The machine was switched on.
    fn started(&mut self) {}
    /// Bytes that programs wrote.
    fn output(&mut self, bytes: &[u8]);
    /// A line of the kernel.
    fn kernel(&mut self, line: &str, event: &Event);
}

/// Boots `machine` and listens to it until it ends.
pub(crate) fn run(machine: &Machine, limits: Limits, listener: &mut dyn Listener) -> Result<Ended> {
    let monitor = Monitor::new();
    let running = Running::start(machine.command(monitor.path())?, monitor, limits)?;
    listener.started();
    running.listen(listener)
}

#[derive(Clone, Copy)]
enum Source {
    Serial,
    Log,
}

struct Running {
    child: Child,
    monitor: Monitor,
    /// Where the kernel's image begins, once it has said so.
    base: Option<u64>,
    bytes: Receiver<(Source, Vec<u8>)>,
    started: Instant,
    heard: Instant,
    limits: Limits,
    serial: Splitter,
    log: Lines,
    raw: Lines,
    tail: VecDeque<String>,
    emulator: Vec<String>,
    end: Option<End>,
    done: Option<Instant>,
}

/// Passes on what comes on our stdin, as long as there is something and somebody reads it. The thread is not waited for:
/// it may wait for a key that never comes.
fn relay_typing(mut console: ChildStdin) {
    std::thread::spawn(move || {
        // The guest's end closes the pipe: then there is nobody to type to.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut console);
    });
}

impl Running {
    fn start(mut command: Command, monitor: Monitor, limits: Limits) -> Result<Self> {
        let mut child = command.spawn().context("cannot start QEMU")?;
        if let Some(console) = child.stdin.take() {
            relay_typing(console);
        }
        let (send, bytes) = channel();
        forward(child.stdout.take().context("QEMU has no stdout")?, Source::Serial, send.clone());
        forward(child.stderr.take().context("QEMU has no stderr")?, Source::Log, send);
        let now = Instant::now();
        Ok(Self {
            child,
            monitor,
            base: None,
            bytes,
            started: now,
            heard: now,
            limits,
            serial: Splitter::new(),
            log: Lines::default(),
            raw: Lines::default(),
            tail: VecDeque::new(),
            emulator: Vec::new(),
            end: None,
            done: None,
        })
    }

    fn listen(mut self, listener: &mut dyn Listener) -> Result<Ended> {
        loop {
            match self.bytes.recv_timeout(self.patience()) {
                Ok((source, bytes)) => {
                    self.heard = Instant::now();
                    self.hear(source, &bytes, listener);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if let Some(end) = self.overdue() {
                if self.end.is_none() {
                    self.tell_the_scene(listener);
                }
                self.end.get_or_insert(end);
                break;
            }
        }
        self.close(listener)
    }

    /// Says what the processors do, before they are stopped.
    fn tell_the_scene(&self, listener: &mut dyn Listener) {
        for line in self.monitor.scene(self.base) {
            match line {
                Line::Text(text) => listener.kernel(&text, &Event::Log),
                Line::Place(address) => {
                    listener.kernel(&format!("  at +{address:#x}"), &Event::Frame(address))
                }
            }
        }
    }

    /// Time until the next limit.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let silence = self.heard + self.limits.silence;
        let total = self.started + self.limits.total;
        let grace = self.done.map_or(total, |since| since + GRACE);
        silence.min(total).min(grace).saturating_duration_since(now)
    }

    fn overdue(&self) -> Option<End> {
        let now = Instant::now();
        if self.done.is_some_and(|since| now >= since + GRACE) {
            return self.end.clone();
        }
        if now >= self.started + self.limits.total {
            return Some(End::TooLong(self.limits.total.as_secs()));
        }
        (now >= self.heard + self.limits.silence).then_some(End::Silent(self.limits.silence.as_secs()))
    }

    fn hear(&mut self, source: Source, bytes: &[u8], listener: &mut dyn Listener) {
        match source {
            Source::Serial => {
                for line in self.raw.feed(bytes) {
                    self.remember(&line);
                }
                let pieces = self.serial.feed(bytes);
                self.pieces(pieces, listener);
            }
            Source::Log => {
                for line in self.log.feed(bytes) {
                    self.log_line(&line, listener);
                }
            }
        }
    }

    fn pieces(&mut self, pieces: Vec<Piece>, listener: &mut dyn Listener) {
        for piece in pieces {
            match piece {
                Piece::Output(bytes) => listener.output(&bytes),
                Piece::Kernel(line) => self.kernel_line(&line, listener),
            }
        }
    }

    fn log_line(&mut self, line: &str, listener: &mut dyn Listener) {
        self.remember(line);
        if line.starts_with("annulus: ") || line.starts_with("[k] ") {
            self.kernel_line(line, listener);
        } else if !line.is_empty() {
            self.emulator.push(line.to_owned());
        }
    }

    fn kernel_line(&mut self, line: &str, listener: &mut dyn Listener) {
        let event = Event::of(line);
        let end = match &event {
            Event::Exit(status) => Some(End::Exit(*status)),
            Event::Panic(reason) => Some(End::Panic(reason.clone())),
            Event::Boot => {
                self.base = self.base.or_else(|| image_base(line));
                None
            }
            Event::Frame(_) | Event::Log => None,
        };
        if let Some(end) = end {
            // A panic on the way out outweighs the status.
            match self.end {
                Some(End::Panic(_)) => {}
                _ => self.end = Some(end),
            }
            self.done.get_or_insert_with(Instant::now);
        }
        listener.kernel(line, &event);
    }

    fn remember(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(plain(line));
    }

    /// Gives QEMU the grace to end by itself when nothing speaks against it, and ends it otherwise.
    fn reap(&mut self) -> Result<ExitStatus> {
        let patience = Instant::now() + GRACE;
        while self.overdue().is_none() && Instant::now() < patience {
            if let Some(status) = self.child.try_wait().context("QEMU cannot be waited for")? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill(); // fails only when it has ended by itself
        self.child.wait().context("QEMU cannot be waited for")
    }

    fn close(mut self, listener: &mut dyn Listener) -> Result<Ended> {
        let status = self.reap()?;
        while let Ok((source, bytes)) = self.bytes.recv() {
            self.hear(source, &bytes, listener);
        }
        let rest = self.serial.finish();
        self.pieces(rest, listener);
        for line in self.log.finish() {
            self.log_line(&line, listener);
        }
        for line in self.raw.finish() {
            self.remember(&line);
        }
        let end = self.end.take().unwrap_or_else(|| unexplained(status, &self.emulator));
        Ok(Ended { end, tail: self.tail.into() })
    }
}

/// Where the kernel's image begins, as its first line says: `annulus: boot base=0xADDRESS`.
fn image_base(line: &str) -> Option<u64> {
    u64::from_str_radix(line.split_once("base=0x")?.1.trim(), 16).ok()
}

/// A line without what moves a terminal's cursor.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.find(|letter| letter.is_ascii_alphabetic());
        } else if !letter.is_control() {
            text.push(letter);
        }
    }
    text
}

fn forward(mut stream: impl Read + Send + 'static, source: Source, to: Sender<(Source, Vec<u8>)>) {
    let copy = move || {
        let mut buffer = vec![0; 4096];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 || to.send((source, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    };
    std::thread::spawn(copy);
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[derive(Default)]
    struct Heard {
        output: Vec<u8>,
        kernel: Vec<String>,
    }

    impl Listener for Heard {
        fn output(&mut self, bytes: &[u8]) {
            self.output.extend_from_slice(bytes);
        }
        fn kernel(&mut self, line: &str, _: &Event) {
            self.kernel.push(line.to_owned());
        }
    }

    /// Runs a script in QEMU's place.
    fn end_of(script: &str, limits: Limits) -> (End, Heard) {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut heard = Heard::default();
        let ended = Running::start(command, Monitor::new(), limits).unwrap().listen(&mut heard).unwrap();
        (ended.end, heard)
    }

    const PATIENT: Limits = Limits { total: Duration::from_secs(1000), silence: Duration::from_secs(1000) };

    #[test]
    fn the_status_line_counts_and_both_ways_are_heard() {
        let script = "echo 'annulus: boot x'; printf 'out'; echo 'annulus: exit status=3' >&2; exit 65";
        let (end, heard) = end_of(script, PATIENT);
        assert_eq!(end, End::Exit(3));
        assert_eq!(heard.output, b"out");
        assert_eq!(heard.kernel.len(), 2);
    }

    #[test]
    fn the_firmwares_cursor_movements_are_left_out_of_a_message() {
        assert_eq!(plain("\x1b[2J\x1b[01;01H\x1b[=3hBds\r"), "Bds");
    }

    #[test]
    fn the_first_line_says_where_the_kernel_is() {
        assert_eq!(image_base("annulus: boot base=0xffff800000000000"), Some(0xffff_8000_0000_0000));
        assert_eq!(image_base("annulus: boot"), None);
    }

    #[test]
    fn a_panic_outweighs_a_status() {
        let script = "echo 'annulus: panic: bad'; echo 'annulus: exit status=0'; exit 65";
        assert_eq!(end_of(script, PATIENT).0, End::Panic("bad".into()));
    }

    #[test]
    fn an_emulator_that_ends_without_a_word_was_reset_or_failed() {
        assert_eq!(end_of("echo 'annulus: boot'", PATIENT).0, End::Reset);
        assert_eq!(end_of("exit 65", PATIENT).0, End::NoStatus(32));
        assert_eq!(end_of("echo no disk >&2; exit 1", PATIENT).0, End::Emulator("no disk".into()));
        assert!(matches!(end_of("kill -9 $$", PATIENT).0, End::Emulator(_)));
    }

    #[test]
    fn silence_and_endless_talk_are_both_ended() {
        let brief = Duration::from_millis(400);
        let silence = Limits { silence: brief, ..PATIENT };
        assert_eq!(end_of("exec sleep 3000", silence).0, End::Silent(0));
        let total = Limits { total: brief, ..PATIENT };
        assert_eq!(end_of("while :; do echo x; sleep 0.05; done", total).0, End::TooLong(0));
    }
}
