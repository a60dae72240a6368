//! Programs that start: up to the first instruction of their own, and what of them is in memory then.
#![forbid(unsafe_code)]

use super::pingpong::stop;
use crate::footprint::read_text;
use crate::harness::{Bench, Failure, Outcome, ensure};
use bare::clock::ticks;
use bare::context::Stack;
use bench::report::Unit;
use bench::stats::Figure;
use core::time::Duration;
use posix::file::{close, pread, pwrite};
use posix::flags::{O_CREAT, O_RDONLY, O_RDWR, O_STAT};
use posix::open::open;
use posix::spawn::{Command, spawn};
use ring_abi::Errno;
use ring_abi::args::map::{PRIVATE, READ};
use uring::Fd;
use uring::op::file::fsize;
use uring::op::time::after;

/// A program with 50 MiB of text, which only the image of this case has; and one without, which does the same.
const LARGE: &str = "/scheme/initfs/bin/large";
const SMALL: &str = "/scheme/initfs/bin/prompt";
/// Bytes of text that the large one has at least.
const TEXT: u64 = 50_000_000;
/// How often each is started.
const STARTS: usize = 20;
/// Pages that are touched once each.
const SCENE: u64 = 2048;
const PAGE: u64 = 4096;

/// Rows of starting a program beside that of a large one.
pub(crate) const ROWS: &[&str] = &["exec.large.resident", "exec.small", "exec.small.resident", "fault.file"];

/// Whether this image has what the case needs.
pub(crate) fn is_possible() -> bool {
    open(LARGE.as_bytes(), O_STAT, 0).is_ok_and(|fd| close(fd).is_ok())
}

pub(crate) fn run(bench: &mut Bench) -> Outcome {
    ensure(
        is_possible(),
        "this image has no /bin/large; `cargo xtask bench --case exec.large` makes one that has",
    )?;
    let told = open(b"/scheme/ram/bench-start", O_RDWR | O_CREAT, 0o600)?;
    let outcome = start_each(bench, told, ("exec.large", "exec.large.resident"), LARGE)
        .and_then(|()| start_each(bench, told, ("exec.small", "exec.small.resident"), SMALL))
        .and_then(|()| touch_file(bench));
    close(told)?;
    outcome
}

fn start_each(bench: &Bench, told: Fd, (time, resident): (&str, &str), path: &str) -> Outcome {
    let mut readings = [0; STARTS];
    let mut bytes = 0;
    for reading in &mut readings {
        (*reading, bytes) = start(told, path)?;
    }
    // The first one found nothing of its file in anybody's memory.
    bench.row(time, Unit::Instructions, bench.spread(&readings, 1)?);
    bench.exact(resident, Unit::Bytes, Figure::whole(bytes));
    Ok(())
}

/// Starts a program: ticks up to its own first instruction, and bytes of it that are in memory when it waits.
fn start(told: Fd, path: &str) -> Result<(u64, u64), Failure> {
    pwrite(told, &[0; 8], 0)?;
    let command =
        Command { path: path.as_bytes(), arguments: &[b"prompt"], environment: &[], handles: &[(told, 1)] };
    let before = ticks();
    let pid = spawn(&command)?;
    let began = wait_for_time(told)?;
    after(Duration::from_millis(5)).wait()?;
    let resident = resident(pid);
    stop(pid)?;
    Ok((began.wrapping_sub(before), resident?))
}

fn wait_for_time(told: Fd) -> Result<u64, Failure> {
    for _ in 0..1000 {
        let mut bytes = [0; 8];
        pread(told, &mut bytes, 0)?;
        if bytes != [0; 8] {
            return Ok(u64::from_le_bytes(bytes));
        }
        after(Duration::from_millis(1)).wait()?;
    }
    Err(Failure::Wrong("the program did not begin"))
}

/// Bytes of a process that are in memory, whoever else has them.
fn resident(pid: u32) -> Result<u64, Failure> {
    let text = read_text("/scheme/sys/maps")?;
    let mut bytes = 0_u64;
    for line in text.lines() {
        let mut words = line.split(' ').skip(1);
        if words.next().and_then(|word| word.parse().ok()) == Some(pid) {
            let figure = words.nth(3).and_then(|word| word.parse::<u64>().ok());
            bytes =
                bytes.saturating_add(figure.ok_or(Failure::Wrong("sys/maps has a line of another form"))?);
        }
    }
    ensure(bytes != 0, "sys/maps does not know the program")?;
    Ok(bytes)
}

/// First reads of pages of a file that its daemon has in memory.
fn touch_file(bench: &Bench) -> Outcome {
    let file = open(LARGE.as_bytes(), O_RDONLY, 0)?;
    let length = fsize(file).wait()?;
    ensure(length > TEXT, "/bin/large is not large")?;
    let middle = (length >> 1) & !PAGE.wrapping_sub(1);
    let pages = Stack::map_file(file, middle, SCENE.wrapping_mul(PAGE), READ | PRIVATE)?;
    let mut page = 0_u64;
    let outcome = bench.time("fault.file", 1, || {
        pages.look(page);
        page = page.wrapping_add(1);
        Ok::<(), Errno>(())
    });
    ensure(page <= SCENE, "there are more samples than pages")?;
    pages.unmap()?;
    close(file)?;
    outcome
}
