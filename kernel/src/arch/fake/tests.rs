//! The fake machine keeps the promises that the kernel's tests build on.

use super::{FrameSource, IRQ_SERIAL, IRQ_TEST, Machine, NoMemory, Regs, Slab, StateBlock, UserPtr, Wired};
use ring_abi::context::Registers;
use ring_abi::layout::Sizes;
use rmm::{Frame, FrameInfo, Frames, Owner};
use std::cell::RefCell;

const MEMORY: usize = 4 << 20;

/// Frames that can run out.
struct Stock(RefCell<Vec<Frame>>);

impl Stock {
    fn new(count: u32) -> Stock {
        Stock(RefCell::new((0..count).map(Frame::new).collect()))
    }

    fn left(&self) -> usize {
        self.0.borrow().len()
    }
}

impl FrameSource for Stock {
    fn take(&self) -> Option<Frame> {
        self.0.borrow_mut().pop()
    }
    fn give(&self, frame: Frame) {
        self.0.borrow_mut().push(frame);
    }
}

#[test]
fn a_table_grows_by_frames_and_never_moves() {
    let machine = Machine::new(MEMORY);
    let stock = Stock::new(4);
    let slab: Slab<[u64; 4]> = Slab::reserve(&machine, 300);
    assert!(slab.is_empty());
    slab.grow(&machine, &stock).unwrap();
    assert_eq!((slab.len(), slab.frames(), stock.left()), (128, 1, 2));
    let first: *const _ = slab.get(0).unwrap();
    slab.grow(&machine, &stock).unwrap();
    slab.grow(&machine, &stock).unwrap();
    assert_eq!((slab.len(), stock.left()), (300, 0));
    assert_eq!(first, slab.get(0).unwrap() as *const _);
    assert!(slab.get(300).is_none());
    assert_eq!(slab.grow(&machine, &Stock::new(9)), Err(NoMemory));
}

#[test]
fn a_failed_growth_gives_its_frames_back() {
    let machine = Machine::new(MEMORY);
    let slab: Slab<[[u64; 32]; 32]> = Slab::reserve(&machine, 10);
    let stock = Stock::new(2);
    assert_eq!(slab.grow(&machine, &stock), Err(NoMemory));
    assert_eq!((slab.len(), stock.left()), (0, 2));
    machine.fail_after(Some(1));
    let stock = Stock::new(9);
    slab.grow(&machine, &stock).unwrap();
    assert_eq!(slab.grow(&machine, &stock), Err(NoMemory));
    machine.fail_after(None);
    slab.grow(&machine, &stock).unwrap();
    assert_eq!((slab.len(), stock.left()), (2, 4));
}

#[test]
fn shared_memory_is_the_same_from_both_sides() {
    let machine = Machine::new(MEMORY);
    let infos: Vec<FrameInfo> = (0..1024).map(|_| FrameInfo::new()).collect();
    let frames = Frames::new(&infos);
    let (first, count) = machine.usable();
    frames.add_range(first, count).unwrap();
    let run = frames.allocate_user_run(1, Owner(0)).unwrap();
    let wired = Wired::new(&machine, run.get(0).unwrap(), 2);

    let ring = wired.ring(&machine, 768, Sizes::SMALLEST).unwrap();
    ring.header(3).store(17, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(machine.load_u32(wired.at(768 + 12).unwrap()), 17);
    assert_eq!(ring.address() as u64, machine.hosted_address(run.get(0).unwrap()) + 768);

    assert!(wired.ring(&machine, 32, Sizes::SMALLEST).is_none(), "not aligned");
    assert!(wired.ring(&machine, 8192 - 704, Sizes::SMALLEST).is_none(), "too long");
    assert!(wired.ring(&machine, usize::MAX - 63, Sizes::SMALLEST).is_none());
    assert!(wired.at(8192).is_none());
}

#[test]
fn a_hosted_space_uses_host_addresses() {
    let machine = Machine::new(MEMORY);
    let root = Frame::new(7);
    assert!(!machine.linear(root));
    // SAFETY: only the buffer below is passed, and nothing refers to it while it is written.
    unsafe { machine.host_space(root) };
    machine.activate(root);
    let mut buffer = Box::new([0_u8; 8]);
    let address = buffer.as_mut_ptr().expose_provenance() as u64;
    machine.write_user(machine.linear_pointer(address), b"hosted");
    assert_eq!(&*buffer, b"hosted\0\0");
    let mut bytes = [0; 6];
    machine.read_virtual(address, &mut bytes).unwrap();
    assert_eq!(&bytes, b"hosted");
    machine.unhost_space(root);
    assert!(!machine.linear(root));
}

#[test]
fn time_and_lines_are_inputs() {
    let machine = Machine::new(MEMORY);
    assert_eq!(machine.timer(), None);
    machine.set_timer(machine.now(), machine.now() + 10);
    machine.advance(9);
    assert!(!machine.take_timer());
    machine.advance(1);
    assert!(machine.take_timer() && !machine.take_timer());

    machine.raise_test_irq();
    assert_eq!(machine.take_irq(), None, "not let through");
    machine.irq_enable(IRQ_TEST, true);
    machine.irq_enable(IRQ_SERIAL, true);
    machine.type_in(b"x");
    assert_eq!([machine.take_irq(), machine.take_irq()], [Some(IRQ_SERIAL), Some(IRQ_TEST)]);
    assert_eq!((machine.take_irq(), machine.serial_read()), (None, Some(b'x')));
    machine.serial_write(b"hello");
    assert_eq!(machine.printed(), "hello");
    assert_eq!(machine.printed(), "");
}

#[test]
fn entering_saves_what_the_stubs_save() {
    let machine = Machine::new(MEMORY);
    let (regs, block) = (Regs::default(), StateBlock::default());
    machine.set_current(&regs);
    machine.set_spare(&block);
    let registers = Registers { rip: 1, rsp: 2, rax: 3, rbx: 4, ..Registers::default() };
    machine.save_at_enter(&registers);
    assert_eq!(regs.resumed(None).rbx, 4);
    machine.save_at_event(&registers);
    assert_eq!(regs.resumed(Some(&block)).rax, 3);
    let copy = StateBlock::default();
    machine.copy_state(&copy, &block);
    regs.divert(&copy, 0x99);
    let diverted = regs.resumed(Some(&copy));
    assert_eq!((diverted.rip, diverted.rcx, regs.resumed(Some(&block)).rip), (0x99, 1, 1));
}

#[test]
#[should_panic(expected = "not in a frame")]
fn a_place_outside_its_frame_is_caught() {
    let machine = Machine::new(MEMORY);
    let infos: Vec<FrameInfo> = (0..1024).map(|_| FrameInfo::new()).collect();
    let frames = Frames::new(&infos);
    let (first, count) = machine.usable();
    frames.add_range(first, count).unwrap();
    UserPtr::new(frames.allocate_user(Owner(0)).unwrap(), 4096);
}
