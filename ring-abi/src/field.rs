//! What an argument struct is made of: values that fit a word, and the macro that makes structs and their `encode` and
//! `decode` of a table.
#![forbid(unsafe_code)]

use crate::Errno;

/// A value that travels in one argument word.
pub trait Field: Sized {
    /// The word.
    fn to_word(self) -> u64;
    /// The value, if the word is one.
    fn from_word(word: u64) -> Result<Self, Errno>;
}

impl Field for u64 {
    #[inline(always)]
    fn to_word(self) -> u64 {
        self
    }
    #[inline(always)]
    fn from_word(word: u64) -> Result<Self, Errno> {
        Ok(word)
    }
}

impl Field for u32 {
    #[inline(always)]
    fn to_word(self) -> u64 {
        u64::from(self)
    }
    #[inline(always)]
    fn from_word(word: u64) -> Result<Self, Errno> {
        u32::try_from(word).map_err(|_| Errno::INVAL)
    }
}

macro_rules! arguments {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[doc = $field_doc:literal])* $field:ident: $type:ty = $index:literal,)* })*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name { $($(#[doc = $field_doc])* pub $field: $type,)* }

            impl $name {
                /// The operation that takes these arguments.
                pub const OPCODE: Opcode = Opcode::$name;

                /// The entry that asks for it.
                #[inline(always)]
                pub fn encode(self, tag: u32) -> Sqe {
                    #[allow(unused_mut, reason = "some operations have no arguments")]
                    let mut sqe = Sqe::new(Opcode::$name, tag, [0; 6]);
                    $(sqe.args[$index] = self.$field.to_word();)*
                    sqe
                }

                /// Reads the arguments of an entry.
                #[inline(always)]
                pub fn decode(words: &impl Words) -> Result<Self, Errno> {
                    let _ = words;
                    Ok($name { $($field: <$type>::from_word(words.arg($index))?,)* })
                }
            }
        )*

        /// Names and word indices of each opcode's arguments, for tracers and generated documents.
        pub const fn fields(opcode: Opcode) -> &'static [(&'static str, usize)] {
            match opcode {
                $(Opcode::$name => &[$((stringify!($field), $index),)*],)*
                _ => &[],
            }
        }
    };
}

pub(crate) use arguments;
