//! Random changes of spaces that map a daemon's pages, against a model of what each page holds.

use super::{ANYWHERE, Bed, Random, populated, private};
use crate::base::NONE;
use crate::mem::advise::Advice;
use crate::mem::fill::{Wanted, Where};
use crate::mem::object::Pages as Window;
use crate::mem::user::Access;
use ring_abi::Errno;
use rmm::PageRights;
use std::collections::BTreeMap;

/// Where the daemon has its file, the part of it that only the daemon writes, and all of it.
const FILE: u64 = 0x1000_0000 / 4096;
const CONSTANT: u64 = 12;
const ALL: u64 = 24;
/// Pages that random addresses come from.
const BASE: u64 = FILE + 500;
const SPAN: u64 = 40;

/// A page of a client: which one of the file it shows, and what it holds instead, if it was written.
#[derive(Clone, Copy)]
struct Page {
    of: u64,
    own: Option<u32>,
    rights: PageRights,
    shared: bool,
}

struct Model {
    daemon: u32,
    /// The first word of each page of the file.
    file: Vec<u32>,
    clients: Vec<(u32, BTreeMap<u64, Page>)>,
}

impl Model {
    fn new(bed: &Bed) -> Model {
        let daemon = bed.memory.create_space().unwrap();
        bed.map(daemon, &private(Where::Free(FILE), ALL), u32::MAX).unwrap();
        let file: Vec<u32> =
            (0..ALL as u32).map(|page| if page % 5 == 0 { 0 } else { 1000 + page }).collect();
        for (page, word) in (FILE..).zip(&file).filter(|(_, word)| **word != 0) {
            bed.store(daemon, page, *word, Access::Write).unwrap();
        }
        let client = bed.memory.create_space().unwrap();
        Model { daemon, file, clients: vec![(client, BTreeMap::new())] }
    }

    fn holds(&self, page: &Page) -> u32 {
        page.own.unwrap_or(self.file[page.of as usize])
    }

    fn map(&mut self, bed: &Bed, random: &mut Random, at: usize) {
        let (id, pages) = &mut self.clients[at];
        let shared = random.below(3) == 0;
        let of = if shared { CONSTANT + random.below(6) } else { random.below(6) };
        let count = random.below(6) + 1;
        let window = Window {
            space: self.daemon,
            first: Some(FILE + of),
            count: count as u32,
            offset: of,
            writable: shared,
            file: NONE,
        };
        let object = bed.memory.create_window(window).unwrap();
        let rights = if shared { PageRights::ReadWrite } else { random.rights() };
        let first = BASE + random.below(SPAN);
        let place = [Where::Free(first), Where::Replacing(first), ANYWHERE][random.below(3) as usize];
        let taken = pages.range(first..first + count).next().is_some();
        let wanted =
            Wanted { at: place, pages: count, rights, shared, object, populated: random.below(3) == 0 };
        let mapped = bed.map(*id, &wanted, random.units());
        bed.memory.let_go_object(object);
        let Ok(address) = mapped else {
            return assert!(matches!(place, Where::Free(_)) && taken, "{mapped:?}");
        };
        for page in 0..count {
            pages.insert(address / 4096 + page, Page { of: of + page, own: None, rights, shared });
        }
    }

    fn unmap(&mut self, bed: &Bed, random: &mut Random, at: usize) {
        let (id, pages) = &mut self.clients[at];
        let (first, count) = (BASE - 500 + random.below(560), random.below(20) + 1);
        bed.unmap(*id, first, count, random.units()).unwrap();
        pages.retain(|page, _| !(first..first + count).contains(page));
    }

    fn change(&mut self, bed: &Bed, random: &mut Random, at: usize) {
        let (id, pages) = &mut self.clients[at];
        let (first, count, rights) = (BASE + random.below(SPAN), random.below(5) + 1, random.rights());
        let range = first..first + count;
        let all = pages.range(range.clone()).count() as u64 == count;
        if random.below(2) == 0 {
            assert_eq!(bed.protect(*id, first, count, rights, random.units()).is_ok(), all);
            if all {
                pages.range_mut(range).for_each(|(_, page)| page.rights = rights);
            }
            return;
        }
        let advice = [Advice::WillNeed, Advice::DontNeed][random.below(2) as usize];
        assert_eq!(bed.advise(*id, (first, count), advice, random.units()).is_ok(), all);
        if all && advice == Advice::DontNeed {
            pages.range_mut(range).for_each(|(_, page)| page.own = None);
        }
    }

    fn write(&mut self, bed: &Bed, random: &mut Random, at: usize) {
        let value = random.below(1 << 30) as u32 + 1;
        if random.below(4) == 0 {
            // The daemon itself, where nobody has it for his own.
            let of = CONSTANT + random.below(ALL - CONSTANT);
            bed.store(self.daemon, FILE + of, value, Access::Write).unwrap();
            self.file[of as usize] = value;
            return;
        }
        let (id, pages) = &mut self.clients[at];
        let chosen = random.below(pages.len() as u64 + 1) as usize;
        let Some((number, page)) = pages.iter_mut().nth(chosen) else { return };
        let may = page.rights == PageRights::ReadWrite;
        let stored = bed.store(*id, *number, value, Access::Write);
        assert_eq!(stored, if may { Ok(()) } else { Err(Errno::FAULT) });
        if may && page.shared {
            self.file[page.of as usize] = value;
        } else if may {
            page.own = Some(value);
        }
    }

    fn fork(&mut self, bed: &Bed, random: &mut Random, at: usize) {
        let child = bed.fork(self.clients[at].0, random.units()).unwrap();
        self.clients.push((child, self.clients[at].1.clone()));
    }

    /// Compares what is there; touches some of the rest.
    fn compare(&self, bed: &Bed, random: &mut Random) {
        bed.check(&self.clients.iter().map(|(id, _)| *id).chain([self.daemon]).collect::<Vec<_>>());
        for (id, pages) in &self.clients {
            for (number, page) in pages {
                if random.below(8) == 0 || bed.space(*id).leaf(&bed.memory, *number).is_some() {
                    assert_eq!(bed.load(*id, *number), Ok(self.holds(page)), "space {id}, page {number:#x}");
                }
            }
        }
    }
}

#[test]
fn windows_behave_like_their_model() {
    for seed in 1..30 {
        let bed = Bed::new(8 << 20);
        let mut random = Random::new(seed);
        let mut model = Model::new(&bed);
        for _ in 0..150 {
            let at = random.below(model.clients.len() as u64) as usize;
            match random.below(16) {
                0..5 => model.map(&bed, &mut random, at),
                5..7 => model.unmap(&bed, &mut random, at),
                7..10 => model.change(&bed, &mut random, at),
                10..14 => model.write(&bed, &mut random, at),
                14 if model.clients.len() < 4 => model.fork(&bed, &mut random, at),
                _ if model.clients.len() > 1 => bed.end(model.clients.swap_remove(at).0, random.units()),
                _ => {}
            }
            model.compare(&bed, &mut random);
        }
        // The daemon may end first: what was touched stays.
        bed.end(model.daemon, random.units());
        let ids: Vec<u32> = model.clients.iter().map(|(id, _)| *id).collect();
        bed.check(&ids);
        ids.into_iter().for_each(|id| bed.end(id, random.units()));
        assert_eq!(bed.accounts().iter().sum::<u32>(), 0, "seed {seed}");
    }
}

#[test]
fn without_memory_a_page_of_a_window_changes_nothing() {
    let bed = Bed::new(8 << 20);
    let daemon = bed.memory.create_space().unwrap();
    bed.map(daemon, &populated(Where::Free(FILE), 4), u32::MAX).unwrap();
    bed.store(daemon, FILE, 7, Access::Write).unwrap();
    let client = bed.memory.create_space().unwrap();
    let window =
        Window { space: daemon, first: Some(FILE), count: 4, offset: 0, writable: false, file: NONE };
    let mut succeeded = false;
    for left in 0..20 {
        let before = bed.accounts();
        bed.memory.fail_after(Some(left));
        let object = bed.memory.create_window(window);
        let touched = object.and_then(|object| {
            let wanted = Wanted { object, ..private(Where::Free(BASE), 4) };
            let mapped = bed.map(client, &wanted, u32::MAX);
            bed.memory.let_go_object(object);
            mapped.and_then(|_| bed.store(client, BASE, 9, Access::Write))
        });
        bed.memory.fail_after(None);
        succeeded = touched.is_ok();
        bed.unmap(client, BASE, 4, u32::MAX).unwrap();
        assert!(succeeded || touched == Err(Errno::NOMEM));
        assert_eq!(bed.load(daemon, FILE), Ok(7));
        if succeeded {
            break;
        }
        assert_eq!(bed.accounts(), before, "with {left} allocations");
    }
    assert!(succeeded);
    bed.end(client, u32::MAX);
    bed.end(daemon, u32::MAX);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
}
