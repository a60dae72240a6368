//! Every interleaving of a processor that loads another space behind the lock with one that takes things away: nothing that
//! it may still reach becomes anything else.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p tickets --test loom_debt`
#![cfg(loom)]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use loom::model;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use loom::sync::{Arc, Mutex};
use loom::thread;
use tickets::Debt;

/// The space that the processor has loaded at first, and the one that it loads.
const OLD: u64 = 0x1000;
const NEW: u64 = 0x2000;

/// A processor with its debt, and two things that others may take away.
struct Place {
    /// The space that it has said to run; the lock guards it.
    root: Mutex<u64>,
    debt: Debt,
    /// Whether the tables of the old space are tables still.
    tables: AtomicBool,
    /// Whether a page is mapped in the new space, and whether it is nothing else.
    mapped: AtomicBool,
    page: AtomicBool,
}

impl Place {
    fn new() -> Arc<Place> {
        let debt = Debt {
            asked: AtomicU32::new(0),
            answered: AtomicU32::new(0),
            leaving: AtomicU64::new(Debt::NOTHING),
        };
        let [tables, mapped, page] = [(); 3].map(|()| AtomicBool::new(true));
        Arc::new(Place { root: Mutex::new(OLD), debt, tables, mapped, page })
    }

    /// The processor hands over to a context of the new space.
    fn switch(&self, is_said: bool) {
        let mut root = self.root.lock().expect("nobody fails");
        if is_said {
            self.debt.will_leave(OLD);
        }
        *root = NEW;
        drop(root);
        // It has the old one loaded until here.
        assert!(self.tables.load(Acquire), "tables that are loaded");
    }

    fn load(&self, wrongly: bool) {
        if wrongly {
            // The answer is to what was asked by the end.
            self.debt.leave(|| {});
            self.debt.has_forgotten();
        } else {
            self.debt.leave(|| assert!(self.tables.load(Acquire), "tables that are loaded"));
        }
    }

    /// It uses a page of the new space, if there is one; then again what it remembers of that.
    fn use_page(&self) {
        let remembered = self.mapped.load(Acquire);
        thread::yield_now();
        if remembered {
            assert!(self.page.load(Acquire), "a page that it remembers");
        }
    }

    /// Whether the processor may know a space.
    fn holds(&self, root: u64, space: u64) -> bool {
        root == space || self.debt.is_leaving(space)
    }
}

fn ends(is_said: bool) {
    let place = Place::new();
    let other = {
        let place = place.clone();
        thread::spawn(move || {
            let root = place.root.lock().expect("nobody fails");
            if place.holds(*root, OLD) {
                place.debt.ask();
                drop(root);
                if !place.debt.has_answered() {
                    return;
                }
            }
            place.tables.store(false, Release);
        })
    };
    place.switch(is_said);
    place.load(false);
    other.join().expect("it does not fail");
}

fn unmaps(wrongly: bool) {
    let place = Place::new();
    let other = {
        let place = place.clone();
        thread::spawn(move || {
            let root = place.root.lock().expect("nobody fails");
            place.mapped.store(false, Relaxed);
            if place.holds(*root, NEW) {
                place.debt.ask();
                drop(root);
                if !place.debt.has_answered() {
                    return;
                }
            }
            place.page.store(false, Release);
        })
    };
    place.switch(true);
    let early = wrongly && place.mapped.load(Acquire);
    place.load(wrongly);
    if early {
        assert!(place.page.load(Acquire), "a page that it remembers");
    }
    place.use_page();
    other.join().expect("it does not fail");
}

#[test]
fn a_space_that_ends_stays_until_it_is_left() {
    model(|| ends(true));
}

#[test]
fn a_page_that_is_unmapped_stays_until_it_is_forgotten() {
    model(|| unmaps(false));
}

#[test]
#[should_panic(expected = "tables that are loaded")]
fn a_space_that_is_left_unsaid_may_be_gone() {
    model(|| ends(false));
}

#[test]
#[should_panic(expected = "a page that it remembers")]
fn an_answer_to_what_was_asked_meanwhile_is_too_early() {
    model(|| unmaps(true));
}
