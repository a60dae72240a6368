//! Several changes of one space at once, a slice of each in turn, as sibling threads ask for them.

use super::{ANYWHERE, Bed, Random, SMALL, private};
use crate::base::budget::Budget;
use crate::mem::Run;
use crate::mem::advise::{Advice, Advise};
use crate::mem::clear::Clear;
use crate::mem::fill::{Fill, Wanted, Where};
use crate::mem::fork::Fork;
use crate::mem::protect::Protect;
use crate::mem::user::Access;
use crate::mem::wired::{self, Mapped};
use ring_abi::Errno;

const BASE: u64 = 0x1000_0000 / 4096;
const SPAN: u64 = 60;

/// A change on its way.
enum Change {
    Map(Fill),
    Unmap(Clear),
    Protect(Protect),
    Advise(Advise),
    Fork(Fork),
}

fn begin(bed: &Bed, id: u32, random: &mut Random) -> Result<Change, Errno> {
    let (memory, space) = (&bed.memory, bed.space(id));
    let (first, count) = (BASE + random.below(SPAN), random.below(20) + 1);
    match random.below(10) {
        0 | 1 => {
            let at =
                [ANYWHERE, Where::Free(first), Where::Anywhere { guard: true }][random.below(3) as usize];
            let wanted =
                Wanted { rights: random.rights(), shared: random.below(3) == 0, ..some(random, at, count) };
            Fill::start(memory, space, &wanted).map(Change::Map)
        }
        2 | 3 => {
            let wanted = some(random, Where::Replacing(first), count);
            Fill::start(memory, space, &wanted).map(Change::Map)
        }
        4 | 5 => Clear::start(memory, space, first, first + count).map(Change::Unmap),
        8 | 9 => {
            let advice = [Advice::WillNeed, Advice::DontNeed][random.below(2) as usize];
            Advise::start(space, (first, first + count), advice).map(Change::Advise)
        }
        6 => Fork::start(memory, id).map(Change::Fork),
        _ => Protect::start(memory, space, (first, first + count), random.rights()).map(Change::Protect),
    }
}

/// Memory that is there at once, or is not.
fn some(random: &mut Random, at: Where, pages: u64) -> Wanted {
    Wanted { populated: random.below(2) == 0, ..private(at, pages) }
}

/// Runs one slice, through the words in which a change waits. `false`: it has ended.
fn slice(bed: &Bed, id: u32, change: &mut Change, give_up: bool) -> bool {
    let (memory, space, budget) = (&bed.memory, bed.space(id), Budget::of(SMALL));
    let run = match change {
        Change::Map(fill) => {
            *fill = Fill::from_words(fill.to_words());
            if give_up {
                fill.abandon();
            }
            fill.run(memory, space, &budget)
        }
        Change::Unmap(clear) if give_up => clear.stop(memory, Errno::CANCELED),
        Change::Unmap(clear) => clear.run(memory, space, &budget),
        Change::Protect(protect) => {
            *protect = Protect::from_words(protect.to_words(), memory, space);
            protect.run(memory, space, &budget)
        }
        Change::Advise(_) if give_up => Run::Done(Err(Errno::CANCELED)),
        Change::Advise(advise) => {
            *advise = Advise::from_words(advise.to_words());
            advise.run(memory, space, &budget)
        }
        Change::Fork(fork) => {
            let run = if give_up { Run::Done(Err(Errno::CANCELED)) } else { fork.run(memory, &budget) };
            if matches!(run, Run::Done(_)) {
                memory.let_go_space(fork.child);
            }
            run
        }
    };
    run == Run::More
}

#[test]
fn changes_that_meet_leave_the_space_in_order() {
    for seed in 1..60 {
        let bed = Bed::new(8 << 20);
        let mut random = Random::new(seed);
        let id = bed.memory.create_space().unwrap();
        let mut changes: Vec<Change> = Vec::new();
        let mut arenas: Vec<Mapped> = Vec::new();
        for turn in 0..400 {
            if changes.len() < 5 && turn < 300 {
                changes.extend(begin(&bed, id, &mut random));
            }
            match random.below(30) {
                0 if arenas.len() < 3 => arenas.extend(super::arena(&bed.memory, id, 2 * 4096)),
                1 => arenas.drain(..).for_each(|arena| wired::release(&bed.memory, arena.block)),
                _ => {}
            }
            changes.retain_mut(|change| slice(&bed, id, change, random.below(40) == 0));
            for _ in 0..random.below(6) {
                let page = BASE + random.below(SPAN + 20);
                let access = [Access::Read, Access::Write, Access::Own][random.below(3) as usize];
                let _ = bed.space(id).reach(&bed.memory, page * 4096, access);
            }
            bed.memory.slice_ending(&Budget::of(SMALL));
            bed.memory.audit().unwrap();
        }
        for turn in 0.. {
            assert!(turn < 10_000, "changes wait for each other, seed {seed}");
            changes.retain_mut(|change| slice(&bed, id, change, false));
            if changes.is_empty() {
                break;
            }
        }
        bed.tidy(SMALL);
        bed.check(&[id]);
        arenas.drain(..).for_each(|arena| wired::release(&bed.memory, arena.block));
        bed.end(id, SMALL);
        assert_eq!(bed.accounts().iter().sum::<u32>(), 0, "seed {seed}");
    }
}
