//! The end of an address space, in slices, without a flush for each page.
//!
//! A retired table waits once, until no CPU has its root loaded or anything of it cached. After
//! that its frames are reached by nobody and come back as the slices find them. It never
//! allocates.
#![forbid(unsafe_code)]

use crate::addr::PageRange;
use crate::flush::Stale;
use crate::frames::{Frames, Misuse, Owner};
use crate::machine::{Machine, Memory};
use crate::scan::Next;
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
    /// Gives back what `steps` allow; `credit` hears who paid for each frame that came back.
    pub fn step<M: Machine>(
        mut self,
        memory: &Memory<'_, M>,
        steps: &mut u32,
        mut credit: impl FnMut(Owner),
    ) -> Result<Progress, Misuse> {
        let root = self.table.root();
        while let Some(rest) = self.rest.filter(|_| memory.frames.entries_in_use(root) != 0) {
            let page = match self.table.next_mapped(&memory.machine, rest, steps) {
                Next::User(page, _) | Next::Device(page) => page,
                Next::End => break,
                Next::Paused(page) => {
                    self.rest = rest.starting_at(page);
                    return Ok(Progress::More(self));
                }
            };
            if let Some(gone) = self.table.remove(memory, page) {
                let discarded = memory.frames.give_back(gone)?;
                self.tables = self.tables.wrapping_add(discarded.tables);
                discarded.frame.into_iter().for_each(&mut credit);
            }
            self.rest = rest.after(page);
        }
        memory.frames.free_table(root)?;
        Ok(Progress::Done { tables: self.tables.wrapping_add(1) })
    }
}
