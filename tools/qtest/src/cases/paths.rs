//! From what a program calls a file to the file: `.`, `..`, the current directory, links within and across schemes.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Verdict, ensure, equal};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use posix::directory::{mkdir, read_directory, readlink, rmdir, symlink, unlink};
use posix::file::{close, read, stat, write_all};
use posix::flags::{O_CREAT, O_NOFOLLOW, O_RDONLY, O_WRONLY};
use posix::open::{chdir, getcwd, open};
use ring_abi::Errno;
use uring::Fd;
use uring::op::file::open_at;

tests! {
    dots_are_taken_out_of_paths,
    nothing_lies_above_the_root,
    relative_paths_start_at_the_current_directory,
    a_link_leads_to_its_target,
    a_link_may_lead_into_another_scheme,
    a_link_may_stand_in_the_middle_of_a_path,
    names_behind_a_link_into_another_scheme_can_be_removed,
    links_in_a_circle_are_an_error,
    a_long_chain_of_links_is_followed_and_a_longer_one_is_not,
    a_link_to_nothing_is_a_missing_file,
    a_link_itself_can_be_read_and_removed,
    the_initfs_has_links_too,
    a_scheme_that_is_not_there_is_said,
    paths_must_be_text,
    the_kernel_takes_only_canonical_paths,
    all_schemes_are_listed,
}

fn put(path: &str, bytes: &[u8]) -> Result<(), Errno> {
    let fd = open(path.as_bytes(), O_WRONLY | O_CREAT, 0o644)?;
    write_all(fd, bytes)?;
    close(fd)
}

fn first_bytes(path: &str) -> Result<String, Errno> {
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut bytes = vec![0; 64];
    let count = read(fd, &mut bytes)?;
    close(fd)?;
    bytes.truncate(count);
    String::from_utf8(bytes).map_err(|_| Errno::ILSEQ)
}

fn reads(path: &str, wanted: &str) -> Verdict {
    equal(first_bytes(path).as_deref(), Ok(wanted))
}

fn dots_are_taken_out_of_paths(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    mkdir(format!("{folder}/a").as_bytes(), 0o755)?;
    put(&format!("{folder}/file"), b"found")?;
    for way in ["file", "./file", "a/../file", "a/./../file", "//file", "a/..///./file"] {
        reads(&format!("{folder}/{way}"), "found")?;
    }
    equal(stat(format!("{folder}/file/").as_bytes()).map(|_| ()), Err(Errno::NOTDIR))?;
    equal(stat(format!("{folder}/a/").as_bytes()).map(|_| ()), Ok(()))
}

fn nothing_lies_above_the_root(guest: &Guest) -> Verdict {
    // A scheme's root is its own parent, and so is the list of schemes.
    let folder = guest.folder()?;
    let path = format!("{folder}/file");
    put(&path, b"found")?;
    let below = path.strip_prefix("/scheme/ram/").ok_or("another folder")?;
    reads(&format!("/scheme/ram/../../../../{below}"), "found")?;
    equal(first_bytes(&format!("/scheme/null/../ram/{below}")), Err(Errno::NOENT))?;
    chdir(folder.as_bytes())?;
    reads(&format!("../../../{below}"), "found")?;
    chdir(b"../../..")?;
    equal(getcwd().as_str(), "/scheme/ram")?;
    chdir(b"/scheme")?;
    chdir(b"../../..")?;
    equal(getcwd().as_str(), "/scheme")?;
    reads(&format!("ram/{below}"), "found")
}

fn relative_paths_start_at_the_current_directory(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    mkdir(format!("{folder}/inner").as_bytes(), 0o755)?;
    put(&format!("{folder}/inner/file"), b"found")?;
    chdir(folder.as_bytes())?;
    equal(getcwd().as_str(), folder.as_str())?;
    reads("inner/file", "found")?;
    chdir(b"inner")?;
    reads("file", "found")?;
    reads("../inner/./file", "found")?;
    equal(chdir(b"file"), Err(Errno::NOTDIR))?;
    equal(chdir(b"missing"), Err(Errno::NOENT))?;
    equal(getcwd(), format!("{folder}/inner"))
}

fn a_link_leads_to_its_target(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    mkdir(format!("{folder}/inner").as_bytes(), 0o755)?;
    put(&format!("{folder}/file"), b"found")?;
    symlink(b"file", format!("{folder}/near").as_bytes())?;
    symlink(b"../file", format!("{folder}/inner/up").as_bytes())?;
    symlink(format!("{folder}/file").as_bytes(), format!("{folder}/inner/far").as_bytes())?;
    reads(&format!("{folder}/near"), "found")?;
    reads(&format!("{folder}/inner/up"), "found")?;
    reads(&format!("{folder}/inner/far"), "found")?;
    equal(open(format!("{folder}/near").as_bytes(), O_RDONLY | O_NOFOLLOW, 0), Err(Errno::LOOP))
}

fn a_link_may_lead_into_another_scheme(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (zero, motd) = (format!("{folder}/zero"), format!("{folder}/motd"));
    symlink(b"/scheme/null/zero", zero.as_bytes())?;
    symlink(b"/scheme/initfs/etc/motd", motd.as_bytes())?;
    let fd = open(zero.as_bytes(), O_RDONLY, 0)?;
    let mut bytes = [1; 8];
    equal(read(fd, &mut bytes), Ok(8))?;
    equal(bytes, [0; 8])?;
    close(fd)?;
    ensure(!first_bytes(&motd)?.is_empty(), "the other scheme's file is empty")
}

fn a_link_may_stand_in_the_middle_of_a_path(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    mkdir(format!("{folder}/real").as_bytes(), 0o755)?;
    put(&format!("{folder}/real/file"), b"found")?;
    symlink(b"real", format!("{folder}/alias").as_bytes())?;
    symlink(b"/scheme/initfs/etc", format!("{folder}/etc").as_bytes())?;
    reads(&format!("{folder}/alias/file"), "found")?;
    ensure(!first_bytes(&format!("{folder}/etc/motd"))?.is_empty(), "the other scheme's file is empty")?;
    put(&format!("{folder}/alias/made"), b"made")?;
    reads(&format!("{folder}/real/made"), "made")?;
    unlink(format!("{folder}/alias/made").as_bytes())?;
    equal(first_bytes(&format!("{folder}/real/made")), Err(Errno::NOENT))
}

fn names_behind_a_link_into_another_scheme_can_be_removed(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let other = guest.daemon(&["ramfs", "other-ram"])?;
    mkdir(b"/scheme/other-ram/far", 0o755)?;
    mkdir(b"/scheme/other-ram/far/inner", 0o755)?;
    put("/scheme/other-ram/far/file", b"found")?;
    put("/scheme/other-ram/far/inner/file", b"found")?;
    symlink(b"/scheme/other-ram/far", format!("{folder}/away").as_bytes())?;
    // A link in the other scheme, and one that leads back.
    symlink(b"/scheme/other-ram/far/inner", b"/scheme/other-ram/far/in")?;
    symlink(folder.as_bytes(), b"/scheme/other-ram/far/back")?;
    put(&format!("{folder}/file"), b"found")?;
    symlink(b"/scheme/initfs/etc", format!("{folder}/etc").as_bytes())?;

    equal(rmdir(format!("{folder}/away/inner").as_bytes()), Err(Errno::NOTEMPTY))?;
    unlink(format!("{folder}/away/in/file").as_bytes())?;
    unlink(format!("{folder}/away/in").as_bytes())?;
    rmdir(format!("{folder}/away/inner").as_bytes())?;
    unlink(format!("{folder}/away/file").as_bytes())?;
    unlink(format!("{folder}/away/back/file").as_bytes())?;
    equal(unlink(format!("{folder}/away/file").as_bytes()), Err(Errno::NOENT))?;
    equal(unlink(format!("{folder}/etc/motd").as_bytes()), Err(Errno::ROFS))?;
    equal(first_bytes(&format!("{folder}/file")), Err(Errno::NOENT))?;
    let names = read_directory(b"/scheme/other-ram/far")?;
    let mut names = names.iter().map(|entry| entry.name.as_str()).filter(|name| !name.starts_with('.'));
    equal((names.next(), names.next()), (Some("back"), None))?;
    // The link itself is removed, not what it leads to.
    unlink(format!("{folder}/away").as_bytes())?;
    ensure(stat(b"/scheme/other-ram/far").is_ok(), "the target went with its link")?;
    guest.kill(other)?;
    Ok(())
}

fn links_in_a_circle_are_an_error(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    symlink(b"b", format!("{folder}/a").as_bytes())?;
    symlink(b"a", format!("{folder}/b").as_bytes())?;
    symlink(b"self", format!("{folder}/self").as_bytes())?;
    symlink(b"self/x", format!("{folder}/deeper").as_bytes())?;
    for name in ["a", "b", "self", "deeper", "self/x"] {
        equal(first_bytes(&format!("{folder}/{name}")), Err(Errno::LOOP))?;
    }
    Ok(())
}

fn a_long_chain_of_links_is_followed_and_a_longer_one_is_not(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    put(&format!("{folder}/0"), b"found")?;
    for number in 1..=100_u32 {
        let target = format!("{}", number.wrapping_sub(1));
        symlink(target.as_bytes(), format!("{folder}/{number}").as_bytes())?;
    }
    reads(&format!("{folder}/8"), "found")?;
    equal(first_bytes(&format!("{folder}/100")), Err(Errno::LOOP))
}

fn a_link_to_nothing_is_a_missing_file(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    symlink(b"missing", format!("{folder}/near").as_bytes())?;
    symlink(b"/scheme/no-such-scheme/x", format!("{folder}/far").as_bytes())?;
    equal(first_bytes(&format!("{folder}/near")), Err(Errno::NOENT))?;
    equal(first_bytes(&format!("{folder}/far")), Err(Errno::NODEV))
}

fn a_link_itself_can_be_read_and_removed(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (file, link) = (format!("{folder}/file"), format!("{folder}/link"));
    put(&file, b"found")?;
    symlink(b"file", link.as_bytes())?;
    let mut target = [0; 64];
    equal(readlink(link.as_bytes(), &mut target), Ok(4))?;
    equal(target.get(..4), Some(&b"file"[..]))?;
    equal(readlink(file.as_bytes(), &mut target), Err(Errno::INVAL))?;
    unlink(link.as_bytes())?;
    reads(&file, "found")
}

fn the_initfs_has_links_too(_: &Guest) -> Verdict {
    let names = read_directory(b"/scheme/initfs/bin")?;
    ensure(names.iter().any(|entry| entry.name == "qtest"), "this program is not in its list")?;
    let folder = stat(b"/scheme/initfs/bin/../etc")?;
    equal(folder.st_ino, stat(b"/etc")?.st_ino)?;
    equal(open(b"/scheme/initfs/etc/motd", O_WRONLY, 0).map(|_| ()).is_err(), true)
}

fn a_scheme_that_is_not_there_is_said(_: &Guest) -> Verdict {
    equal(open(b"/scheme/no-such-scheme/x", O_RDONLY, 0), Err(Errno::NODEV))?;
    equal(unlink(b"/scheme/no-such-scheme/x"), Err(Errno::NODEV))?;
    equal(open(b"/scheme/UPPER/x", O_RDONLY, 0).is_err(), true)
}

fn paths_must_be_text(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let path = [folder.as_bytes(), b"/\xff\xfe"].concat();
    equal(open(&path, O_WRONLY | O_CREAT, 0o644), Err(Errno::ILSEQ))?;
    let (result, _) = open_at(Fd::CURRENT, &path[..], O_RDONLY).wait();
    equal(result, Err(Errno::ILSEQ))?;
    let fine = format!("{folder}/été-日本");
    put(&fine, b"found")?;
    reads(&fine, "found")
}

fn the_kernel_takes_only_canonical_paths(_: &Guest) -> Verdict {
    for path in ["", "x", "/", "/bin/qtest", "scheme/null/zero", "/schemes/null/zero"] {
        let (result, _) = open_at(Fd::CURRENT, path, O_RDONLY).wait();
        ensure(result.is_err(), path)?;
    }
    let long = vec![b'x'; 100_000];
    equal(open_at(Fd::CURRENT, &long[..], O_RDONLY).wait().0.is_err(), true)
}

fn all_schemes_are_listed(_: &Guest) -> Verdict {
    let entries = read_directory(b"/scheme")?;
    for name in ["debug", "sys", "time", "irq", "initfs", "null", "ram", "proc"] {
        ensure(entries.iter().any(|entry| entry.name == name), name)?;
    }
    Ok(())
}
