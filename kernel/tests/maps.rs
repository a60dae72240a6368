//! `sys/maps`: every region, however it is read, and what of it is in memory.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test stops where something is wrong"
)]

mod world;

use ring_abi::args::{self, CURRENT, map};
use ring_abi::layout::Sizes;
use world::{DATA, Program, World, read};

const PAGE: u64 = 4096;
const RW: u64 = map::READ | map::WRITE;

/// Reads the file to its end, so many bytes at a time.
fn text(world: &mut World, app: Program, piece: u64) -> String {
    let fd = app.open(world, "/scheme/sys/maps");
    let mut all = Vec::new();
    loop {
        let count = app.call(world, read(fd, DATA, piece)).unwrap();
        if count == 0 {
            break;
        }
        all.extend(app.peek(world, DATA, count as usize));
    }
    app.call(world, args::Close { fd }.encode(0)).unwrap();
    String::from_utf8(all).unwrap()
}

fn maps(world: &mut World, app: Program, pages: u64, flags: u64) -> u64 {
    let entry = args::Map { space: CURRENT, address: 0, length: pages * PAGE, flags };
    app.call(world, entry.encode(0)).unwrap()
}

/// Lines about a region that begins at an address.
fn lines(text: &str, at: u64) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let begins = format!("{at:x}-");
    for line in text.lines().filter(|line| *line != "-") {
        let words: Vec<_> = line.split(' ').collect();
        let goes_on = found.last().is_some_and(|last| last.last() == Some(&"+"));
        if words[2].starts_with(&begins) || goes_on {
            found.push(words);
        }
    }
    found
}

#[test]
fn a_region_says_what_of_it_is_in_memory_and_whose() {
    let mut world = World::new();
    let app = world.program_with(Sizes::SMALLEST);
    world.identify(app, 77, 0, 0);
    let at = maps(&mut world, app, 10, RW | map::PRIVATE);
    for page in [1, 2, 7] {
        assert!(app.write(&mut world, at + page * PAGE, b"x"));
    }
    // The page of zeros is nobody's.
    app.read(&mut world, at + 5 * PAGE, 1).unwrap();
    let all = text(&mut world, app, 200);
    let found = lines(&all, at);
    let [line] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(line[1], "77");
    assert_eq!(line[2], format!("{at:x}-{:x}", at + 10 * PAGE));
    assert_eq!(line[3..], ["rw-", "memory", "12288", "0", "12288"]);

    let space = app.call(&mut world, args::SpaceFork {}.encode(0)).unwrap();
    let all = text(&mut world, app, 200);
    assert_eq!(lines(&all, at)[0][5..], ["12288", "12288", "0"], "a fork shares them");
    app.call(&mut world, args::Close { fd: space }.encode(0)).unwrap();
    world.run_until_idle();
    let all = text(&mut world, app, 200);
    assert_eq!(lines(&all, at)[0][5..], ["12288", "0", "12288"]);
}

#[test]
fn pieces_of_any_size_give_the_same_text() {
    let mut world = World::new();
    let app = world.program_with(Sizes::SMALLEST);
    for pages in 1..20 {
        maps(&mut world, app, pages, if pages % 2 == 0 { RW } else { map::READ } | map::PRIVATE);
    }
    let whole = text(&mut world, app, 4000);
    assert!(whole.lines().count() > 10);
    for piece in [1, 7, 64, 255, 1000] {
        assert_eq!(text(&mut world, app, piece), whole, "{piece} bytes at a time");
    }
}

#[test]
fn a_large_region_takes_several_lines() {
    const PAGES: u64 = 1500;
    let mut world = World::new();
    let app = world.program_with(Sizes::SMALLEST);
    let at = maps(&mut world, app, PAGES, RW | map::PRIVATE | map::POPULATE);
    world.run_until_idle();
    let all = text(&mut world, app, 4000);
    let found = lines(&all, at);
    assert!(found.len() > 1, "{found:?}");
    let resident: u64 = found.iter().map(|line| line[5].parse::<u64>().unwrap()).sum();
    assert_eq!(resident, PAGES * PAGE);
    assert!(found.last().unwrap()[2].ends_with(&format!("-{:x}", at + PAGES * PAGE)));
}
