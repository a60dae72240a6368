//! Contexts: make, set up, start, stop, end, wait for the end, say who they are.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::{Op, Wait};
use super::state::{BySpace, ByWait, State};
use super::{OpResult, Outcome, page_in, polled, restrict, summon};
use crate::arch::{Regs, Start};
use crate::base::NONE;
use crate::base::budget::Budget;
use crate::base::trace::What;
use crate::context::context::{ANY, Context, Fate, State as Run};
use crate::context::file::Kind;
use crate::context::handles::Place;
use crate::context::share::Share;
use crate::context::timers::CONTEXT;
use crate::mem::user;
use crate::mem::wired::Making;
use crate::ring::place;
use ring_abi::args::{
    self, CURRENT, CallHandler, ContextCreate, ContextIdentity, ContextKill, ContextRegs, ContextStart,
    ContextStop, ContextWait, EndWord, Exit,
};
use ring_abi::context::{End, Reason, Registers};
use ring_abi::layout::Sizes;
use ring_abi::{Errno, Opcode, Words};

/// Sizes of a ring as an operation packs them; zero stands for the smallest.
pub fn sizes(packed: u32) -> Result<Sizes, Errno> {
    if packed == 0 { Ok(Sizes::SMALLEST) } else { Sizes::unpack(packed).ok_or(Errno::INVAL) }
}

/// A context on its way: its record and its ring are taken, and it is nowhere to be seen yet.
struct Fresh {
    id: u32,
    ring: u32,
    space: u32,
    table: u32,
    /// It is to run at once.
    start: bool,
}

/// Makes a context with a ring, stopped unless asked otherwise.
pub fn create(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ContextCreate::decode(entry)?;
    let flags = args.sizes_flags & !0xffff_ffff;
    if flags & !(args::context::START | args::context::FS) != 0
        || !Regs::valid_rip(args.entry)
        || !Regs::valid_rsp(args.stack)
        || !Regs::valid_base(base(&args))
    {
        return Err(Errno::INVAL);
    }
    let sizes = sizes(args.sizes_flags as u32)?;
    let space =
        if args.space == CURRENT { cx.context.space.get() } else { cx.object(args.space, Kind::Space)? };
    let table =
        if args.table == CURRENT { cx.context.table.get() } else { cx.object(args.table, Kind::Table)? };
    let start = flags & args::context::START != 0;
    let mut fresh = Fresh { id: NONE, ring: NONE, space, table, start };
    if place::is_small(sizes) {
        fresh.id = s.contexts.take(&s.memory)?;
        let ring = place::make(&s.memory, &s.rings, space, sizes, fresh.id);
        fresh.ring = ring.inspect_err(|_| s.contexts.give(fresh.id))?;
        fresh.begin_at(s, &args, place::address(&s.memory, s.rings.at(fresh.ring)));
        return fresh.finish(s, cx.context, cx.slot).map(Outcome::Done);
    }
    s.ops.ensure_one(&s.memory)?;
    fresh.id = s.contexts.take(&s.memory)?;
    let begun = place::begin(&s.memory, &s.rings, space, sizes, fresh.id);
    let (ring, mut memory) = begun.inspect_err(|_| s.contexts.give(fresh.id))?;
    fresh.ring = ring;

    fresh.begin_at(s, &args, memory.address(&s.memory));
    if memory.run(&s.memory, cx.budget) {
        place::finish(&s.memory, s.rings.at(ring), &memory, sizes);
        return fresh.finish(s, cx.context, cx.slot).map(Outcome::Done);
    }
    let Ok(id) = cx.start_op(Opcode::ContextCreate) else { crate::bug!("an operation's record was ensured") };
    hold_table(s, table);
    fresh.save(s.ops.at(id), &memory, sizes);
    super::work::add(s, id);
    Ok(Outcome::Parked)
}

/// The base of `fs` that a context starts with.
fn base(args: &ContextCreate) -> u64 {
    if args.sizes_flags & args::context::FS == 0 { 0 } else { args.argument }
}

/// Goes on with making a context that has a large ring. `false`: it has ended.
pub fn slice(s: &State, id: u32, budget: &Budget) -> bool {
    let op = s.ops.at(id);
    let (fresh, mut memory, packed) = Fresh::saved(op);
    let result = match (s.rings.get(op.ring.get()), Sizes::unpack(packed)) {
        (Some(asking), Some(sizes)) => {
            let ready = memory.run(&s.memory, budget);
            fresh.save(op, &memory, sizes);
            if !ready {
                return true;
            }
            place::finish(&s.memory, s.rings.at(fresh.ring), &memory, sizes);
            fresh.finish(s, s.contexts.at(asking.owner.get()), s.slot_of(op))
        }
        _ => {
            place::abandon(&s.memory, &s.rings, fresh.ring, memory);
            s.contexts.give(fresh.id);
            Err(Errno::CANCELED)
        }
    };
    s.end_op(id, result, 0);
    s.release_table(fresh.table);
    false
}

impl Fresh {
    fn begin_at(&self, s: &State, args: &ContextCreate, ring: u64) {
        let start = Start { rip: args.entry, rsp: args.stack, rdi: ring, rsi: args.argument, rdx: 0 };
        let regs = &s.contexts.at(self.id).regs;
        regs.start(&start);
        regs.set_fs_base(base(args));
    }

    /// The ring is ready: the context comes to life, under a handle of the asker.
    fn finish(&self, s: &State, asker: &Context, slot: u16) -> Result<u64, Errno> {
        let taken = self.take_handle(s, asker, slot).and_then(|handle| {
            let bounds = restrict::both(s, asker.bounds.get(), s.memory.space(self.space).bounds.get());
            Ok((handle, bounds.inspect_err(|_| s.files.give(handle.1))?))
        });
        let ((place, file), bounds) = taken.inspect_err(|_| {
            place::drop(&s.memory, &s.rings, self.ring);
            s.contexts.give(self.id);
        })?;

        set_up(s, self.id, self.ring, self.space, self.table);
        let context = s.contexts.at(self.id);
        // With what its maker owes: otherwise a program would get more by making ever new contexts.
        s.settle(s.home(asker));
        context.share.set(asker.share.get());
        context.cpu.set(asker.cpu.get());
        restrict::bind(s, context, bounds);
        context.pid.set(asker.pid.get());
        context.owner.set(asker.owner.get());
        context.limit(asker.cpus.get());
        s.note(What::Created, [u64::from(self.id), u64::from(self.space)]);
        s.files.at(file).open(Kind::Context, self.id, 0);
        context.refs.set(2);
        if self.start {
            let_run(s, self.id, context);
        }
        let before = s.tables.at(asker.table.get()).put(&s.chunks, place, file, 0);
        debug_assert_eq!(before, NONE, "the place was vacant");
        Ok(u64::from(place.number()))
    }

    fn take_handle(&self, s: &State, asker: &Context, slot: u16) -> Result<(Place, u32), Errno> {
        if s.memory.space(self.space).doom.get().is_some() {
            return Err(Errno::BUSY);
        }
        let place = s.vacant_for(slot, s.tables.at(asker.table.get()))?;
        Ok((place, s.files.take(&s.memory)?))
    }

    fn save(&self, op: &Op, memory: &Making, sizes: Sizes) {
        let [extent, tables] = memory.to_words();
        op.object.set(self.space);
        op.set_arg(0, extent);
        op.set_arg(1, tables);
        op.set_arg(2, u64::from(self.ring) | u64::from(self.id) << 32);
        op.set_arg(3, u64::from(self.table) | u64::from(self.start) << 32);
        op.set_arg(4, u64::from(sizes.packed()));
    }

    fn saved(op: &Op) -> (Fresh, Making, u32) {
        let fresh = Fresh {
            id: (op.arg(2) >> 32) as u32,
            ring: op.arg(2) as u32,
            space: op.object.get(),
            table: op.arg(3) as u32,
            start: op.arg(3) >> 32 != 0,
        };
        (fresh, Making::from_words([op.arg(0), op.arg(1)]), op.arg(4) as u32)
    }
}

/// Fills a fresh record whose registers are set: one ring or none, a space, and a table.
pub fn set_up(s: &State, id: u32, ring_id: u32, space: u32, table: u32) {
    let context = s.contexts.at(id);
    context.state.set(Run::Stopped);
    context.marks.set_stop(false);
    context.limit(ANY);
    context.fate.set(Fate::None);
    context.unfinished.set(None);
    context.share.set(Share::default());
    context.set_rings(ring_id);
    context.space.set(space);
    context.table.set(table);
    context.timer.set(NONE);
    context.refs.set(1);
    context.end_word.set(0);
    context.bounds.set(NONE);
    let holder = s.memory.space(space);
    context.regs.set_root(holder.root());
    holder.refs.set(holder.refs.get().wrapping_add(1));
    holder.contexts.push_back(&BySpace(&s.contexts), id);
    hold_table(s, table);
    let dormant = &s.tables.at(table).dormant;
    dormant.set(dormant.get().wrapping_add(1));
}

/// One more holder of a handle table.
fn hold_table(s: &State, id: u32) {
    let refs = &s.tables.at(id).refs;
    refs.set(refs.get().wrapping_add(1));
}

/// Puts a stopped context into the ready queue.
pub fn let_run(s: &State, id: u32, context: &Context) {
    s.stir(context);
    context.state.set(Run::Ready);
    polled::goes_on(s, context);
    s.hand(id);
}

fn target<'a>(cx: &Cx<'a>, fd: u64) -> Result<(u32, &'a Context), Errno> {
    let id = cx.object(fd, Kind::Context)?;
    Ok((id, cx.s.contexts.at(id)))
}

/// A handle's context, which must not have ended. `ESRCH`.
pub(super) fn living<'a>(cx: &Cx<'a>, fd: u64) -> Result<(u32, &'a Context), Errno> {
    let (id, context) = target(cx, fd)?;
    let goes_on = context.lives() && context.fate.get() == Fate::None && !cx.s.is_doomed(context);
    if goes_on { Ok((id, context)) } else { Err(Errno::SRCH) }
}

/// Reads or sets the registers of a stopped context; of the caller itself only the base of `fs`.
pub fn registers(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ContextRegs::decode(entry)?;
    let mut bytes = [0; size_of::<Registers>()];
    if args.set > 1 || args.length != bytes.len() as u64 {
        return Err(Errno::INVAL);
    }
    let context = if args.context == CURRENT { cx.context } else { living(cx, args.context)?.1 };
    if args.context != CURRENT && context.state.get() != Run::Stopped {
        return Err(Errno::BUSY);
    }
    let block = context.regs.block().map(|block| &s.blocks.at(block).state);
    if args.set == 0 {
        let words = context.regs.read(block).to_words();
        for (bytes, word) in bytes.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        user::write_bytes(&s.memory, cx.space(), args.buffer, &bytes)?;
        return Ok(Outcome::Done(0));
    }
    user::read_bytes(&s.memory, cx.space(), args.buffer, &mut bytes)?;
    let mut words = [0; Registers::WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let registers = Registers::from_words(words);
    if args.context == CURRENT {
        if !Regs::valid_base(registers.fs_base) {
            return Err(Errno::INVAL);
        }
        if cx.s.elsewhere(cx.context_id, context).is_some() {
            // Its turn in a chain came while the caller runs on another processor.
            return Err(Errno::BUSY);
        }
        context.regs.set_fs_base(registers.fs_base);
        // The new base takes effect when the context is resumed as another one would be.
        s.step.rearm();
        cx.s.reload.set(true);
    } else {
        context.regs.write(block, &registers)?;
    }
    Ok(Outcome::Done(0))
}

/// Lets a stopped context run.
pub fn run(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ContextStart::decode(entry)?;
    let (id, context) = living(cx, args.context)?;
    if context.state.get() == Run::Stopped {
        context.marks.set_stop(false);
        let_run(cx.s, id, context);
    } else if context.marks.stop() {
        context.marks.set_stop(false);
    } else {
        return Err(Errno::INVAL);
    }
    Ok(Outcome::Done(0))
}

/// Stops a context where it is: at once if it waits for its turn, otherwise when it would run again.
pub fn stop(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ContextStop::decode(entry)?;
    let (id, context) = living(cx, args.context)?;
    if let Some(cpu) = s.elsewhere(id, context) {
        return summon::stop(cx, args.context, id, cpu);
    }
    match context.state.get() {
        Run::Stopped => return Err(Errno::INVAL),
        Run::Ready => {
            s.take_out(id);
            s.stand_still(id, context);
        }
        _ => {
            context.marks.set_stop(true);
            if let Some(ring) = s.waits_in(context) {
                ring.be_odd();
            }
            s.step.rearm();
        }
    }
    Ok(Outcome::Done(0))
}

/// Ends a context.
pub fn kill(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ContextKill::decode(entry)?;
    let (id, context) = living(cx, args.context)?;
    if let Some(cpu) = cx.s.elsewhere(id, context) {
        return summon::kill(cx, args.context, id, cpu, End::Ended(Reason::Killed));
    }
    cx.s.end_context(id, End::Ended(Reason::Killed));
    if id == cx.context_id { Ok(Outcome::Gone) } else { Ok(Outcome::Done(0)) }
}

/// Completes when a context has ended.
pub fn wait(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ContextWait::decode(entry)?;
    let (file_id, file) = cx.file(args.context)?;
    let (target_id, context) = target(cx, args.context)?;
    if context.state.get() == Run::Ended {
        return Ok(Outcome::Done(context.end.get().to_raw()));
    }
    let id = cx.start_op(Opcode::ContextWait)?;

    let op = cx.s.ops.at(id);
    op.wait.set(Wait::End);
    op.object.set(target_id);
    op.file.set(file_id);
    file.hold(1);
    context.watchers.push_back(&ByWait(&cx.s.ops), id);
    Ok(Outcome::Parked)
}

/// Says who a context is, for the requests that it makes. Needs the identity capability.
pub fn identity(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = ContextIdentity::decode(entry)?;
    cx.object(args.capability, Kind::Identity).map_err(|_| Errno::PERM)?;
    let (_, context) = living(cx, args.context)?;

    context.pid.set(args.pid);
    context.owner.set(u64::from(args.uid) | u64::from(args.gid) << 32);
    Ok(Outcome::Done(0))
}

/// Ends the caller, or all contexts of its address space.
pub fn exit(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = Exit::decode(entry)?;
    let code = u8::try_from(args.code).map_err(|_| Errno::INVAL)?;
    if args.flags & !args::exit::SPACE != 0 {
        return Err(Errno::INVAL);
    }
    if args.flags & args::exit::SPACE != 0 && cx.context_id != cx.s.first_context.get() {
        end_space(cx, End::Exited(code));
    } else {
        cx.s.end_context(cx.context_id, End::Exited(code));
    }
    Ok(Outcome::Gone)
}

/// Ends all contexts of the caller's address space, itself as the last.
fn end_space(cx: &Cx<'_>, end: End) {
    let s = cx.s;
    let space_id = cx.context.space.get();
    if s.elsewhere(cx.context_id, cx.context).is_some() {
        // Its turn in a chain came while the caller runs on another processor: it ends like the others.
        return s.end_contexts(space_id, end, cx.budget);
    }
    let contexts = &s.memory.space(space_id).contexts;
    contexts.remove(&BySpace(&s.contexts), cx.context_id);
    contexts.push_back(&BySpace(&s.contexts), cx.context_id);
    // It may have to wait for its end, in no ring, and does not run meanwhile.
    s.set_aside(cx.context_id, cx.context);
    cx.context.state.set(Run::Held);
    s.end_contexts(space_id, end, cx.budget);
}

impl State {
    /// Takes a context out of whatever it does, since an operation of its own changes what that is. Mostly it runs; but
    /// the operation may have waited for another one, and the context may do anything now.
    pub fn set_aside(&self, id: u32, context: &Context) {
        match context.state.get() {
            Run::Ready => self.take_out(id),
            Run::Active => {
                if let Some(ring) = self.waits_in(context) {
                    ring.waits.set(0);
                }
            }
            Run::Stopped => {
                self.stir(context);
                context.marks.set_stop(true);
            }
            Run::Paging => page_in::leave_context(self, context),
            _ => {}
        }
        if context.timer.get() != NONE {
            self.timers.remove(self, id | CONTEXT);
        }
        context.unfinished.set(None);
        if let Some(block) = context.regs.detach() {
            self.blocks.give(block);
        }
    }
}

/// Names the word that is zeroed and woken when the caller ends.
pub fn end_word(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = EndWord::decode(entry)?;
    if args.address & 3 != 0 {
        return Err(Errno::INVAL);
    }
    cx.context.end_word.set(args.address);
    Ok(Outcome::Done(0))
}

/// Names the handler of system calls that are not `ring_enter`, for the caller's address space.
pub fn call_handler(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let args = CallHandler::decode(entry)?;
    if !Regs::valid_rip(args.address) {
        return Err(Errno::INVAL);
    }
    cx.space().set_call_handler(args.address, args.length);
    Ok(Outcome::Done(0))
}
