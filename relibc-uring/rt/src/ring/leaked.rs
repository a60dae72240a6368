//! Memory that stays as long as its thread: tables and the ends of rings, of which everybody here may keep a `&'static`.
#![allow(unsafe_code, reason = "what was leaked is given back when its thread ends")]

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;
use core::ptr::NonNull;

/// Boxes that were leaked.
pub(crate) struct Leaked<T: ?Sized>(Cell<Vec<NonNull<T>>>);

impl<T: ?Sized + 'static> Leaked<T> {
    /// None.
    pub(crate) const fn new() -> Leaked<T> {
        Leaked(Cell::new(Vec::new()))
    }

    /// Leaks a box.
    pub(crate) fn keep(&self, memory: Box<T>) -> &'static T {
        let place = NonNull::from(Box::leak(memory));
        let mut all = self.0.take();
        all.push(place);
        self.0.set(all);
        // SAFETY: it was leaked, and who gives it back promises that nobody uses it any more.
        unsafe { place.as_ref() }
    }

    /// Drops what was leaked.
    ///
    /// # Safety
    ///
    /// Nobody may use a reference into it any more.
    pub(crate) unsafe fn give_back(&self) {
        for place in self.0.take() {
            // SAFETY: `keep` leaked this box; the list is taken, so it is given back once, and our caller promises the rest.
            drop(unsafe { Box::from_raw(place.as_ptr()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::rc::Rc;

    #[test]
    fn what_was_kept_is_dropped_once_it_is_given_back() {
        let witness = Rc::new(());
        let leaked: Leaked<[Rc<()>]> = Leaked::new();
        let one = leaked.keep(Box::new([witness.clone()]));
        leaked.keep(Box::new([witness.clone(), witness.clone()]));
        assert!(Rc::ptr_eq(&one[0], &witness));
        assert_eq!(Rc::strong_count(&witness), 4);
        // SAFETY: `one` is used no more.
        unsafe { leaked.give_back() };
        assert_eq!(Rc::strong_count(&witness), 1);
        // SAFETY: nothing is there.
        unsafe { leaked.give_back() };
        assert_eq!(Rc::strong_count(&witness), 1);
    }
}
