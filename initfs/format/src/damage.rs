//! What can be wrong with an image, said so that a person finds the place.

use core::fmt;

use crate::layout::{header, record};

/// Why an image was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Damage {
    /// Fewer bytes than the header, index and text need.
    Short {
        /// Bytes there are.
        have: u64,
        /// Bytes there should be.
        need: u64,
    },
    /// It does not begin as an image does.
    Magic,
    /// Another version of the format.
    Version(u32),
    /// The header's length is not whole pages, ends before the data begins, or
    /// says more than there is.
    Length {
        /// What the header says.
        claimed: u64,
        /// Bytes there are.
        have: u64,
    },
    /// A reserved field of the header, at this offset, is not zero.
    Reserved {
        /// Offset of the field.
        at: u64,
    },
    /// There is not even a root.
    NoRoot,
    /// Header, index or text have changed since they were written.
    Checksum {
        /// What the header says.
        stored: u64,
        /// What the bytes sum up to.
        computed: u64,
    },
    /// One record of the index is wrong.
    Node {
        /// Which one.
        node: u32,
        /// What about it.
        fault: NodeFault,
    },
}

/// What is wrong with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeFault {
    /// Neither directory, file nor symlink, or a root that is no directory.
    Kind(u32),
    /// More than permission bits.
    Mode(u32),
    /// The reserved field is not zero.
    Reserved,
    /// Not the directory that lists the node.
    Parent(u32),
    /// The name lies outside the text.
    NameRange,
    /// The name is empty, too long, `.` or `..`, holds `/` or NUL, is not UTF-8,
    /// or is given to the root.
    Name,
    /// The name is not after that of the sibling before.
    Order,
    /// The children are not the nodes after those of the directory before.
    Children,
    /// No directory lists the node.
    Unlisted,
    /// The bytes do not start at a page of the data, or end outside it.
    Data,
    /// The target lies outside the text.
    TargetRange,
    /// The target is empty, too long, holds NUL or is not UTF-8.
    Target,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("initfs image: ")?;
        match *self {
            Self::Short { have, need } => write!(f, "{have} bytes, header and index need {need}"),
            Self::Magic => f.write_str("no magic at offset 0"),
            Self::Version(version) => write!(f, "unknown version {version} at offset {}", header::VERSION),
            Self::Length { claimed, have } => {
                write!(f, "impossible length {claimed} at offset {}, {have} bytes given", header::LENGTH)
            }
            Self::Reserved { at } => write!(f, "reserved field at offset {at} is not zero"),
            Self::NoRoot => write!(f, "no nodes, by the count at offset {}", header::NODES),
            Self::Checksum { stored, computed } => {
                write!(f, "checksum is {computed:#018x}, offset {} says {stored:#018x}", header::CHECKSUM)
            }
            Self::Node { node, fault } => {
                let at = u64::from(node).wrapping_mul(record::LEN as u64).wrapping_add(header::LEN as u64);
                write!(f, "node {node} (offset {at}): {fault}")
            }
        }
    }
}

impl fmt::Display for NodeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Kind(kind) => write!(f, "kind {kind} cannot be here"),
            Self::Mode(mode) => write!(f, "mode {mode:#o} has more than permission bits"),
            Self::Reserved => f.write_str("reserved field is not zero"),
            Self::Parent(parent) => write!(f, "parent is {parent}, but another directory lists it"),
            Self::NameRange => f.write_str("name lies outside the text"),
            Self::Name => f.write_str("name is not a valid one"),
            Self::Order => f.write_str("name is not after that of the sibling before"),
            Self::Children => f.write_str("children are not the next nodes"),
            Self::Unlisted => f.write_str("no directory lists it"),
            Self::Data => f.write_str("bytes are not within the data, from a page on"),
            Self::TargetRange => f.write_str("target lies outside the text"),
            Self::Target => f.write_str("target is not a valid one"),
        }
    }
}

impl core::error::Error for Damage {}
