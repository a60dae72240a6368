//! Random changes of several spaces, in slices of random size, against a model of what each page holds.

use super::{ANYWHERE, Bed, LARGE, Random, private};
use crate::base::NONE;
use crate::mem::advise::Advice;
use crate::mem::fill::{Wanted, Where};
use crate::mem::user::Access;
use ring_abi::Errno;
use rmm::PageRights;
use std::collections::BTreeMap;

/// Pages that random addresses come from.
const BASE: u64 = 0x1000_0000 / 4096 + 500;
const SPAN: u64 = 40;

/// What a page holds: its word is in `cells` under this number, and what the program may do.
type Pages = BTreeMap<u64, (usize, PageRights, bool)>;

struct Model {
    spaces: Vec<(u32, Pages)>,
    /// The words; shared pages of several spaces have one.
    cells: Vec<u32>,
}

impl Model {
    fn fresh(&mut self, at: usize, first: u64, pages: u64, rights: PageRights, shared: bool) {
        for page in first..first + pages {
            self.cells.push(0);
            let cell = self.cells.len() - 1;
            self.spaces[at].1.insert(page, (cell, rights, shared));
        }
    }

    /// A copy of a space's pages: shared ones stay the same cells.
    fn fork(&mut self, at: usize, child: u32) {
        let mut pages = self.spaces[at].1.clone();
        for (cell, _, shared) in pages.values_mut() {
            if !*shared {
                self.cells.push(self.cells[*cell]);
                *cell = self.cells.len() - 1;
            }
        }
        self.spaces.push((child, pages));
    }
}

fn map(bed: &Bed, model: &mut Model, random: &mut Random, at: usize) {
    let (id, pages) = (model.spaces[at].0, &model.spaces[at].1);
    let count = random.below(8) + 1;
    let (first, rights, shared) = (BASE + random.below(SPAN), random.rights(), random.below(4) == 0);
    let place = match random.below(5) {
        0 => Where::Free(first),
        1 => Where::Replacing(first),
        2 => Where::Anywhere { guard: true },
        3 => Where::Near { first, guard: random.below(2) == 0 },
        _ => ANYWHERE,
    };
    let taken = pages.range(first..first + count).next().is_some();
    let wanted =
        Wanted { at: place, pages: count, rights, shared, object: NONE, populated: random.below(4) == 0 };
    match bed.map(id, &wanted, random.units()) {
        Ok(address) => {
            let got = address / 4096;
            match place {
                Where::Free(_) => assert!(got == first && !taken),
                Where::Replacing(_) => assert_eq!(got, first),
                Where::Anywhere { .. } | Where::Near { .. } => {
                    assert!(pages.range(got..got + count).next().is_none());
                }
            }
            (got..got + count).for_each(|page| assert_eq!(bed.peek(id, page), 0, "fresh memory is zero"));
            model.fresh(at, got, count, rights, shared);
        }
        // A guard page counts as taken, which the model does not know.
        Err(error) => assert!(error == Errno::EXIST && matches!(place, Where::Free(_)), "{error:?}"),
    }
}

fn unmap(bed: &Bed, model: &mut Model, random: &mut Random, at: usize) {
    let (id, pages) = &mut model.spaces[at];
    let (first, count) = (BASE - 500 + random.below(600), random.below(30) + 1);
    bed.unmap(*id, first, count, random.units()).unwrap();
    pages.retain(|page, _| !(first..first + count).contains(page));
}

fn protect(bed: &Bed, model: &mut Model, random: &mut Random, at: usize) {
    let (id, pages) = &mut model.spaces[at];
    let (first, count, rights) = (BASE + random.below(SPAN), random.below(6) + 1, random.rights());
    let range = first..first + count;
    let all = pages.range(range.clone()).count() as u64 == count;
    let result = bed.protect(*id, first, count, rights, random.units());
    assert_eq!(result.is_ok(), all, "{result:?}");
    if all {
        pages.range_mut(range).for_each(|(_, page)| page.1 = rights);
    }
}

fn advise(bed: &Bed, model: &mut Model, random: &mut Random, at: usize) {
    let (id, pages) = &mut model.spaces[at];
    let (first, count) = (BASE + random.below(SPAN), random.below(6) + 1);
    let range = first..first + count;
    let all = pages.range(range.clone()).count() as u64 == count;
    let advice = [Advice::WillNeed, Advice::DontNeed][random.below(2) as usize];
    let result = bed.advise(*id, (first, count), advice, random.units());
    assert_eq!(result.is_ok(), all, "{result:?}");
    let own = pages.range_mut(range).filter(|(_, (.., shared))| !*shared);
    match advice {
        Advice::WillNeed if all => {
            own.for_each(|(page, _)| assert!(bed.space(*id).leaf(&bed.memory, *page).is_some()));
        }
        Advice::DontNeed if all => own.for_each(|(_, (cell, ..))| {
            model.cells.push(0);
            *cell = model.cells.len() - 1;
        }),
        _ => {}
    }
}

fn write(bed: &Bed, model: &mut Model, random: &mut Random, at: usize) {
    let (id, pages) = &model.spaces[at];
    let Some((page, (cell, rights, _))) = pages.iter().nth(random.below(pages.len() as u64 + 1) as usize)
    else {
        return;
    };
    let value = random.below(1 << 30) as u32;
    let access = if random.below(4) == 0 { Access::Own } else { Access::Write };
    let may = access == Access::Own || *rights == PageRights::ReadWrite;
    assert_eq!(bed.store(*id, *page, value, access), if may { Ok(()) } else { Err(Errno::FAULT) });
    if may {
        model.cells[*cell] = value;
    }
}

fn read(bed: &Bed, model: &Model, random: &mut Random, at: usize) {
    let (id, pages) = &model.spaces[at];
    let page = BASE - 3 + random.below(SPAN + 6);
    let expected = pages.get(&page).map(|(cell, ..)| model.cells[*cell]).ok_or(Errno::FAULT);
    assert_eq!(bed.load(*id, page), expected);
}

fn compare(bed: &Bed, model: &Model) {
    let ids: Vec<u32> = model.spaces.iter().map(|(id, _)| *id).collect();
    bed.check(&ids);
    for (id, pages) in &model.spaces {
        assert!(bed.space(*id).pages.get() as usize <= pages.len());
        for (page, (cell, _, _)) in pages {
            assert_eq!(bed.peek(*id, *page), model.cells[*cell], "space {id}, page {page:#x}");
        }
    }
}

#[test]
fn spaces_behave_like_their_model() {
    for seed in 1..30 {
        let bed = Bed::new(8 << 20);
        let mut random = Random::new(seed);
        let first = bed.memory.create_space().unwrap();
        let mut model = Model { spaces: vec![(first, Pages::new())], cells: Vec::new() };
        for _ in 0..150 {
            let at = random.below(model.spaces.len() as u64) as usize;
            match random.below(22) {
                0..6 => map(&bed, &mut model, &mut random, at),
                6..10 => unmap(&bed, &mut model, &mut random, at),
                10..14 => protect(&bed, &mut model, &mut random, at),
                14..17 => write(&bed, &mut model, &mut random, at),
                17 => read(&bed, &model, &mut random, at),
                20..22 => advise(&bed, &mut model, &mut random, at),
                18 if model.spaces.len() < 4 => {
                    let child = bed.fork(model.spaces[at].0, random.units()).unwrap();
                    model.fork(at, child);
                }
                _ if model.spaces.len() > 1 => bed.end(model.spaces.swap_remove(at).0, random.units()),
                _ => {}
            }
            compare(&bed, &model);
        }
        for (id, _) in model.spaces {
            bed.end(id, random.units());
        }
        assert_eq!(bed.accounts().iter().sum::<u32>(), 0, "seed {seed}");
    }
}

#[test]
fn futexes_in_shared_memory_have_one_name() {
    let bed = Bed::new(8 << 20);
    let m = &bed.memory;
    let id = m.create_space().unwrap();
    let shared = Wanted { shared: true, ..private(Where::Free(BASE), 5) };
    bed.map(id, &shared, LARGE).unwrap();
    let own = bed.map(id, &private(ANYWHERE, 1), LARGE).unwrap();
    bed.unmap(id, BASE + 1, 1, LARGE).unwrap();
    let child = bed.fork(id, LARGE).unwrap();
    bed.unmap(child, BASE, 1, LARGE).unwrap();
    let key = |id: u32, address| bed.space(id).futex_key(m, id, address);
    for page in [BASE + 2, BASE + 4] {
        assert_eq!(key(id, page * 4096 + 8), key(child, page * 4096 + 8));
        assert_eq!(key(id, page * 4096 + 8).1, (page - BASE) * 4096 + 8);
    }
    assert_eq!(key(id, own), (id, own));
    assert_eq!(key(child, own), (child, own));
    bed.end(child, LARGE);
    bed.end(id, LARGE);
    assert_eq!(bed.accounts().iter().sum::<u32>(), 0);
}
