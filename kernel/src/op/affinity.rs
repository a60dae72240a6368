//! Which processors a context may run on.
//!
//! A context that is limited to some is marked, so its waits are odd and whoever wakes it comes by `State::wake_with`, which
//! puts it into the queue of a processor that it may run on. It is moved at once if it waits for its turn; if it runs where it
//! may not any more, that processor is poked and moves it. Contexts inherit the limits of their makers.
#![forbid(unsafe_code)]

use super::context::living;
use super::cx::Cx;
use super::turns::bit;
use super::{OpResult, Outcome};
use crate::context::context::{ANY, State as Run};
use ring_abi::args::{CURRENT, ContextAffinity};
use ring_abi::{Errno, Words};

/// Limits a context to some processors.
pub fn limit(cx: &Cx<'_>, entry: &impl Words) -> OpResult {
    let s = cx.s;
    let args = ContextAffinity::decode(entry)?;
    let (id, context) =
        if args.context == CURRENT { (cx.context_id, cx.context) } else { living(cx, args.context)? };
    let present = (0..s.memory.machine.cpus()).fold(0, |mask, cpu| mask | bit(cpu));
    let cpus = args.cpus as u16 & present;
    if cpus == 0 {
        return Err(Errno::INVAL);
    }

    context.limit(if cpus == present { ANY } else { cpus });
    match context.state.get() {
        Run::Ready if s.step.handoff() == id => {
            s.step.take_handoff();
            s.make_ready(id);
        }
        Run::Ready if cpus & bit(usize::from(context.cpu.get())) == 0 => {
            s.take_out(id);
            s.make_ready(id);
        }
        Run::Active => {
            if let Some(ring) = s.waits_in(context) {
                ring.be_odd();
            } else if let Some(cpu) = s.elsewhere(id, context) {
                if cpus & bit(cpu) == 0 {
                    s.poke(cpu);
                }
            } else {
                // It runs here, or was woken in this step: whether it may is looked at when the step ends.
                s.step.rearm();
            }
        }
        _ => {}
    }
    Ok(Outcome::Done(0))
}
