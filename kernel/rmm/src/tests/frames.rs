//! The allocator: nothing is lost, nothing is had twice, and misuse is a value.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use super::{ME, OTHER, check, take_all};
use crate::fake::infos;
use crate::{Frame, Frames, KernelFrame, MAX_ORDER, Misuse, Released, UserFrame};

#[derive(Clone, Debug)]
enum Step {
    Allocate(u8),
    Free(usize),
    AllocateUser,
    AllocateRun(u8),
    Share(usize),
    Release(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..=MAX_ORDER).prop_map(Step::Allocate),
        3 => any::<usize>().prop_map(Step::Free),
        4 => proptest::strategy::Just(Step::AllocateUser),
        1 => (0..6_u8).prop_map(Step::AllocateRun),
        2 => any::<usize>().prop_map(Step::Share),
        5 => any::<usize>().prop_map(Step::Release),
    ]
}

/// What the test believes is allocated.
#[derive(Default)]
struct Model {
    blocks: Vec<(KernelFrame, u8)>,
    users: Vec<(UserFrame, u32)>,
    taken: BTreeMap<u32, u32>,
}

impl Model {
    fn take(&mut self, first: u32, count: u32) {
        let below = self.taken.range(..first + count).next_back();
        assert!(below.is_none_or(|(&start, &length)| start + length <= first), "had twice");
        self.taken.insert(first, count);
    }

    fn count(&self) -> u32 {
        self.taken.values().sum()
    }

    fn add_user(&mut self, frame: UserFrame) {
        self.take(frame.frame().number(), 1);
        self.users.push((frame, 1));
    }
}

fn apply(frames: &Frames<'_>, model: &mut Model, step: Step) {
    match step {
        Step::Allocate(order) => {
            if let Some(block) = frames.allocate(order, ME) {
                assert_eq!(block.frame().number() % (1 << order), 0, "aligned to its size");
                model.take(block.frame().number(), 1 << order);
                model.blocks.push((block, order));
            }
        }
        Step::Free(at) if !model.blocks.is_empty() => {
            let (block, order) = model.blocks.swap_remove(at % model.blocks.len());
            frames.free(block, order, ME).unwrap();
            model.taken.remove(&block.frame().number());
        }
        Step::AllocateUser => match frames.allocate_user(ME) {
            Some(frame) => model.add_user(frame),
            None => assert_eq!(frames.free_count(), 0, "fails only when nothing is left"),
        },
        Step::AllocateRun(order) => {
            if let Some(run) = frames.allocate_user_run(order, ME) {
                run.iter().for_each(|frame| model.add_user(frame));
            }
        }
        Step::Share(at) if !model.users.is_empty() => {
            let at = at % model.users.len();
            frames.share(model.users[at].0).unwrap();
            model.users[at].1 += 1;
        }
        Step::Release(at) if !model.users.is_empty() => {
            let at = at % model.users.len();
            let (frame, shares) = &mut model.users[at];
            *shares -= 1;
            let expected = if *shares == 0 { Released::Last(ME) } else { Released::Shared };
            assert_eq!(frames.release(*frame), Ok(expected));
            if *shares == 0 {
                model.taken.remove(&frame.frame().number());
                model.users.swap_remove(at);
            }
        }
        Step::Free(_) | Step::Share(_) | Step::Release(_) => {}
    }
}

proptest! {
    #[test]
    fn random_use_conserves_frames(steps in collection::vec(step(), 0..200), size in 1..3000_u32) {
        let infos = infos(size + 3);
        let frames = Frames::new(&infos);
        frames.add_range(Frame::new(3), size).unwrap(); // not aligned to anything
        let mut model = Model::default();
        for step in steps {
            apply(&frames, &mut model, step);
            assert_eq!(frames.free_count() + model.count(), size);
            for &(frame, shares) in &model.users {
                assert_eq!(frames.shares(frame), shares);
            }
        }
        check(&frames);
        while !model.blocks.is_empty() {
            apply(&frames, &mut model, Step::Free(0));
        }
        while !model.users.is_empty() {
            apply(&frames, &mut model, Step::Release(0));
        }
        check(&frames);
        assert_eq!(take_all(&frames).len() as u32, size);
    }
}

#[test]
fn what_is_freed_joins_to_the_greatest_blocks_again() {
    let infos = infos(4 << MAX_ORDER);
    let frames = Frames::new(&infos);
    frames.add_range(Frame::new(0), 4 << MAX_ORDER).unwrap();
    let singles: Vec<_> = std::iter::from_fn(|| frames.allocate_user(ME)).collect();
    for frame in singles {
        assert_eq!(frames.release(frame), Ok(Released::Last(ME)));
    }
    for _ in 0..4 {
        assert!(frames.allocate(MAX_ORDER, ME).is_some());
    }
    assert_eq!(frames.free_count(), 0);
    check(&frames);
}

#[test]
fn misuse_is_found_and_changes_nothing() {
    let infos = infos(64);
    let frames = Frames::new(&infos);
    frames.add_range(Frame::new(16), 32).unwrap();
    let block = frames.allocate(2, ME).unwrap();
    let single = frames.allocate(0, ME).unwrap();
    let user = frames.allocate_user(ME).unwrap();
    let inner = KernelFrame::of(Frame::new(block.frame().number() + 1));

    assert_eq!(frames.free(block, 1, ME), Err(Misuse::WrongOrder));
    assert_eq!(frames.free(block, 2, OTHER), Err(Misuse::WrongOwner));
    assert_eq!(frames.free(inner, 0, ME), Err(Misuse::NotAllocated));
    assert_eq!(frames.free(KernelFrame::of(user.frame()), 0, ME), Err(Misuse::WrongKind));
    assert_eq!(frames.free(KernelFrame::of(Frame::new(3)), 0, ME), Err(Misuse::NotOurs));
    assert_eq!(frames.free(KernelFrame::of(Frame::new(9999)), 0, ME), Err(Misuse::NotOurs));
    assert_eq!(frames.release(UserFrame::of(single.frame())), Err(Misuse::WrongKind));
    assert_eq!(frames.free(block, 2, ME), Ok(()));
    assert_eq!(frames.free(block, 2, ME), Err(Misuse::NotAllocated));
    assert_eq!(frames.free(single, 0, ME), Ok(()));
    assert_eq!(frames.free(single, 0, ME), Err(Misuse::NotAllocated));
    assert_eq!(frames.release(user), Ok(Released::Last(ME)));
    assert_eq!(frames.release(user), Err(Misuse::NotAllocated));
    assert_eq!(frames.share(user), Err(Misuse::NotAllocated));

    assert_eq!(frames.add_range(Frame::new(40), 20), Err(Misuse::Taken));
    assert_eq!(frames.add_range(Frame::new(60), 20), Err(Misuse::NotOurs));
    assert_eq!(frames.adopt(Frame::new(16), ME), Err(Misuse::Taken));
    assert_eq!(frames.allocate(MAX_ORDER + 1, ME), None);
    assert_eq!((frames.free_count(), frames.total()), (32, 32));
    check(&frames);
}

#[test]
fn an_adopted_frame_is_memory_once_released() {
    let infos = infos(8);
    let frames = Frames::new(&infos);
    assert!(frames.device(Frame::new(5)).is_some());
    let image = frames.adopt(Frame::new(5), ME).unwrap();
    assert_eq!(frames.device(Frame::new(5)), None);
    assert_eq!(frames.owner(image.frame()), Some(ME));
    frames.set_owner(image, OTHER).unwrap();
    assert_eq!(frames.release(image), Ok(Released::Last(OTHER)));
    assert_eq!(frames.owner(image.frame()), None);
    assert_eq!(take_all(&frames), [Frame::new(5)]);
}
