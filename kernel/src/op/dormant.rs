//! Stopped contexts that nobody can name any more. They can never be started again, so they end.
//!
//! One without a handle is found at once, when its last handle goes. But a handle table whose holders are all
//! stopped may itself have the handles to them: a thread that was made and never started, whose process died.
//! Such a table is suspect, and slices count the handles in it; if all that there are to its holders lie in it,
//! they end, and the table with them. Holders that are named only by each other's tables stay: that takes
//! tracing of all tables.
#![forbid(unsafe_code)]

use super::state::{ByTable, State};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::context::context::{Context, State as Run};
use crate::context::file::Kind;
use crate::context::handles::{Scan, Table};
use ring_abi::context::{End, Reason};

/// What looking at a handle is reckoned to cost.
const LOOK: u32 = 30;

impl State {
    /// A context stands still from now on, until somebody starts it. If nobody can, it ends.
    #[cold]
    pub fn stand_still(&self, id: u32, context: &Context) {
        context.state.set(Run::Stopped);
        self.tell_stopper(context);
        let table_id = context.table.get();
        let dormant = &self.tables.at(table_id).dormant;
        dormant.set(dormant.get().wrapping_add(1));
        if context.refs.get() == 1 {
            self.end_context(id, End::Ended(Reason::Killed));
        } else {
            self.suspect(table_id);
        }
    }

    /// A context that stood still runs or ends.
    pub fn stir(&self, context: &Context) {
        let table = self.tables.at(context.table.get());
        table.dormant.set(table.dormant.get().wrapping_sub(1));
        table.scan.set(Scan::default());
    }

    /// One holder of a file fewer, where that may have been the last outside of a stopped context's own table.
    pub fn let_go_handle(&self, id: u32) {
        let file = self.files.at(id);
        if file.let_go() {
            self.close_file(id);
        } else if file.kind.get() == Kind::Context {
            let context = self.contexts.at(file.object.get());
            if context.state.get() == Run::Stopped {
                self.suspect(context.table.get());
            }
        }
    }

    /// Looks later whether anybody can still start the holders of a table, if all of them are stopped.
    pub fn suspect(&self, id: u32) {
        let table = self.tables.at(id);
        if table.refs.get() != table.dormant.get() || table.suspected.replace(true) {
            return;
        }
        table.scan.set(Scan::default());
        self.suspects.push_back(&ByTable(&self.tables), id);
        self.step.rearm();
    }

    /// A table is not suspect any more.
    pub fn trust(&self, id: u32) {
        if self.tables.at(id).suspected.replace(false) {
            self.suspects.remove(&ByTable(&self.tables), id);
        }
    }
}

/// Looks at some handles of the first suspect table. `false`: there is none.
pub fn slice(s: &State, budget: &Budget) -> bool {
    let id = s.suspects.first();
    if id == NONE {
        return false;
    }
    let table = s.tables.at(id);
    let mut scan = table.scan.get();
    while scan != Scan::Over {
        if !matches!(scan, Scan::Ending { .. }) && table.refs.get() != table.dormant.get() {
            break;
        }
        let (Scan::Clearing { at } | Scan::Counting { at, .. } | Scan::Ending { at }) = scan else { break };
        let found = table.next(&s.chunks, u64::from(at));
        if !budget.spend(if matches!(scan, Scan::Ending { .. }) { ENTRY } else { LOOK }) {
            table.scan.set(scan);
            return true;
        }
        scan = match found {
            Some((number, file, _)) => look(s, id, scan, number as u32, file),
            None => next_pass(table, scan),
        };
    }
    s.trust(id);
    true
}

fn next_pass(table: &Table, scan: Scan) -> Scan {
    match scan {
        Scan::Clearing { .. } => Scan::Counting { at: 0, inside: 0 },
        Scan::Counting { inside, .. } if inside == table.dormant.get() => Scan::Ending { at: 0 },
        _ => Scan::Over,
    }
}

/// Looks at one handle. The cursor of a context's file, which has no other use, counts its handles.
fn look(s: &State, table_id: u32, scan: Scan, number: u32, file_id: u32) -> Scan {
    let file = s.files.at(file_id);
    let object = file.object.get();
    let is_holder = file.kind.get() == Kind::Context && {
        let context = s.contexts.at(object);
        context.state.get() == Run::Stopped && context.table.get() == table_id
    };
    let at = number.wrapping_add(1);
    match scan {
        Scan::Clearing { .. } => {
            if is_holder {
                file.cursor.set(0);
            }
            Scan::Clearing { at }
        }
        Scan::Counting { inside, .. } => {
            let count = file.cursor.get().wrapping_add(1);
            if is_holder {
                file.cursor.set(count);
            }
            let is_whole = is_holder && count == u64::from(file.refs.get());
            Scan::Counting { at, inside: inside.wrapping_add(u32::from(is_whole)) }
        }
        _ => {
            if is_holder {
                s.end_context(object, End::Ended(Reason::Killed));
            }
            Scan::Ending { at }
        }
    }
}
