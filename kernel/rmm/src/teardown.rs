//! The end of an address space, in slices, without a flush for each page.
//!
//! A retired table waits once, until no CPU has its root loaded or anything of it cached. After
//! that its frames are reached by nobody and come back as the slices find them. It never
//! allocates.
#![forbid(unsafe_code)]

use crate::addr::{Page, PageRange};
use crate::entry::Entry;
use crate::flush::Stale;
use crate::frames::{Frames, Misuse, Owner, TableFrame};
use crate::info::Kind;
use crate::machine::{Machine, Memory};
use crate::scan::Search;
use crate::table::PageTable;

/// What is left of an address space that no CPU uses.
#[must_use = "step it until it is done, or its frames leak"]
#[derive(Debug)]
pub struct Teardown {
    table: PageTable,
    rest: Option<PageRange>,
    tables: u32,
}

/// How far a teardown is.
#[must_use = "what is left must be stepped again"]
#[derive(Debug)]
pub enum Progress {
    /// The steps ran out.
    More(Teardown),
    /// Nothing is left. So many tables came back, the root counted.
    Done {
        /// Credit whoever paid for the space with these.
        tables: u32,
    },
}

impl PageTable {
    /// Ends the space. Nobody may load its root from now on; a CPU that has it loaded must
    /// load another before it says [`Frames::flushed`].
    pub fn retire(self, frames: &Frames<'_>) -> Stale<Teardown> {
        let teardown = Teardown { table: self, rest: Some(PageRange::LOWER_HALF), tables: 0 };
        Stale::space(teardown, frames)
    }
}

impl Teardown {
    /// How many tables came back so far.
    pub const fn tables(&self) -> u32 {
        self.tables
    }

    /// Gives back what `steps` (8 or more, or it may not get ahead) allow; `credit` hears who paid for each frame that came back.
    pub fn step<M: Machine>(
        mut self,
        memory: &Memory<'_, M>,
        steps: &mut u32,
        mut credit: impl FnMut(Owner),
    ) -> Result<Progress, Misuse> {
        let root = self.table.root();
        while let Some(rest) = self.rest.filter(|_| memory.frames.entries_in_use(root) != 0) {
            let found = match self.table.search(&memory.machine, rest, steps) {
                Search::Found(page, table, entry) => (page, table, entry),
                Search::End => break,
                Search::Paused(page) => {
                    self.rest = rest.starting_at(page);
                    return Ok(Progress::More(self));
                }
            };
            let last = empty_but_one(memory, found, steps, &mut credit)?;
            // The last one takes its tables with it.
            if let Some(gone) = self.table.remove(memory, last) {
                let discarded = memory.frames.give_back(gone)?;
                self.tables = self.tables.wrapping_add(discarded.tables);
                discarded.frame.into_iter().for_each(&mut credit);
            }
            self.rest = rest.after(last);
        }
        memory.frames.free_table(root)?;
        Ok(Progress::Done { tables: self.tables.wrapping_add(1) })
    }
}

/// Gives back the frames of a leaf table from the one of `page` on, but for the last one, or as
/// many as the steps allow; gives the page of the first that is still there. The entries stay
/// as they are, for nobody looks at them again.
fn empty_but_one<M: Machine>(
    memory: &Memory<'_, M>,
    (page, table, mut entry): (Page, TableFrame, Entry),
    steps: &mut u32,
    credit: &mut impl FnMut(Owner),
) -> Result<Page, Misuse> {
    let info = memory.frames.expect_kind(table.frame(), Kind::Table)?;
    let first = page.index(0);
    let (mut live, mut last) = (info.live.get(), first);
    for at in first.wrapping_add(1)..512 {
        if live <= 1 || *steps == 0 {
            break;
        }
        *steps = steps.wrapping_sub(1);
        let next = Entry::from_bits(memory.machine.read_entry(table, at));
        if !next.is_present() {
            continue;
        }
        if let Some(frame) = entry.as_user() {
            memory.frames.release(frame)?.owner().into_iter().for_each(&mut *credit);
        }
        live = live.wrapping_sub(1);
        info.live.set(live);
        (last, entry) = (at, next);
    }
    Ok(page.skip_entries(0, last.wrapping_sub(first)).unwrap_or(page))
}
