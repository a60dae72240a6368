//! A whole process by one submission: space, handle table, memory, program, context and the wait for its end are a chain.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::on_ring::{Check, Odd, call, gives, on_ring, same};
use crate::verdict::Verdict;
use bare::Ring;
use ring_abi::args::context::START;
use ring_abi::args::map::{EXECUTE, FIXED, PRIVATE, READ};
use ring_abi::args::{self, LOWEST};
use ring_abi::enter::{Control, RING_ENTER};
use ring_abi::errno::mux;
use ring_abi::layout::Sizes;
use ring_abi::{Opcode, Sqe, SqeFlags};

tests! {
    a_whole_process_is_one_submission,
}

/// Exit code of the program.
const CODE: u8 = 7;
/// Where it lies in its space.
const ENTRY: u64 = 0x20_0000;
const PROGRAM_BYTES: usize = 57;

/// A whole program: it puts an `Exit` into its ring, to which `rdi` points, and enters it.
fn program() -> [u8; PROGRAM_BYTES] {
    let mut code = [0x90; PROGRAM_BYTES];
    let parts: [&[u8]; 11] = [
        // mov qword [rdi + 0x80], Exit; mov qword [rdi + 0x88], CODE; mov qword [rdi + 0x90], 0
        &[0x48, 0xc7, 0x87, 0x80, 0, 0, 0],
        &u32::from(Opcode::Exit as u8).to_le_bytes(),
        &[0x48, 0xc7, 0x87, 0x88, 0, 0, 0],
        &u32::from(CODE).to_le_bytes(),
        &[0x48, 0xc7, 0x87, 0x90, 0, 0, 0, 0, 0, 0, 0],
        // mov dword [rdi + 4], 1: the tail
        &[0xc7, 0x47, 0x04, 1, 0, 0, 0],
        // mov eax, RING_ENTER; mov rsi, CALL; syscall
        &[0xb8],
        &(RING_ENTER as u32).to_le_bytes(),
        &[0x48, 0xbe],
        &Control::CALL.0.to_le_bytes(),
        &[0x0f, 0x05],
    ];
    for (place, byte) in code.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
    code
}

/// The reserved numbers of the handles that the chain makes.
struct Numbers {
    space: u64,
    table: u64,
    context: u64,
}

/// The chain, with tags from 1.
fn creation(numbers: &Numbers, code: &[u8]) -> [Sqe; 6] {
    let Numbers { space, table, context } = *numbers;
    let under = |number: u64, entry: Sqe| Sqe { group: number.wrapping_add(1) as u16, ..entry };
    let (buffer, length) = (code.as_ptr().addr() as u64, code.len() as u64);
    let flags = READ | EXECUTE | PRIVATE | FIXED;
    let sizes_flags = u64::from(Sizes::SMALLEST.packed()) | START;
    let create = args::ContextCreate { space, table, entry: ENTRY, stack: 0, argument: 0, sizes_flags };
    let linked = |entry: Sqe| entry.with_flags(SqeFlags::LINK);
    [
        linked(under(space, args::SpaceCreate {}.encode(1))),
        linked(under(table, args::TableCreate { copy: 0 }.encode(2))),
        linked(args::Map { space, address: ENTRY, length: 4096, flags }.encode(3)),
        linked(args::SpaceWrite { space, target: ENTRY, buffer, length }.encode(4)),
        linked(under(context, create.encode(5))),
        args::ContextWait { context }.encode(6),
    ]
}

fn reserve(ring: &Ring) -> Result<u64, Odd> {
    let number = ring.call(args::HandleReserve { fd: LOWEST, reserve: 1 }.encode(1));
    number.map_err(|error| Odd { step: 0, found: mux(Err(error)), wanted: 0 })
}

fn a_whole_process_is_one_submission(_: &Guest) -> Verdict {
    on_ring(|ring| {
        let code = program();
        let numbers = Numbers { space: reserve(ring)?, table: reserve(ring)?, context: reserve(ring)? };
        (0..20).try_for_each(|round| once(ring, &numbers, &code, round))
    })
}

fn once(ring: &Ring, numbers: &Numbers, code: &[u8], round: u64) -> Check {
    for entry in creation(numbers, code) {
        same(round, u64::from(ring.push(entry).is_ok()), 1)?;
    }
    same(round, ring.enter(6), 0)?;
    let Numbers { space, table, context } = *numbers;
    for (tag, wanted) in (1..).zip([space, table, ENTRY, 0, context, u64::from(CODE)]) {
        let Some(entry) = ring.pop() else { return same(round, 0, tag) };
        same(round, u64::from(entry.tag), tag)?;
        gives(tag, entry.result(), Ok(wanted))?;
    }
    [space, table, context]
        .into_iter()
        .try_for_each(|fd| call(round, ring, args::Close { fd }.encode(7), Ok(0)))
}
