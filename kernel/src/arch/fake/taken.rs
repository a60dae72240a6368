//! Frames taken for a change that may still fail.

use super::FrameSource;
use rmm::Frame;

/// Frames that go back to their source unless they are kept.
pub(super) struct Taken<'s> {
    source: &'s dyn FrameSource,
    frames: Vec<Frame>,
}

impl<'s> Taken<'s> {
    pub(super) fn new(source: &'s dyn FrameSource) -> Taken<'s> {
        Taken { source, frames: Vec::new() }
    }

    /// Takes `count` frames, or fewer and `None`.
    pub(super) fn take(&mut self, count: usize) -> Option<()> {
        for _ in 0..count {
            self.frames.push(self.source.take()?);
        }
        Some(())
    }

    /// The change has succeeded.
    pub(super) fn keep(mut self) {
        self.frames.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for frame in self.frames.drain(..) {
            self.source.give(frame);
        }
    }
}
