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

/// One argument of an opcode, for generated documents.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: &'static str,
    /// Index of the argument word that holds it.
    pub word: usize,
    /// What its doc comment says.
    pub text: &'static str,
}

/// The arguments of an opcode, for generated documents.
#[derive(Clone, Copy, Debug)]
pub struct Arguments {
    /// What the doc comment of their struct says, a line for each of its lines.
    pub text: &'static str,
    /// Each of them.
    pub each: &'static [Argument],
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

        /// What doc comments say of an opcode's arguments; nothing where an opcode has no struct.
        pub const fn described(opcode: Opcode) -> Option<Arguments> {
            match opcode {
                $(Opcode::$name => Some(Arguments {
                    text: concat!($($doc, "\n"),*),
                    each: &[$(Argument {
                        name: stringify!($field),
                        kind: stringify!($type),
                        word: $index,
                        text: concat!($($field_doc),*),
                    },)*],
                }),)*
                _ => None,
            }
        }
    };
}

pub(crate) use arguments;
