//! The control words of floating point, which belong to a context like its registers.
#![allow(unsafe_code, reason = "single instructions")]

/// MXCSR and the x87 control word of a program that changed neither.
pub const START: Words = Words { mxcsr: 0x1f80, fcw: 0x37f };

/// MXCSR and the x87 control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// MXCSR.
    pub mxcsr: u32,
    /// The x87 control word.
    pub fcw: u16,
}

impl Words {
    /// What this context has now.
    pub fn read() -> Words {
        let mut words = Words { mxcsr: 0, fcw: 0 };
        // SAFETY: the two places are ours and as long as what is stored there.
        unsafe {
            core::arch::asm!(
                "stmxcsr [{mxcsr}]",
                "fnstcw [{fcw}]",
                mxcsr = in(reg) &raw mut words.mxcsr,
                fcw = in(reg) &raw mut words.fcw,
                options(nostack, preserves_flags),
            );
        }
        words
    }

    /// Gives them to this context, which must not calculate with fractions until it has given itself [`START`] again.
    pub fn load(self) {
        // SAFETY: the two places are ours; all values that are used here differ from the usual ones in how is rounded,
        // and nobody rounds.
        unsafe {
            core::arch::asm!(
                "ldmxcsr [{mxcsr}]",
                "fldcw [{fcw}]",
                mxcsr = in(reg) &raw const self.mxcsr,
                fcw = in(reg) &raw const self.fcw,
                options(nostack, preserves_flags, readonly),
            );
        }
    }
}
