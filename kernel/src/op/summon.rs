//! A context that runs on another processor cannot be ended or stopped by this one: it is marked, its processor is poked, and
//! does it when it enters the kernel.
//!
//! Who asked for that waits: the record is filed among the context's watchers, as one that waits for its end is. The record
//! of a stop stands first there; there is one at a time.
#![forbid(unsafe_code)]

use super::cx::Cx;
use super::inflight::Wait;
use super::state::{ByWait, State};
use super::{OpResult, Outcome};
use crate::base::NONE;
use crate::context::context::{Context, Fate, State as Run};
use crate::context::cpu::Cpu;
use ring_abi::context::End;
use ring_abi::{Errno, Opcode};

impl State {
    /// Marks a context that runs on another processor: it is to end.
    pub fn summon_to_end(&self, cpu: usize, context: &Context, end: End, fate: Fate) {
        if context.fate.get() == Fate::None {
            context.end.set(end);
        }
        context.fate.set(fate);
        self.summon(cpu);
    }

    /// Makes a processor look at the marks of the context that it runs.
    pub fn summon(&self, cpu: usize) {
        let Some(target) = self.cpus.get(cpu) else { crate::bug!("no such cpu") };
        if !target.summoned.replace(true) {
            self.memory.machine.poke(cpu);
        }
    }

    /// A context stands still or has parked: whoever waited for that hears of it.
    pub fn tell_stopper(&self, context: &Context) {
        let first = context.watchers.first();
        if first != NONE && self.ops.at(first).opcode.get() == Opcode::ContextStop {
            context.watchers.remove(&ByWait(&self.ops), first);
            self.end_op(first, Ok(0), 0);
        }
    }
}

/// This processor was summoned: the context that it runs, or ran until now, ends if it is to. `true`: it has.
pub fn answer(s: &State, cpu: &Cpu, id: u32) -> bool {
    cpu.summoned.set(false);
    if id == NONE {
        return true;
    }
    let context = s.contexts.at(id);
    if context.fate.get() == Fate::None {
        if !context.marks.stop() {
            // Somebody started it again meanwhile.
            s.tell_stopper(context);
        }
        return false;
    }
    s.end_context(id, context.end.get());
    true
}

/// A context that was summoned and is to stop does so before anything else runs, if it was taken off its processor.
pub fn stop_now(s: &State, id: u32) {
    let context = s.contexts.at(id);
    if context.marks.stop() {
        match context.state.get() {
            Run::Ready => {
                s.take_out(id);
                s.stand_still(id, context);
            }
            // It stands still when it would run again.
            Run::Active if s.waits_in(context).is_some() => s.tell_stopper(context),
            _ => {}
        }
    }
}

/// Ends a context that runs on another processor. Completes when it has ended.
pub fn kill(cx: &Cx<'_>, fd: u64, target: u32, cpu: usize, end: End) -> OpResult {
    let id = wait(cx, fd, target, Opcode::ContextKill)?;
    let context = cx.s.contexts.at(target);
    context.watchers.push_back(&ByWait(&cx.s.ops), id);
    cx.s.summon_to_end(cpu, context, end, Fate::Ends);
    Ok(Outcome::Parked)
}

/// Stops a context that runs on another processor. Completes when that has entered the kernel. `EBUSY` if somebody else is
/// about to stop it.
pub fn stop(cx: &Cx<'_>, fd: u64, target: u32, cpu: usize) -> OpResult {
    let context = cx.s.contexts.at(target);
    if context.marks.stop() {
        return Err(Errno::BUSY);
    }
    let id = wait(cx, fd, target, Opcode::ContextStop)?;
    context.watchers.push_front(&ByWait(&cx.s.ops), id);
    context.marks.set_stop(true);
    cx.s.summon(cpu);
    Ok(Outcome::Parked)
}

/// Takes a record that waits for something of a context.
fn wait(cx: &Cx<'_>, fd: u64, target: u32, opcode: Opcode) -> Result<u32, Errno> {
    let (file_id, file) = cx.file(fd)?;
    let id = cx.start_op(opcode)?;
    let op = cx.s.ops.at(id);
    op.wait.set(Wait::End);
    op.object.set(target);
    op.file.set(file_id);
    file.hold(1);
    Ok(id)
}
