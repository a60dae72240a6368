//! The manual: `docs/rings.md` is what this crate says, and what this crate says is whole.
#![cfg(not(loom))]

use ring_abi::manual::{CALLS, FEATURES, State, document, open_read_close, page};
use ring_abi::opcode::Origin;
use ring_abi::{CqeFlags, Opcode, SqeFlags, args, enter};
use std::collections::HashSet;

#[test]
fn the_document_in_the_tree_is_the_one_that_this_crate_writes() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/rings.md");
    let found = std::fs::read_to_string(place).unwrap_or_default();
    assert!(found == document(), "docs/rings.md is stale: run `cargo xtask docs`");
}

#[test]
fn an_example_is_an_entry_of_its_opcode_that_survives_the_wire() {
    for &opcode in Opcode::ALL {
        let is_asked = matches!(opcode.origin(), Origin::Forwarded | Origin::Kernel);
        let Some(example) = page(opcode).example else {
            assert!(!is_asked && args::described(opcode).is_none(), "{opcode:?} has no example");
            continue;
        };
        let entry = (example.entry)();
        assert_eq!(entry.opcode, opcode.raw(), "{opcode:?}");
        let flags = SqeFlags::from_bits_retain(entry.flags);
        assert!(!is_asked || opcode.flags().contains(flags), "{opcode:?} takes no {flags:?}");
        let again = (example.again)(&entry).unwrap_or_else(|error| panic!("{opcode:?}: {error:?}"));
        let plain = ring_abi::Sqe { flags: 0, group: 0, ..entry };
        assert_eq!(again, plain, "{opcode:?}");
        let text = example.text();
        assert!(text.contains(opcode.name()) && text.contains(".encode("), "{opcode:?}: {text:?}");
    }
}

#[test]
fn a_chain_is_linked_up_to_its_end_and_names_its_handle() {
    let [open, read, close] = open_read_close(100);
    let links = |entry: ring_abi::Sqe| {
        let flags = SqeFlags::from_bits_retain(entry.flags);
        assert!(Opcode::from_raw(entry.opcode).is_some_and(|opcode| opcode.flags().contains(flags)));
        flags.intersects(SqeFlags::LINK | SqeFlags::HARD_LINK)
    };
    assert_eq!([open, read, close].map(links), [true, true, false]);
    assert!(Opcode::OpenAt.makes_handle() && open.group == 101);
    assert_eq!((args::Read::decode(&read).map(|read| read.fd), close.args[0]), (Ok(100), 100));
}

#[test]
fn an_example_of_the_call_has_flags_that_exist() {
    for call in CALLS {
        let [number, control, deadline] = call(7);
        let flags = enter::Control(control).flags();
        assert_eq!((number, flags & !enter::ALL), (enter::RING_ENTER, 0));
        assert_eq!(flags & enter::DEADLINE != 0, deadline == 7);
    }
}

#[test]
fn every_link_leads_to_a_heading() {
    let text = document();
    let letters = |heading: &str| -> String {
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let mut anchors = HashSet::new();
    for line in text.lines().filter(|line| line.starts_with('#')) {
        let heading = line.trim_start_matches('#').trim();
        assert!(anchors.insert(letters(heading)), "two headings {heading:?}");
    }
    let mut count = 0;
    for link in text.split("](#").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(anchors.contains(link), "no heading for {link:?}");
        count += 1;
    }
    assert!(count > Opcode::ALL.len(), "the index alone has more links");
    assert!(!text.contains("crate::"), "a link's path was left");
}

#[test]
fn nothing_that_has_a_name_is_left_out() {
    let text = document();
    let flags = SqeFlags::all().iter_names().map(|(name, flag)| (name, u64::from(flag.bits())));
    let flags = flags.chain(CqeFlags::all().iter_names().map(|(name, flag)| (name, u64::from(flag.bits()))));
    for (name, _) in flags {
        assert!(text.contains(&format!("\n| `{name}` | `")), "flag {name} is missing");
    }
    for &opcode in Opcode::ALL {
        assert!(text.contains(&format!("\n### {} `{}`\n", opcode.raw(), opcode.name())), "{opcode:?}");
        for (name, word) in args::fields(opcode) {
            let described = args::described(opcode).map_or(&[][..], |described| described.each);
            let each = described.iter().find(|each| each.name == *name && each.word == *word);
            assert!(each.is_some_and(|each| !each.text.is_empty()), "{opcode:?}: {name}");
        }
    }
    // The words of the header and the flags of the call are found by reading, so they are counted.
    let (_, call) = text.split_once("### Its flags and numbers").expect("the section");
    let named = call.split("\n#").next().unwrap_or_default();
    let bits = enter::ALL.count_ones() as usize;
    assert_eq!(named.matches("| Flag").count(), bits, "flags of the call");
    for word in ["SQ_HEAD", "FLAGS", "SIZES", "CQ_SLEEPS", "RP_SLEEPS", "NEED_ENTER"] {
        assert!(text.contains(&format!("\n| `{word}` | `")), "{word} is missing");
    }
}

#[test]
fn a_feature_is_there_as_soon_as_an_operation_takes_its_flag() {
    for feature in FEATURES {
        let Some(flag) = feature.flag else { continue };
        let is_taken = Opcode::ALL.iter().any(|opcode| opcode.flags().contains(flag));
        assert_eq!(feature.state == State::Has, is_taken, "{}", feature.name);
    }
}
