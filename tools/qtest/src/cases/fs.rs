//! Files and folders, as `ramfs` keeps them.
#![forbid(unsafe_code)]

use super::tests;
use crate::guest::Guest;
use crate::verdict::{Verdict, ensure, equal};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use posix::directory::{link, mkdir, read_directory, rename, rmdir, symlink, unlink};
use posix::file::{
    Whence, close, dup, fstat, ftruncate, lseek, lstat, pread, pwrite, read, stat, write, write_all,
};
use posix::flags::{
    MODE_DIRECTORY, MODE_FILE, MODE_PERMISSIONS, MODE_SYMLINK, MODE_TYPE, O_APPEND, O_CREAT, O_DIRECTORY,
    O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
};
use posix::open::open;
use ring_abi::Errno;
use uring::Fd;

tests! {
    a_file_keeps_what_was_written,
    a_large_file_comes_back_whole,
    a_write_past_the_end_leaves_zeros,
    truncation_cuts_and_extends,
    appending_goes_to_the_end_whatever_the_cursor,
    opening_flags_mean_what_they_say,
    copies_of_a_handle_share_the_cursor,
    a_file_without_a_name_lives_until_it_is_closed,
    a_rename_replaces_and_keeps_the_file,
    a_folder_is_moved_with_all_that_is_in_it,
    a_folder_is_removed_only_when_empty,
    a_folder_lists_every_entry_once,
    a_second_name_is_the_same_file,
    what_is_no_folder_has_no_files,
    stat_tells_kind_size_and_mode,
    a_missing_file_is_missing_everywhere,
}

/// Makes a file with these bytes.
fn put(path: &str, bytes: &[u8]) -> Result<(), Errno> {
    let fd = open(path.as_bytes(), O_WRONLY | O_CREAT | O_TRUNC, 0o644)?;
    write_all(fd, bytes)?;
    close(fd)
}

/// All bytes of a file.
fn get(path: &str) -> Result<Vec<u8>, Errno> {
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut bytes = Vec::new();
    let mut piece = vec![0; 5000];
    loop {
        match read(fd, &mut piece)? {
            0 => break,
            count => bytes.extend_from_slice(piece.get(..count).ok_or(Errno::IO)?),
        }
    }
    close(fd)?;
    Ok(bytes)
}

fn a_file_keeps_what_was_written(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    equal(write(fd, b"hello, "), Ok(7))?;
    equal(write(fd, b"world"), Ok(5))?;
    equal(lseek(fd, 7, Whence::Set), Ok(7))?;
    let mut bytes = [0; 16];
    equal(read(fd, &mut bytes), Ok(5))?;
    equal(bytes.get(..5), Some(&b"world"[..]))?;
    equal(read(fd, &mut bytes), Ok(0))?;
    equal(pread(fd, &mut bytes, 3), Ok(9))?;
    equal(pwrite(fd, b"HELL", 0), Ok(4))?;
    equal(lseek(fd, 0, Whence::Current), Ok(12))?;
    equal(lseek(fd, -2, Whence::End), Ok(10))?;
    close(fd)?;
    equal(get(&path)?.as_slice(), b"HELLo, world")
}

fn a_large_file_comes_back_whole(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/large";
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    put(&path, &bytes)?;
    ensure(get(&path)? == bytes, "other bytes came back")?;
    equal(stat(path.as_bytes())?.st_size, bytes.len() as u64)
}

fn a_write_past_the_end_leaves_zeros(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/sparse";
    let fd = open(path.as_bytes(), O_RDWR | O_CREAT, 0o644)?;
    equal(pwrite(fd, b"x", 10_000), Ok(1))?;
    close(fd)?;
    let bytes = get(&path)?;
    equal(bytes.len(), 10_001)?;
    ensure(bytes.iter().take(10_000).all(|byte| *byte == 0), "the hole is not zero")?;
    equal(bytes.last(), Some(&b'x'))
}

fn truncation_cuts_and_extends(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    put(&path, b"0123456789")?;
    let fd = open(path.as_bytes(), O_RDWR, 0)?;
    ftruncate(fd, 4)?;
    equal(get(&path)?.as_slice(), b"0123")?;
    ftruncate(fd, 6)?;
    equal(get(&path)?.as_slice(), b"0123\0\0")?;
    ftruncate(fd, 0)?;
    close(fd)?;
    equal(get(&path)?.len(), 0)
}

fn appending_goes_to_the_end_whatever_the_cursor(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/log";
    put(&path, b"one ")?;
    let first = open(path.as_bytes(), O_WRONLY | O_APPEND, 0)?;
    let second = open(path.as_bytes(), O_WRONLY | O_APPEND, 0)?;
    write_all(first, b"two ")?;
    write_all(second, b"three ")?;
    write_all(first, b"four")?;
    close(first)?;
    close(second)?;
    equal(get(&path)?.as_slice(), b"one two three four")
}

fn opening_flags_mean_what_they_say(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let path = format!("{folder}/file");
    let path = path.as_bytes();
    equal(open(path, O_RDONLY, 0), Err(Errno::NOENT))?;
    close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0o644)?)?;
    equal(open(path, O_WRONLY | O_CREAT | O_EXCL, 0o644), Err(Errno::EXIST))?;
    equal(open(path, O_RDONLY | O_DIRECTORY, 0), Err(Errno::NOTDIR))?;
    equal(open(folder.as_bytes(), O_WRONLY, 0), Err(Errno::ISDIR))?;
    let reader = open(path, O_RDONLY, 0)?;
    equal(write(reader, b"x"), Err(Errno::BADF))?;
    close(reader)?;
    let writer = open(path, O_WRONLY, 0)?;
    write_all(writer, b"content")?;
    equal(read(writer, &mut [0; 4]), Err(Errno::BADF))?;
    close(writer)?;
    close(open(path, O_WRONLY | O_TRUNC, 0)?)?;
    equal(stat(path)?.st_size, 0)
}

fn copies_of_a_handle_share_the_cursor(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    put(&path, b"abcdef")?;
    let fd = open(path.as_bytes(), O_RDONLY, 0)?;
    let copy = dup(fd)?;
    let other = open(path.as_bytes(), O_RDONLY, 0)?;
    let mut two = [0; 2];
    equal(read(fd, &mut two), Ok(2))?;
    equal(read(copy, &mut two), Ok(2))?;
    equal(&two, b"cd")?;
    close(fd)?;
    equal(read(copy, &mut two), Ok(2))?;
    equal(&two, b"ef")?;
    equal(read(other, &mut two), Ok(2))?;
    equal(&two, b"ab")?;
    close(copy)?;
    close(other)?;
    equal(read(copy, &mut two), Err(Errno::BADF))
}

fn a_file_without_a_name_lives_until_it_is_closed(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/file";
    put(&path, b"still here")?;
    let fd = open(path.as_bytes(), O_RDWR, 0)?;
    unlink(path.as_bytes())?;
    equal(open(path.as_bytes(), O_RDONLY, 0), Err(Errno::NOENT))?;
    let mut bytes = [0; 10];
    equal(read(fd, &mut bytes), Ok(10))?;
    equal(&bytes, b"still here")?;
    equal(fstat(fd)?.st_nlink, 0)?;
    put(&path, b"another")?;
    equal(pread(fd, &mut bytes, 0), Ok(10))?;
    close(fd)?;
    equal(get(&path)?.as_slice(), b"another")
}

fn a_rename_replaces_and_keeps_the_file(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (old, new) = (format!("{folder}/old"), format!("{folder}/new"));
    put(&old, b"content")?;
    put(&new, b"replaced")?;
    let inode = stat(old.as_bytes())?.st_ino;
    rename(old.as_bytes(), new.as_bytes())?;
    equal(stat(old.as_bytes()).map(|_| ()), Err(Errno::NOENT))?;
    equal(stat(new.as_bytes())?.st_ino, inode)?;
    equal(get(&new)?.as_slice(), b"content")?;
    equal(rename(old.as_bytes(), new.as_bytes()), Err(Errno::NOENT))?;
    mkdir(old.as_bytes(), 0o755)?;
    equal(rename(new.as_bytes(), old.as_bytes()), Err(Errno::ISDIR))?;
    equal(rename(old.as_bytes(), new.as_bytes()), Err(Errno::NOTDIR))?;
    equal(rename(new.as_bytes(), b"/scheme/null/x"), Err(Errno::XDEV))
}

fn a_folder_is_moved_with_all_that_is_in_it(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let path = |rest: &str| format!("{folder}/{rest}");
    mkdir(path("a").as_bytes(), 0o755)?;
    mkdir(path("a/b").as_bytes(), 0o755)?;
    put(&path("a/b/file"), b"deep")?;
    rename(path("a").as_bytes(), path("c").as_bytes())?;
    equal(get(&path("c/b/file"))?.as_slice(), b"deep")?;
    equal(stat(path("a").as_bytes()).map(|_| ()), Err(Errno::NOENT))?;
    equal(rename(path("c").as_bytes(), path("c/b/c").as_bytes()), Err(Errno::INVAL))
}

fn a_folder_is_removed_only_when_empty(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (inner, file) = (format!("{folder}/inner"), format!("{folder}/inner/file"));
    mkdir(inner.as_bytes(), 0o755)?;
    equal(mkdir(inner.as_bytes(), 0o755), Err(Errno::EXIST))?;
    put(&file, b"")?;
    equal(rmdir(inner.as_bytes()), Err(Errno::NOTEMPTY))?;
    equal(rmdir(file.as_bytes()), Err(Errno::NOTDIR))?;
    equal(unlink(inner.as_bytes()), Err(Errno::ISDIR))?;
    unlink(file.as_bytes())?;
    rmdir(inner.as_bytes())?;
    equal(rmdir(inner.as_bytes()), Err(Errno::NOENT))
}

fn a_folder_lists_every_entry_once(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let mut wanted: Vec<String> =
        (0..300).map(|number| format!("file-with-a-longer-name-{number:03}")).collect();
    for name in &wanted {
        put(&format!("{folder}/{name}"), b"")?;
    }
    let mut found: Vec<String> =
        read_directory(folder.as_bytes())?.into_iter().map(|entry| entry.name).collect();
    found.retain(|name| name != "." && name != "..");
    found.sort_unstable();
    wanted.sort_unstable();
    ensure(found == wanted, "the list is another one")?;
    equal(read_directory(format!("{folder}/file-with-a-longer-name-000").as_bytes()), Err(Errno::NOTDIR))
}

fn a_second_name_is_the_same_file(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (one, two) = (format!("{folder}/one"), format!("{folder}/two"));
    put(&one, b"content")?;
    link(one.as_bytes(), two.as_bytes())?;
    equal(stat(one.as_bytes())?.st_ino, stat(two.as_bytes())?.st_ino)?;
    equal(stat(one.as_bytes())?.st_nlink, 2)?;
    equal(link(one.as_bytes(), two.as_bytes()), Err(Errno::EXIST))?;
    unlink(one.as_bytes())?;
    equal(get(&two)?.as_slice(), b"content")?;
    equal(stat(two.as_bytes())?.st_nlink, 1)
}

fn what_is_no_folder_has_no_files(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let file = format!("{folder}/file");
    put(&file, b"")?;
    let inside = format!("{file}/inside");
    equal(open(inside.as_bytes(), O_RDONLY, 0), Err(Errno::NOTDIR))?;
    equal(mkdir(inside.as_bytes(), 0o755), Err(Errno::NOTDIR))?;
    equal(unlink(inside.as_bytes()), Err(Errno::NOTDIR))?;
    let fd = open(folder.as_bytes(), O_RDONLY, 0)?;
    equal(read(fd, &mut [0; 8]), Err(Errno::ISDIR))?;
    Ok(close(fd)?)
}

fn stat_tells_kind_size_and_mode(guest: &Guest) -> Verdict {
    let folder = guest.folder()?;
    let (file, link) = (format!("{folder}/file"), format!("{folder}/link"));
    let fd: Fd = open(file.as_bytes(), O_WRONLY | O_CREAT, 0o640)?;
    write_all(fd, b"12345")?;
    close(fd)?;
    symlink(b"file", link.as_bytes())?;
    let kind = |mode: u16| u32::from(mode) & MODE_TYPE;
    let found = stat(file.as_bytes())?;
    equal((kind(found.st_mode), found.st_size), (MODE_FILE, 5))?;
    equal(u32::from(found.st_mode) & MODE_PERMISSIONS, 0o640)?;
    equal(kind(stat(folder.as_bytes())?.st_mode), MODE_DIRECTORY)?;
    equal(kind(lstat(link.as_bytes())?.st_mode), MODE_SYMLINK)?;
    equal(stat(link.as_bytes())?.st_ino, found.st_ino)
}

fn a_missing_file_is_missing_everywhere(guest: &Guest) -> Verdict {
    let path = guest.folder()? + "/missing";
    let path = path.as_bytes();
    equal(stat(path).map(|_| ()), Err(Errno::NOENT))?;
    equal(unlink(path), Err(Errno::NOENT))?;
    equal(rmdir(path), Err(Errno::NOENT))?;
    equal(read_directory(path), Err(Errno::NOENT))?;
    equal(open(b"/scheme/ram/no/such/folder", O_WRONLY | O_CREAT, 0o644), Err(Errno::NOENT))
}
