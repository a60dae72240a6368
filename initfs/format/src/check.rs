//! The one check of an image, made before anything in it is believed.
//!
//! Directories are visited in index order, and each must list the nodes right
//! after those that the directories before it list. So every node is listed
//! once, by a directory with a smaller number: the nodes are a tree, without a
//! visited set and without recursion.

use crate::damage::{Damage, NodeFault};
use crate::layout::{self, PAGE, field, header, kind, record};
use crate::read::{Image, Record, slice};

impl<'a> Image<'a> {
    /// Checks the header and divides `bytes` into its parts.
    pub(crate) fn outline(bytes: &'a [u8]) -> Result<Self, Damage> {
        let have = bytes.len() as u64;
        if have < header::LEN as u64 {
            return Err(Damage::Short { have, need: header::LEN as u64 });
        }
        if field(bytes, 0) != layout::MAGIC {
            return Err(Damage::Magic);
        }
        let version = u32::from_le_bytes(field(bytes, header::VERSION));
        if version != layout::VERSION {
            return Err(Damage::Version(version));
        }
        for (at, len) in [(header::RESERVED_WORD, 4), (header::RESERVED_TAIL, 24)] {
            if bytes.iter().skip(at).take(len).any(|byte| *byte != 0) {
                return Err(Damage::Reserved { at: at as u64 });
            }
        }
        let nodes = u32::from_le_bytes(field(bytes, header::NODES));
        if nodes == 0 {
            return Err(Damage::NoRoot);
        }
        let text = u32::from_le_bytes(field(bytes, header::TEXT));
        Self::divide(bytes, nodes, text)
    }

    /// Finds index, text and data, and believes the front once its sum is right.
    fn divide(bytes: &'a [u8], nodes: u32, text: u32) -> Result<Self, Damage> {
        let have = bytes.len() as u64;
        let need = layout::front_end(nodes, text);
        let front = slice(bytes, 0, need).ok_or(Damage::Short { have, need })?;

        let claimed = u64::from_le_bytes(field(bytes, header::LENGTH));
        let fits =
            claimed.is_multiple_of(PAGE as u64) && layout::data_start(need).is_some_and(|at| at <= claimed);
        let whole = slice(bytes, 0, claimed).filter(|_| fits).ok_or(Damage::Length { claimed, have })?;

        let stored = u64::from_le_bytes(field(bytes, header::CHECKSUM));
        let computed = layout::checksum(front);
        if stored != computed {
            return Err(Damage::Checksum { stored, computed });
        }
        let index_end = layout::front_end(nodes, 0);
        let index = slice(front, header::LEN as u64, index_end.wrapping_sub(header::LEN as u64));
        let text = slice(front, index_end, u64::from(text));
        Ok(Self {
            bytes: whole,
            records: index.unwrap_or_default().as_chunks().0,
            text: text.unwrap_or_default(),
        })
    }

    /// Checks every record.
    pub(crate) fn check_nodes(&self) -> Result<(), Damage> {
        let mut listed: u32 = 1; // the root needs no directory
        for (node, record) in (0..).zip(self.records) {
            let damage = |fault| Damage::Node { node, fault };
            if node == 0 {
                check_root(record).map_err(damage)?;
            }
            if node >= listed {
                return Err(damage(NodeFault::Unlisted));
            }
            check_plain(record).map_err(damage)?;
            match u32::from_le_bytes(field(record, record::KIND)) {
                kind::DIRECTORY => listed = self.check_directory(node, record, listed)?,
                kind::FILE => self.check_file(record).map_err(damage)?,
                kind::SYMLINK => self.check_symlink(record).map_err(damage)?,
                other => return Err(damage(NodeFault::Kind(other))),
            }
        }
        Ok(())
    }

    /// Checks that `directory` lists the nodes from `listed` on, all named and
    /// all knowing their parent. Returns the first node that it does not list.
    fn check_directory(&self, directory: u32, record: &Record, listed: u32) -> Result<u32, Damage> {
        let wrong = Damage::Node { node: directory, fault: NodeFault::Children };
        let first = u64::from_le_bytes(field(record, record::START));
        let count = u64::from_le_bytes(field(record, record::COUNT));
        let end = first.checked_add(count).and_then(|end| u32::try_from(end).ok()).ok_or(wrong)?;
        if first != u64::from(listed) {
            return Err(wrong);
        }
        let children = self.records.get(listed as usize..end as usize).ok_or(wrong)?;
        let mut before: &[u8] = b"";
        for (node, child) in (listed..).zip(children) {
            let damage = |fault| Damage::Node { node, fault };
            let parent = u32::from_le_bytes(field(child, record::PARENT));
            if parent != directory {
                return Err(damage(NodeFault::Parent(parent)));
            }
            let name = self.name_range(child).ok_or(damage(NodeFault::NameRange))?;
            if !layout::name_is_valid(name) || core::str::from_utf8(name).is_err() {
                return Err(damage(NodeFault::Name));
            }
            if name <= before {
                return Err(damage(NodeFault::Order));
            }
            before = name;
        }
        Ok(end)
    }

    fn check_file(&self, record: &Record) -> Result<(), NodeFault> {
        let start = u64::from_le_bytes(field(record, record::START));
        let count = u64::from_le_bytes(field(record, record::COUNT));
        if count == 0 {
            return if start == 0 { Ok(()) } else { Err(NodeFault::Data) };
        }
        let front = layout::front_end(
            u32::from_le_bytes(field(self.bytes, header::NODES)),
            u32::from_le_bytes(field(self.bytes, header::TEXT)),
        );
        let in_data = start >= front && start.is_multiple_of(PAGE as u64);
        if in_data && slice(self.bytes, start, count).is_some() { Ok(()) } else { Err(NodeFault::Data) }
    }

    fn check_symlink(&self, record: &Record) -> Result<(), NodeFault> {
        let start = u64::from_le_bytes(field(record, record::START));
        let count = u64::from_le_bytes(field(record, record::COUNT));
        let target = slice(self.text, start, count).ok_or(NodeFault::TargetRange)?;
        let valid = layout::target_is_valid(target) && core::str::from_utf8(target).is_ok();
        if valid { Ok(()) } else { Err(NodeFault::Target) }
    }
}

/// What holds for the root alone: a directory in itself, without a name.
fn check_root(record: &Record) -> Result<(), NodeFault> {
    let kind = u32::from_le_bytes(field(record, record::KIND));
    if kind != kind::DIRECTORY {
        return Err(NodeFault::Kind(kind));
    }
    let parent = u32::from_le_bytes(field(record, record::PARENT));
    if parent != 0 {
        return Err(NodeFault::Parent(parent));
    }
    let name: [u8; 8] = field(record, record::NAME_START);
    if name == [0; 8] { Ok(()) } else { Err(NodeFault::Name) }
}

/// What holds for every record alike.
fn check_plain(record: &Record) -> Result<(), NodeFault> {
    let mode = u32::from_le_bytes(field(record, record::MODE));
    if mode & !layout::MODE_BITS != 0 {
        return Err(NodeFault::Mode(mode));
    }
    let reserved: [u8; 4] = field(record, record::RESERVED);
    if reserved == [0; 4] { Ok(()) } else { Err(NodeFault::Reserved) }
}
