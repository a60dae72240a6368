//! Links whose waiting requests and notices may find room, to be sent in later steps.
#![forbid(unsafe_code)]

use super::forward;
use super::state::{ByRefill, State};
use crate::base::NONE;
use crate::scheme::link::Link;

/// Files a link that lives, to be looked at in a later step.
#[cold]
pub fn later(s: &State, id: u32) {
    let link = s.links.at(id);
    if link.lives() && !link.to_refill.replace(true) {
        s.to_refill.push_back(&ByRefill(&s.links), id);
        s.step.rearm();
    }
}

/// A link is looked at now, or dies.
pub fn forget(s: &State, id: u32, link: &Link) {
    if link.to_refill.replace(false) {
        s.to_refill.remove(&ByRefill(&s.links), id);
    }
}

/// Sends what waits at the first link that was filed, as far as the budget allows. `false`: there is none.
pub fn slice(s: &State) -> bool {
    let id = s.to_refill.first();
    if id == NONE {
        return false;
    }
    let link = s.links.at(id);
    forget(s, id, link);
    forward::refill(s, id, link);
    true
}
