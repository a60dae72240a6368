//! A static that is filled at boot, for values that cannot be built at compile time.

use core::cell::{Cell, UnsafeCell};
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Deref;

/// A place for one `T`, empty until the first CPU fills it at boot.
pub struct Place<T> {
    full: Cell<bool>,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: only the one CPU that runs the kernel fills the place and looks into it, with interrupts off.
unsafe impl<T> Sync for Place<T> {}

impl<T> Place<T> {
    /// An empty place.
    #[must_use]
    pub const fn empty() -> Self {
        Self { full: Cell::new(false), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Fills the place for good.
    ///
    /// # Panics
    ///
    /// If it is full already.
    pub fn fill(&'static self, value: T) -> &'static T {
        assert!(!self.full.get(), "a place is filled once");
        // SAFETY: the place is empty, so nobody has a reference into it.
        unsafe { self.value.get().write(MaybeUninit::new(value)) }
        self.full.set(true);
        // SAFETY: it was filled just now.
        unsafe { self.filled() }
    }

    /// What is there.
    ///
    /// # Safety
    ///
    /// The place must have been filled.
    #[inline(always)]
    pub unsafe fn filled(&'static self) -> &'static T {
        // SAFETY: nobody writes a full place.
        let value = unsafe { &*self.value.get() };
        // SAFETY: our caller's promise.
        unsafe { value.assume_init_ref() }
    }

    /// What is there, if there is something.
    #[inline(always)]
    pub fn look(&'static self) -> Option<&'static T> {
        if !self.full.get() {
            return None;
        }
        // SAFETY: it is full.
        Some(unsafe { self.filled() })
    }
}

/// A place that is one of a kind.
pub trait Single: 'static {
    /// What is there.
    type Value: 'static;
    /// Where.
    fn place() -> &'static Place<Self::Value>;
}

/// What is in a place that was filled. Takes no room and no register.
pub struct Filled<S>(PhantomData<S>);

impl<S> Clone for Filled<S> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Filled<S> {}

impl<S: Single> Filled<S> {
    /// What is there.
    ///
    /// # Safety
    ///
    /// The place must have been filled.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Self(PhantomData)
    }

    /// The same as a reference.
    #[inline(always)]
    pub fn get(self) -> &'static S::Value {
        // SAFETY: `new` was promised that.
        unsafe { S::place().filled() }
    }
}

impl<S: Single> Deref for Filled<S> {
    type Target = S::Value;

    #[inline(always)]
    fn deref(&self) -> &S::Value {
        self.get()
    }
}
