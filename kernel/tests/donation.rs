//! Who pays for the processor: time that is given along a chain of handoffs, and what happens to it when somebody in the
//! middle is cancelled, ends, or moves to another processor.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]
#![allow(unreachable_pub, reason = "modules of a test")]

mod world;

use ring_abi::SqeFlags;
use ring_abi::args;
use world::{FIRST, World};

/// Memory of worlds with several processors.
const MEMORY: usize = 32 << 20;

/// The first program sleeps until everything is over.
fn leave_alone(world: &mut World) {
    let timeout = args::Timeout { nanoseconds: u64::MAX / 2, flags: args::timeout::ABSOLUTE };
    FIRST.submit(world, timeout.encode(0));
    FIRST.wait(world, 1);
}

#[test]
fn a_daemon_that_pays_and_is_woken_as_it_waits_can_go_to_another_processor() {
    let mut world = World::with_cpus(MEMORY, 2);
    let disk = world.daemon("disk");
    let client = world.program();
    let file = client.open(&mut world, "/scheme/disk/a");
    leave_alone(&mut world);
    world.give_cpu(client);
    let read = |offset| args::Read { fd: file, buffer: world::DATA, length: 8, offset }.encode(0);
    client.submit(&mut world, read(1).with_flags(SqeFlags::LINK));
    client.submit(&mut world, read(2));
    client.wait(&mut world, 1);
    // It has the processor, and whoever enters and goes on pays.
    world.give_cpu(disk.program);
    disk.program.submit(&mut world, args::Nop {}.encode(0));
    disk.program.push(&mut world);
    let pays = |world: &World| world.kernel.state.cpus[world.cpu()].payer.get();
    assert_eq!(pays(&world), world.context_of(disk.program));
    // The step in which it waits answers the first read, which wakes the client here, and starts the second, which wakes it
    // itself: elsewhere, where a processor sleeps.
    let request = disk.request(&mut world).expect("the first read");
    disk.reply(&mut world, request, Ok(8));
    disk.wait(&mut world);
    world.check();
    assert!(world.take_pokes() && world.find(disk.program), "the other processor runs it");
    assert_eq!(pays(&world), world.context_of(disk.program));
    let request = disk.request(&mut world).expect("the second read");
    assert_eq!(request.args[3], 2);
    disk.reply(&mut world, request, Ok(8));
    disk.wait(&mut world);
    world.run_until_idle();
    assert_eq!(client.returned(&mut world), Some(0));
    world.check();
}
