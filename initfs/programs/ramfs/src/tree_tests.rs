//! What the tree promises: names, links, and who keeps a node.

use crate::clock::Time;
use crate::content::{Content, PAGE};
use crate::node::{Directory, Ino, Kind};
use crate::tree::{Found, Last, Place, ROOT, Tree};
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
use uring::Errno;
use uring::scheme::Who;

const SUPER: Who = Who { pid: 1, uid: 0, gid: 0 };
const USER: Who = Who { pid: 2, uid: 7, gid: 7 };
const NOW: Time = Time { seconds: 9, nanoseconds: 1 };

/// A tree with `a/b/file`, a link `a/up` to `../x` and a link `out` to another scheme.
fn sample() -> Tree {
    let mut tree = Tree::new(1 << 20);
    make(&mut tree, "a", Kind::Directory(Directory::default()));
    make(&mut tree, "a/b", Kind::Directory(Directory::default()));
    make(&mut tree, "a/b/file", Kind::File(Content::default()));
    make(&mut tree, "a/up", Kind::Link("../x".into()));
    make(&mut tree, "out", Kind::Link("/scheme/disk/y".into()));
    tree
}

fn make(tree: &mut Tree, path: &str, kind: Kind) -> Ino {
    let Found::Free(place) = find(tree, path) else { panic!("{path} is free") };
    tree.create(&place, kind, 0o755, SUPER, NOW).unwrap()
}

fn find(tree: &Tree, path: &str) -> Found {
    tree.find(ROOT, path, Last::Stop, SUPER).unwrap()
}

fn there(tree: &Tree, path: &str) -> (Place, Ino) {
    let Found::There(place, ino) = find(tree, path) else { panic!("{path} is there") };
    (place, ino)
}

fn unlink(tree: &mut Tree, path: &str) -> Result<(), Errno> {
    let (place, ino) = there(tree, path);
    tree.unlink(&place, ino, SUPER, NOW)
}

fn rename(tree: &mut Tree, from: &str, to: &str) -> Result<Place, Errno> {
    let (place, ino) = there(tree, from);
    let found = find(tree, to);
    tree.rename(&place, ino, &found, SUPER, NOW)
}

#[test]
fn a_path_leads_to_its_node_however_it_is_written() {
    let tree = sample();
    let (place, ino) = there(&tree, "a/b/file");
    assert_eq!(&*place.name, "file");
    for path in ["/a/b/file", "a//b/./file", "a/b/../b/file", "../a/b/file"] {
        assert_eq!(there(&tree, path).1, ino, "{path}");
    }
    assert_eq!(there(&tree, "").1, ROOT);
    assert_eq!(tree.path_of(place.parent).unwrap(), "a/b");
}

#[test]
fn a_path_that_leads_nowhere_says_why() {
    let tree = sample();
    let error = |path: &str| tree.find(ROOT, path, Last::Stop, SUPER).unwrap_err();
    assert_eq!(error("no/where"), Errno::NOENT);
    assert_eq!(error("a/b/file/x"), Errno::NOTDIR);
    assert_eq!(error(&"n".repeat(256)), Errno::NAMETOOLONG);
    assert!(matches!(find(&tree, "a/new"), Found::Free(place) if &*place.name == "new"));
}

#[test]
fn a_link_on_the_way_gives_the_path_to_go_on_with() {
    let tree = sample();
    let follow = |path: &str| tree.find(ROOT, path, Last::Follow, SUPER).unwrap();
    assert_eq!(follow("a/up"), Found::Link("a/../x".into()));
    assert_eq!(find(&tree, "a/up/deep/er"), Found::Link("a/../x/deep/er".into()));
    assert_eq!(follow("out/z"), Found::Link("/scheme/disk/y/z".into()));
    assert!(matches!(find(&tree, "out"), Found::There(..)));
}

#[test]
fn an_open_file_lives_on_without_a_name() {
    let mut tree = sample();
    let (_, ino) = there(&tree, "a/b/file");
    let free = tree.quota.free;
    let (node, quota) = tree.node_and_quota(ino).unwrap();
    let Kind::File(content) = &mut node.kind else { panic!("a file") };
    content.write(0, &[1; 2 * PAGE], quota).unwrap();
    tree.hold(ino);
    unlink(&mut tree, "a/b/file").unwrap();
    assert_eq!(tree.node(ino).unwrap().length(), 2 * PAGE as u64);
    tree.release(ino);
    assert_eq!(tree.node(ino).unwrap_err(), Errno::NOENT);
    assert_eq!(tree.quota.free, free);
}

#[test]
fn a_hard_link_is_as_good_as_the_first_name() {
    let mut tree = sample();
    let (_, ino) = there(&tree, "a/b/file");
    let Found::Free(place) = find(&tree, "other") else { panic!("free") };
    tree.link(ino, &place, SUPER, NOW).unwrap();
    assert_eq!(tree.node(ino).unwrap().links, 2);
    unlink(&mut tree, "a/b/file").unwrap();
    assert_eq!(there(&tree, "other").1, ino);
    let (_, directory) = there(&tree, "a");
    let Found::Free(place) = find(&tree, "again") else { panic!("free") };
    assert_eq!(tree.link(directory, &place, SUPER, NOW), Err(Errno::PERM));
}

#[test]
fn only_an_empty_directory_can_be_removed() {
    let mut tree = sample();
    assert_eq!(unlink(&mut tree, "a/b"), Err(Errno::NOTEMPTY));
    unlink(&mut tree, "a/b/file").unwrap();
    unlink(&mut tree, "a/b").unwrap();
    assert_eq!(unlink(&mut tree, ""), Err(Errno::BUSY));
}

#[test]
fn nothing_is_made_in_a_directory_that_was_removed() {
    let mut tree = sample();
    unlink(&mut tree, "a/b/file").unwrap();
    let (_, directory) = there(&tree, "a/b");
    tree.hold(directory);
    unlink(&mut tree, "a/b").unwrap();
    let place = Place { parent: directory, name: "late".into() };
    let made = tree.create(&place, Kind::File(Content::default()), 0o644, SUPER, NOW);
    assert_eq!(made, Err(Errno::NOENT));
    tree.release(directory);
}

#[test]
fn a_rename_replaces_what_it_may_replace() {
    let mut tree = sample();
    let file = there(&tree, "a/b/file").1;
    make(&mut tree, "old", Kind::File(Content::default()));
    assert_eq!(rename(&mut tree, "a/b/file", "old").unwrap().name, "old".into());
    assert_eq!(there(&tree, "old").1, file);
    assert!(matches!(find(&tree, "a/b/file"), Found::Free(_)));
    assert_eq!(rename(&mut tree, "old", "a"), Err(Errno::ISDIR));
    assert_eq!(rename(&mut tree, "a", "old"), Err(Errno::NOTDIR));
    make(&mut tree, "c", Kind::Directory(Directory::default()));
    assert_eq!(rename(&mut tree, "c", "a"), Err(Errno::NOTEMPTY));
    rename(&mut tree, "a/b", "c").unwrap();
    assert_eq!(tree.path_of(there(&tree, "c").1).unwrap(), "c");
}

#[test]
fn a_directory_cannot_be_moved_into_itself() {
    let mut tree = sample();
    assert_eq!(rename(&mut tree, "a", "a/b/a"), Err(Errno::INVAL));
    assert_eq!(rename(&mut tree, "a", "a"), Ok(Place { parent: ROOT, name: "a".into() }));
    assert_eq!(rename(&mut tree, "", "root"), Err(Errno::BUSY));
}

#[test]
fn a_directory_can_be_read_in_pieces_while_it_changes() {
    let mut tree = sample();
    for name in ["p", "q", "r"] {
        make(&mut tree, name, Kind::File(Content::default()));
    }
    let list = |tree: &Tree, from: u64| -> Vec<(u64, String)> {
        let directory = tree.node(ROOT).unwrap().directory().unwrap();
        directory.behind(from).map(|(cookie, name, _)| (cookie, name.into())).collect()
    };
    let all = list(&tree, 0);
    assert_eq!(all.len(), 5);
    let (cookie, _) = all[2];
    unlink(&mut tree, "p").unwrap();
    let rest: Vec<String> = list(&tree, cookie).into_iter().map(|(_, name)| name).collect();
    assert_eq!(rest, ["q", "r"]);
}

#[test]
fn others_may_only_do_what_the_mode_says() {
    let mut tree = sample();
    let place = Place { parent: there(&tree, "a").1, name: "mine".into() };
    let made = tree.create(&place, Kind::File(Content::default()), 0o644, USER, NOW);
    assert_eq!(made, Err(Errno::ACCES));
    tree.node_mut(there(&tree, "a").1).unwrap().mode = 0o600;
    assert_eq!(tree.find(ROOT, "a/b", Last::Stop, USER), Err(Errno::ACCES));
}

#[derive(Clone, Debug)]
enum Step {
    Make(usize, usize, u8),
    Unlink(usize),
    Rename(usize, usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..8_usize, 0..4_usize, any::<u8>()).prop_map(|(d, n, k)| Step::Make(d, n, k)),
        (0..20_usize).prop_map(Step::Unlink),
        (0..20_usize, 0..8_usize, 0..4_usize).prop_map(|(f, d, n)| Step::Rename(f, d, n)),
    ]
}

/// Every path of the tree with its node, directories first walked.
fn paths(tree: &Tree) -> Vec<(String, Ino)> {
    let mut all = vec![(String::new(), ROOT)];
    let mut at = 0;
    while let Some((path, ino)) = all.get(at).cloned() {
        at += 1;
        assert!(at < 1000, "the tree has a loop");
        let Ok(directory) = tree.node(ino).unwrap().directory() else { continue };
        all.extend(directory.behind(0).map(|(_, name, child)| (format!("{path}/{name}"), child)));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn names_and_nodes_stay_consistent(steps in proptest::collection::vec(step(), 1..60)) {
        let mut tree = Tree::new(1 << 20);
        for step in steps {
            let all = paths(&tree);
            let pick = |index: usize| all[index % all.len()].clone();
            let target = |index: usize, name: usize| format!("{}/n{name}", pick(index).0);
            match step {
                Step::Make(parent, name, kind) => {
                    if let Ok(Found::Free(place)) = tree.find(ROOT, &target(parent, name), Last::Stop, SUPER) {
                        let kind = if kind % 3 == 0 {
                            Kind::File(Content::default())
                        } else {
                            Kind::Directory(Directory::default())
                        };
                        tree.create(&place, kind, 0o755, SUPER, NOW).unwrap();
                    }
                }
                Step::Unlink(index) => {
                    let _ = unlink(&mut tree, &pick(index).0);
                }
                Step::Rename(from, parent, name) => {
                    if tree.find(ROOT, &target(parent, name), Last::Stop, SUPER).is_ok() {
                        let _ = rename(&mut tree, &pick(from).0, &target(parent, name));
                    }
                }
            }
            for (path, ino) in paths(&tree) {
                let node = tree.node(ino).unwrap();
                assert_eq!((node.links, node.opens), (1, 0), "{path}");
                if node.is_directory() {
                    assert_eq!(format!("/{}", tree.path_of(ino).unwrap()), if path.is_empty() { "/".into() } else { path });
                }
            }
        }
    }
}
