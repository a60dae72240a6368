//! The kernel's accounts, looked at from outside, beside its own audit: holders of files, and what must be
//! the same at two moments with the same programs and files.

use kernel::base::NONE;
use kernel::base::list::Chain;
use kernel::context::file::Kind;
use kernel::entry::kernel::Kernel;
use kernel::mem::frames::Use;
use kernel::op::inflight::Wait;
use kernel::op::state::ByName;
use ring_abi::Opcode;
use std::collections::HashMap;

/// What the system uses: records and frames by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts(Vec<(&'static str, u32)>);

impl Accounts {
    /// The same with another number of one kind.
    pub fn with(mut self, kind: &str, count: u32) -> Accounts {
        let row = self.0.iter_mut().find(|(name, _)| *name == kind).expect("such a kind");
        row.1 = count;
        self
    }
}

/// What a kernel uses. Memory of tables that have grown is left out: it stays for the next.
pub fn accounts(kernel: &Kernel) -> Accounts {
    let s = &kernel.state;
    let m = &s.memory;
    // Each processor that has ever entered keeps one in hand, and the one that it loaded last.
    let others = s.cpus.iter().skip(1).filter(|cpu| cpu.spare.get() != NONE).count();
    let lent = s.cpus.iter().filter(|cpu| cpu.lent.get() != NONE).count();
    let blocks = s.blocks.live() - (others + lent) as u32;
    Accounts(vec![
        ("contexts", s.contexts.live()),
        ("state blocks", blocks),
        ("rings", s.rings.live()),
        ("operations", s.live_ops()),
        ("ties of operations", s.ties.live()),
        ("lines of rings", s.lines.live()),
        ("handle tables", s.tables.live()),
        ("parts of handle tables", s.chunks.live()),
        ("files", s.files.live()),
        ("links", s.links.live()),
        ("request slots", s.slots.live()),
        ("names", s.names.live()),
        ("outfits of rings", s.outfits.live()),
        ("groups", s.groups.live()),
        ("pins", m.pins.live()),
        ("pinned pages", m.pinned.live()),
        ("channels", kernel::op::sys::live_channels(s)),
        ("bounds", s.bounds.live()),
        ("ports", s.ports.live()),
        ("deadlines", s.timers.len()),
        ("spaces", m.spaces.live()),
        ("regions", m.regions.live()),
        ("objects", m.objects.live()),
        ("wired blocks", m.blocks.live()),
        ("frames of tables", m.used(Use::Tables)),
        ("frames of programs", m.used(Use::Program)),
        ("frames of rings", m.used(Use::Rings)),
        ("frames of arenas", m.used(Use::Arenas)),
        ("frames of the image", m.used(Use::Image)),
    ])
}

/// Every file is held as often as handles and operations lead to it.
pub fn check(kernel: &Kernel) -> Result<(), String> {
    let s = &kernel.state;
    let mut holders = HashMap::<u32, u32>::new();
    for table in s.tables.names().map(|id| s.tables.at(id)) {
        let mut at = 0;
        while let Some((number, file, _)) = table.next(&s.chunks, at) {
            *holders.entry(file).or_default() += 1;
            at = number + 1;
        }
    }
    for op in s.ops.names().map(|id| s.ops.at(id)) {
        if op.wait.get() == Wait::Free {
            continue;
        }
        let sends = matches!(op.opcode.get(), Opcode::Sendfd | Opcode::MessageHandle);
        let sent = if sends { op.arg(0) as u32 } else { NONE };
        for file in [op.file.get(), sent].into_iter().filter(|file| *file != NONE) {
            *holders.entry(file).or_default() += 1;
        }
    }
    for file in s.memory.objects.names().filter_map(|id| s.memory.objects.at(id).file()) {
        *holders.entry(file).or_default() += 1;
    }
    let mut at = s.name_list.first();
    while at != NONE {
        let root = s.names.at(at).root.get();
        if root != NONE {
            *holders.entry(root).or_default() += 1;
        }
        at = ByName(&s.names).link(at).next();
    }
    for id in s.files.names() {
        let file = s.files.at(id);
        let count = holders.get(&id).copied().unwrap_or(0);
        let refs = if file.kind.get() == Kind::Free { 0 } else { file.refs.get() };
        if refs != count {
            return Err(format!("file {id} ({:?}) says {refs} holders, there are {count}", file.kind.get()));
        }
    }
    Ok(())
}

/// What the kernel has put off, in words.
pub fn work(kernel: &Kernel) -> String {
    let s = &kernel.state;
    let lists = [
        ("operations", s.work.first()),
        ("due operations", s.due.first()),
        ("ending contexts", s.ending.first()),
        ("dying links", s.dying_links.first()),
        ("dying tables", s.dying_tables.first()),
        ("dying ports", s.dying_ports.first()),
        ("channels", s.channel_work.first()),
        ("to refill", s.to_refill.first()),
    ];
    let waiting = lists.iter().filter(|(_, first)| *first != NONE);
    let names: Vec<_> = waiting.map(|(name, first)| format!("{name} from {first}")).collect();
    let first = s.work.first();
    let op = if first == NONE { String::new() } else { format!("{:?}", s.ops.at(first)) };
    format!("{names:?}, memory is idle: {}; {op}", s.memory.is_idle())
}
