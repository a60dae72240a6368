//! Page-ins: who needs a page of a window that its daemon has to be asked for ([`crate::mem::object`]).
//!
//! Whoever touches such a page waits: a context that faults, an operation that was about to start, one that was to be sent, one
//! that is to be finished with a daemon's answer, and one that works on. All who wait for the same page wait for one question
//! to the daemon (`RequestMmap`), which is asked ahead of the page. When it is answered they go on where they were, and touch
//! again. A daemon that is gone, says nothing for [`PATIENCE`], or gives what is no page fails them: a context ends
//! (`BusError`), an operation is `EIO`.
//!
//! The question is an operation that no ring has. It outlives its page-in if the daemon is late.
//!
//! Invariants:
//!
//! - a context is `Paging`, or an operation's wait is `Page`, exactly while one waiter is theirs, which they name in the link by
//!   which they wait for other things;
//! - an object has at most [`MOST`] page-ins that are being asked for; whoever finds no room waits for one of those.
#![forbid(unsafe_code)]

use super::inflight::{Notice, Op, Shape, Wait};
use super::state::State;
use super::{cancel, chain, cursor, forward, memory, order, polled, reply, work};
use crate::base::NONE;
use crate::base::budget::{Budget, ENTRY};
use crate::base::list::{Chain, Link, List};
use crate::base::name::{Named, number_of};
use crate::context::context::{Context, State as Run};
use crate::mem::arena::{Arena, Record};
use crate::mem::object::ASK;
use crate::mem::space::{END, PAGE_BYTES};
use crate::op::stats::count;
use crate::ring::duplex::Ring;
use crate::scheme::link::Link as Scheme;
use core::cell::Cell;
use ring_abi::args::map;
use ring_abi::context::{End, Reason};
use ring_abi::sqe::Head;
use ring_abi::{Cqe, Errno, Opcode, Words};

/// Nanoseconds that a daemon has for an answer.
pub const PATIENCE: u64 = 10_000_000_000;
/// Page-ins of one object at a time.
const MOST: u32 = 8;
/// Pages that are asked for at once: the one that is needed, and those behind it.
const AHEAD: u32 = 16;

/// Who waits for a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// A context that touched it.
    #[default]
    Context,
    /// An operation that has not started.
    Start,
    /// An operation whose bytes are to be sent to a daemon.
    Send,
    /// An operation that a daemon has answered with these words; it has its slot still.
    Reply([u64; 2]),
    /// An operation that works.
    Work,
}

/// One who waits for a page.
#[derive(Debug)]
pub struct Waiter {
    who: Cell<Who>,
    /// The context or operation.
    name: Cell<u32>,
    page_in: Cell<u32>,
    link: Link,
}

impl Default for Waiter {
    fn default() -> Self {
        Waiter {
            who: Cell::default(),
            name: Cell::new(NONE),
            page_in: Cell::new(NONE),
            link: Link::default(),
        }
    }
}

impl Named for Waiter {}

impl Record for Waiter {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

/// A page that is asked for.
#[derive(Debug)]
pub struct PageIn {
    /// The window, held.
    object: Cell<u32>,
    /// Index of the page there.
    index: Cell<u32>,
    /// The question, or `NONE` once it was answered.
    question: Cell<u32>,
    /// What came of it, if not the page.
    verdict: Cell<Option<Errno>>,
    waiters: List,
    /// The next one of the same object, or of those that were answered.
    link: Link,
}

impl Default for PageIn {
    fn default() -> Self {
        PageIn {
            object: Cell::new(NONE),
            index: Cell::new(0),
            question: Cell::new(NONE),
            verdict: Cell::new(None),
            waiters: List::new(),
            link: Link::default(),
        }
    }
}

impl Named for PageIn {}

impl Record for PageIn {
    fn free_link(&self) -> &Cell<u32> {
        self.link.cell()
    }
}

struct ByPage<'a>(&'a Arena<Waiter>);

impl Chain for ByPage<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

/// Page-ins that were answered, and have waiters to go on.
struct ByAnswer<'a>(&'a Arena<PageIn>);

impl Chain for ByAnswer<'_> {
    fn link(&self, node: u32) -> &Link {
        &self.0.at(node).link
    }
}

/// Parking.
impl State {
    /// A context that runs no more waits for the page that it touched. An error leaves it as it is.
    pub fn park_context(&self, id: u32) -> Result<(), Errno> {
        let context = self.contexts.at(id);
        let waiter = wait(self, Who::Context, id, context)?;
        self.take_out(id);
        context.state.set(Run::Paging);
        context.link.set(waiter, NONE);
        Ok(())
    }

    /// A submission waits for a page before it starts. An error is what it completes with.
    pub fn park_start(&self, ring: &Ring, head: Head, entry: &impl Words) -> Result<(), Errno> {
        let id = order::make(self, ring, head, entry)?;
        self.park_held(ring, id).inspect_err(|_| {
            let op = self.ops.at(id);
            super::barrier::unfile(self, ring, op);
            let (tie, _) = chain::untie(op);
            self.ties.give(tie);
            self.drop_op(id);
        })
    }

    /// The same for an operation that was held, and whose record was not used.
    pub fn park_held(&self, ring: &Ring, id: u32) -> Result<(), Errno> {
        self.park_op(Who::Start, ring, id)
    }

    /// An operation waits for a page. An error leaves it as it is.
    pub fn park_op(&self, who: Who, ring: &Ring, id: u32) -> Result<(), Errno> {
        let waiter = wait(self, who, id, self.contexts.at(ring.owner.get()))?;
        let op = self.ops.at(id);
        op.wait.set(Wait::Page);
        op.queue.set(waiter, NONE);
        Ok(())
    }
}

/// Files somebody with the page that is missing, for which the daemon is asked if it was not yet.
fn wait(s: &State, who: Who, name: u32, asker: &Context) -> Result<u32, Errno> {
    let (object, index) = s.memory.missing();
    let waiter_id = s.waiters.take(&s.memory)?;
    let page_in = match find(s, object, index) {
        Some(found) => found,
        None => ask(s, object, index, asker).inspect_err(|_| s.waiters.give(waiter_id))?,
    };
    let waiter = s.waiters.at(waiter_id);
    waiter.who.set(who);
    waiter.name.set(name);
    waiter.page_in.set(page_in);
    s.page_ins.at(page_in).waiters.push_back(&ByPage(&s.waiters), waiter_id);
    Ok(waiter_id)
}

/// The page-in of a page, or any of an object that has no room for more.
fn find(s: &State, object: u32, index: u32) -> Option<u32> {
    let (first, number) = s.memory.objects.at(object).asked.get();
    let mut at = first;
    while at != NONE {
        let page_in = s.page_ins.at(at);
        let behind = index.wrapping_sub(page_in.index.get());
        // What is asked for ahead of another page comes with it.
        if behind < AHEAD {
            return Some(at);
        }
        at = page_in.link.next();
    }
    (number >= MOST).then_some(first)
}

/// Asks the daemon of an object for a page.
fn ask(s: &State, object_id: u32, index: u32, asker: &Context) -> Result<u32, Errno> {
    let object = s.memory.objects.at(object_id);
    let file_id = object.file().ok_or(Errno::IO)?;
    let file = s.files.at(file_id);
    let link = s.links.at(file.object.get());
    if !link.lives() {
        return Err(Errno::IO);
    }
    s.timers.ensure_one(&s.memory)?;
    s.ops.ensure_one(&s.memory)?;
    let page_id = s.page_ins.take(&s.memory)?;
    let Ok(id) = s.ops.take(&s.memory) else { crate::bug!("an operation's record was ensured") };

    let page_in = s.page_ins.at(page_id);
    page_in.object.set(object_id);
    page_in.index.set(index);
    page_in.question.set(id);
    page_in.verdict.set(None);
    let (first, number) = object.asked.get();
    page_in.link.set(first, NONE);
    object.asked.set((page_id, number.wrapping_add(1)));
    s.memory.hold_object_once(object_id);

    let op = s.ops.at(id);
    let opcode = Opcode::RequestMmap;
    op.set_shape(Shape { wait: Wait::Room, opcode, notice: Notice::None, marks: 0 });
    op.ring.set(NONE);
    op.tag.set(0);
    op.started.set(s.memory.machine.ticks() as u32);
    op.file.set(file_id);
    file.hold(1);
    op.object.set(file.object.get());
    let pages = AHEAD.min(object.count().wrapping_sub(index));
    let told = if object.is_writable() { map::READ | map::WRITE | map::SHARED } else { map::READ };
    op.set_arg(0, u64::from(page_id) | told << 32);
    op.set_arg(1, u64::from(pages).wrapping_mul(PAGE_BYTES));
    op.set_arg(2, object.offset().wrapping_add(u64::from(index)).wrapping_mul(PAGE_BYTES));
    let [owner, pid] = forward::who(asker);
    op.set_arg(3, owner);
    op.set_arg(4, pid);
    s.timers.add(s, id, s.memory.machine.now().saturating_add(PATIENCE));
    s.step.rearm();
    forward::ask(s, link, id, op);
    Ok(page_id)
}

/// What the daemon is asked: the words behind opcode and file, and who asks.
pub fn question(op: &Op) -> ([u64; 4], [u64; 2]) {
    ([op.arg(1), op.arg(0) >> 32, op.arg(2), 0], [op.arg(3), op.arg(4)])
}

/// The daemon has answered.
#[cold]
pub fn answered(s: &State, link: &Scheme, id: u32, entry: Cqe) {
    let op = s.ops.at(id);
    link.unbind(&s.slots, op.slot_tag.get());
    cancel::forget_notice(s, link, id);
    s.memory.budget.charge(ENTRY);
    let page_id = op.arg(0) as u32;
    if page_id != NONE {
        op.set_arg(0, u64::from(NONE));
        let asked = op.arg(1) / PAGE_BYTES;
        let result = if entry.flags == 0 { entry.result() } else { Err(Errno::IO) };
        let verdict = learn(s, page_id, result, entry.extra(), asked as u32);
        settle(s, page_id, verdict.err());
    }
    s.drop_op(id);
}

/// Takes a daemon's answer: the address of the page, and how many pages from there on are in a row.
fn learn(s: &State, page_id: u32, answer: Result<u64, Errno>, there: u32, asked: u32) -> Result<(), Errno> {
    let page_in = s.page_ins.at(page_id);
    let (object_id, index) = (page_in.object.get(), page_in.index.get());
    let address = answer.map_err(|_| Errno::IO)?;
    let first = address / PAGE_BYTES;
    let count = if there == 0 { asked } else { there.min(asked) };
    let end = first.saturating_add(u64::from(count));
    if address & PAGE_BYTES.wrapping_sub(1) != 0 || first == 0 || end > END {
        return Err(Errno::IO);
    }
    s.memory.objects.at(object_id).learn(index, count, first);
    if s.memory.is_shown(object_id, index) { Ok(()) } else { Err(Errno::IO) }
}

/// The daemon has said nothing for too long: those who wait fail. Its answer, should it come, is of no use.
#[cold]
pub fn overdue(s: &State, id: u32) {
    lost(s, s.ops.at(id));
}

/// A question ends without an answer, or its answer is not waited for any more.
pub fn lost(s: &State, op: &Op) {
    let page_id = op.arg(0) as u32;
    op.set_arg(0, u64::from(NONE));
    if page_id != NONE {
        settle(s, page_id, Some(Errno::IO));
    }
}

/// A page-in is over: its waiters go on, as many as the budget allows now.
fn settle(s: &State, page_id: u32, verdict: Option<Errno>) {
    let page_in = s.page_ins.at(page_id);
    let object = s.memory.objects.at(page_in.object.get());
    let (first, number) = object.asked.get();
    let next = page_in.link.next();
    if first == page_id {
        object.asked.set((next, number.wrapping_sub(1)));
    } else {
        let mut at = first;
        while at != NONE {
            let other = s.page_ins.at(at);
            if other.link.next() == page_id {
                other.link.set_next(next);
                break;
            }
            at = other.link.next();
        }
        object.asked.set((first, number.wrapping_sub(1)));
    }
    page_in.question.set(NONE);
    page_in.verdict.set(verdict);
    s.answered_pages.push_back(&ByAnswer(&s.page_ins), page_id);
    s.step.measure(&s.memory.machine);
    s.step.rearm();
}

/// Lets some go on whose page has come, or fail. `false`: there are none.
pub fn slice(s: &State, budget: &Budget) -> bool {
    let mut done = false;
    while let Some(page_in) = s.page_ins.get(s.answered_pages.first()) {
        if !budget.spend(ENTRY) {
            return done;
        }
        done = true;
        match page_in.waiters.pop_front(&ByPage(&s.waiters)) {
            Some(waiter) => go_on(s, waiter, page_in.verdict.get()),
            None => {
                if let Some(id) = s.answered_pages.pop_front(&ByAnswer(&s.page_ins)) {
                    s.memory.let_go_object(page_in.object.replace(NONE));
                    s.page_ins.give(id);
                }
            }
        }
    }
    done
}

/// One who waited goes on, or fails.
fn go_on(s: &State, waiter_id: u32, verdict: Option<Errno>) {
    let waiter = s.waiters.at(waiter_id);
    let (who, name) = (waiter.who.get(), waiter.name.get());
    s.waiters.give(waiter_id);
    match (who, verdict) {
        (Who::Context, verdict) => context_goes_on(s, name, verdict),
        (Who::Start, verdict) => chain::due(s, name, verdict),
        (Who::Send, None) => forward::send_again(s, name),
        (Who::Send, Some(error)) => {
            cursor::release(s, name);
            s.end_op(name, Err(error), 0);
        }
        (Who::Reply(words), verdict) => reply_goes_on(s, name, words, verdict),
        (Who::Work, None) => work::add(s, name),
        (Who::Work, Some(error)) => memory::end_work(s, name, Err(error)),
    }
}

fn context_goes_on(s: &State, id: u32, verdict: Option<Errno>) {
    let context = s.contexts.at(id);
    context.state.set(Run::Ready);
    if verdict.is_some() {
        context.state.set(Run::Held);
        s.say(format_args!(
            "context {} (pid {}) ended: BusError, a page of a file does not come",
            number_of::<Context>(id),
            context.pid.get(),
        ));
        count(&s.stats.killed);
        return s.end_context(id, End::Ended(Reason::BusError));
    }
    if context.marks.stop() {
        return s.stand_still(id, context);
    }
    polled::goes_on(s, context);
    s.make_ready(id);
}

/// An operation that was answered goes on with the words of its answer.
fn reply_goes_on(s: &State, id: u32, words: [u64; 2], verdict: Option<Errno>) {
    let op = s.ops.at(id);
    op.wait.set(Wait::Reply);
    let link_id = op.object.get();
    let link = s.links.at(link_id);
    match verdict {
        None => reply::take_other(s, link_id, link, words),
        Some(error) => {
            link.unbind(&s.slots, op.slot_tag.get());
            cancel::forget_notice(s, link, id);
            cursor::release(s, id);
            s.end_op(id, Err(error), 0);
        }
    }
}

/// A context waits for its page no more, whatever it does instead.
pub fn leave_context(s: &State, context: &Context) {
    drop_waiter(s, context.link.next());
}

/// An operation waits for its page no more. It is as it was before, but filed nowhere: one that works is work again.
pub fn leave_op(s: &State, id: u32) {
    let op = s.ops.at(id);
    match drop_waiter(s, op.queue.next()) {
        Who::Reply(_) => {
            let link = s.links.at(op.object.get());
            link.unbind(&s.slots, op.slot_tag.get());
            cancel::forget_notice(s, link, id);
            op.wait.set(Wait::Free);
        }
        Who::Work => work::add(s, id),
        Who::Start => op.wait.set(Wait::Chain),
        Who::Send | Who::Context => op.wait.set(Wait::Free),
    }
}

fn drop_waiter(s: &State, id: u32) -> Who {
    let waiter = s.waiters.at(id);
    s.page_ins.at(waiter.page_in.get()).waiters.remove(&ByPage(&s.waiters), id);
    let who = waiter.who.get();
    s.waiters.give(id);
    who
}

/// What an operation that cannot wait says of a page that would have to be asked for.
pub fn not_there(error: Errno) -> Errno {
    if error == ASK { Errno::IO } else { error }
}
