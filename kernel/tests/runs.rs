//! Many reads at once, answered at once: however the replies are mixed, each read ends once, with its own bytes.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::layout::Sizes;
use ring_abi::{Cqe, Errno, Sqe, args};
use world::{DATA, Dice, Program, Ticket, World};

/// Bytes of the buffer of one read, of which the first are read into.
const BUFFER: u64 = 512;

/// A place that several reads share, before the end of a page.
const SHARED: u64 = 16384 - 2;

/// A read in flight.
struct Read {
    app: Program,
    ticket: Ticket,
    buffer: u64,
    offset: u64,
}

/// What the daemon answers a request with, which it knows by its offset: the length of its bytes, or an error.
fn answer(offset: u64) -> Result<u64, Errno> {
    match offset % 11 {
        3 => Err(Errno::IO),
        5 => Ok(500),
        7 => Ok(0),
        other => Ok(1 + other),
    }
}

/// Its bytes.
fn bytes(offset: u64, length: u64) -> Vec<u8> {
    (0..length).map(|at| (offset * 7 + at) as u8).collect()
}

/// Submits reads of two programs and two files of each, in stretches of one file, sometimes into a buffer over the end
/// of a page.
fn submit(world: &mut World, dice: &mut Dice, apps: &[(Program, [u64; 2])]) -> Vec<Read> {
    let mut reads = Vec::new();
    for &(app, files) in apps {
        let mut fd = files[0];
        for number in 0..10 + dice.roll(14) {
            if dice.one_in(6) {
                fd = dice.pick(&files).unwrap();
            }
            let buffer = DATA + if dice.one_in(9) { SHARED - number } else { number * BUFFER };
            let offset = reads.len() as u64 + dice.roll(4) * 100;
            let length = [500, 4][usize::from(dice.one_in(8))];
            let ticket = app.submit(world, args::Read { fd, buffer, length, offset }.encode(0));
            reads.push(Read { app, ticket, buffer, offset });
        }
        app.push(world);
    }
    reads
}

/// Mixes the order up a little, or a lot, or not at all.
fn mix(dice: &mut Dice, requests: &mut [Sqe]) {
    let swaps = [0, 1, 2, 30][dice.roll(4) as usize];
    for _ in 0..swaps {
        let [a, b] = [0; 2].map(|_| dice.roll(requests.len() as u64) as usize);
        requests.swap(a, b);
    }
}

#[test]
fn replies_in_any_order_end_each_read_once_with_its_own_bytes() {
    for seed in 1..150 {
        let mut dice = Dice::new(seed);
        let mut world = World::new();
        let disk = world.daemon_with("disk", 6);
        let apps: Vec<_> = (0..2)
            .map(|_| {
                let app = world.program_with(Sizes { sq: 5, cq: 6, service: None });
                (app, ["a", "b"].map(|name| app.open(&mut world, &format!("/scheme/disk/{name}"))))
            })
            .collect();
        // The second round finds the records where the first one left them.
        for _ in 0..2 {
            let reads = submit(&mut world, &mut dice, &apps);
            world.run_until_idle();
            let mut requests: Vec<_> = std::iter::from_fn(|| disk.request(&mut world)).collect();
            assert_eq!(requests.len(), reads.len(), "seed {seed}");
            mix(&mut dice, &mut requests);
            for request in requests {
                let (offset, length) = (request.args[3], request.args[2]);
                let result = answer(offset);
                let filled = bytes(offset, result.unwrap_or(0).min(length));
                disk.fill(&mut world, &request, &filled);
                disk.reply_with(&mut world, Cqe::new(request.tag, result));
                if dice.one_in(10) {
                    // It says so twice; or of something that it does not have.
                    let tag = request.tag.wrapping_add(dice.roll(2) as u32 * 0x1_0003);
                    disk.try_reply_with(&mut world, Cqe::new(tag, Ok(1)));
                }
            }
            // More than one step takes.
            world.run_until("all replies are taken", |world| disk.untaken_replies(world) == 0);
            world.run_until_idle();
            world.check();
            check(&mut world, seed, &reads);
        }
    }
}

/// Every read has ended as the daemon said.
fn check(world: &mut World, seed: u64, reads: &[Read]) {
    for read in reads {
        let result = read.app.result(world, read.ticket);
        let said = answer(read.offset);
        let Some(result) = result else { panic!("seed {seed}: the read at {} never ends", read.offset) };
        match (result, said) {
            (Err(Errno::IO), Ok(length)) => assert!(length > 4, "seed {seed}: only too many bytes are wrong"),
            (result, said) => assert_eq!(result, said, "seed {seed}"),
        }
        let is_own = read.buffer < DATA + SHARED - 4096;
        if let (true, Ok(length)) = (is_own, result) {
            let found = read.app.read(world, read.buffer, length as usize).unwrap();
            assert_eq!(found, bytes(read.offset, length), "seed {seed}");
        }
    }
}
