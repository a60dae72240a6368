//! What init does when nothing else is asked for: it runs the commands that are typed on the console, one after the
//! other, and looks after the daemons meanwhile.
#![forbid(unsafe_code)]

use crate::daemons::Daemons;
use crate::machine;
use alloc::vec::Vec;
use core::time::Duration;
use init::line::{Line, Typed};
use init::options::words;
use posix::Fd;
use posix::process::proc_handle;
use posix::protocol::{Target, Verb, Wait};
use posix::spawn::STANDARD;
use ring_abi::Errno;
use ring_abi::context::End;
use uring::exec::{Raced, race};
use uring::op::file::{At, call, read};
use uring::{eprintln, print};

const INPUT: Fd = Fd(0);
const PROMPT: &str = "# ";

/// Runs what is typed, for ever.
pub(crate) async fn stay(daemons: &mut Daemons) -> ! {
    let mut line = Line::default();
    let mut waiting = wait_for_child();
    print!("{PROMPT}");
    loop {
        let mut typing = read(INPUT, Vec::from([0; 64]), At::Cursor);
        let (count, bytes) = match race(&mut typing, &mut waiting).await {
            Raced::First((Ok(count), bytes)) => (count, bytes),
            Raced::First((Err(error), _)) => {
                eprintln!("init: the console cannot be read: {error}");
                supervise(daemons, &mut waiting, None).await;
                continue;
            }
            Raced::Second(ended) => {
                waiting = wait_for_child();
                tell(daemons, ended);
                continue;
            }
        };
        for byte in bytes.get(..count).unwrap_or_default() {
            match line.typed(*byte) {
                Typed::Nothing => {}
                Typed::Echo(letter) => print!("{letter}"),
                Typed::Erase => print!("\x08 \x08"),
                Typed::Line(text) => {
                    print!("\n");
                    run(daemons, &mut waiting, &text).await;
                    print!("{PROMPT}");
                }
            }
        }
    }
}

/// Runs one command and waits for its end.
async fn run(daemons: &mut Daemons, waiting: &mut Waiting, text: &str) {
    let command = words(text);
    let Some(name) = command.first() else { return };
    match crate::start_program(&command, &[], &STANDARD, |_| Ok(())) {
        Ok(pid) => match supervise(daemons, waiting, Some(pid)).await {
            End::Exited(0) => {}
            end => eprintln!("init: {name}: {end:?}"),
        },
        Err(error) => eprintln!("init: {name}: {error}"),
    }
}

/// Looks after the daemons until this child has ended; for ever if there is none.
async fn supervise(daemons: &mut Daemons, waiting: &mut Waiting, child: Option<u32>) -> End {
    loop {
        let ended = (&mut *waiting).await;
        *waiting = wait_for_child();
        match ended.0 {
            Ok(called) if Some(called.result) == child.map(u64::from) => return end_of(&ended.1),
            _ => tell(daemons, ended),
        }
    }
}

/// A question to the process table: which child ended next, and how?
type Waiting = uring::Op<uring::op::file::Lent<ring_abi::args::Call, Vec<u8>>>;
/// Its answer.
type Ended = uring::op::file::Returned<uring::op::file::Called, Vec<u8>>;

fn wait_for_child() -> Waiting {
    let wait = Wait { target: Target::Any, at_once: false };
    let proc = proc_handle().unwrap_or(Fd(u64::MAX));
    call(proc, alloc::vec![0; posix::protocol::CALL_BYTES], Verb::Wait as u64, wait.packed())
}

/// Tells the daemons of a child's end.
fn tell(daemons: &mut Daemons, (called, word): Ended) {
    match called {
        Ok(called) => daemons.ended(u32::try_from(called.result).unwrap_or(0), end_of(&word)),
        Err(Errno::CHILD) => machine::sleep(Duration::from_secs(1)), // no daemon is left
        Err(error) => {
            eprintln!("init: children cannot be waited for: {error}");
            machine::sleep(Duration::from_secs(1));
        }
    }
}

fn end_of(word: &[u8]) -> End {
    let raw = word.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    End::from_raw(raw).unwrap_or(End::Exited(0))
}
