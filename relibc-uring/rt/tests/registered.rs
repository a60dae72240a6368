//! Registered files and buffers, and groups of buffers, from the side of a program.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod stage;

use std::time::Duration;
use uring::exec::join_all;
use uring::op::file::{self, At};
use uring::op::provided::BufferGroup;
use uring::op::registered::{FixedBuffer, FixedFile};
use uring::op::{Fd, handle, time};
use uring::scheme::{Answer, Body, Request, Scheme};
use uring::{Errno, block_on};

/// Opens a file of a scheme that another program registers in a moment.
fn open(path: &str) -> Fd {
    for _ in 0..1000 {
        match file::open_at(Fd::CURRENT, path, 0).wait().0 {
            Err(Errno::NODEV) => time::after(Duration::from_micros(10)).wait().unwrap(),
            result => return result.unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }
    panic!("{path}: nobody registers the scheme");
}

/// A daemon that reads its offset, byte by byte, and takes what is written if it is the same.
fn counter() {
    stage::spawn(|| {
        let scheme = Scheme::register("counter").unwrap();
        let served = scheme.run_now(|mut request: Request| {
            let result = match request.body() {
                Body::Open(_) => Ok(Answer::File(1)),
                Body::Read(mut read) => {
                    let byte = read.offset as u8;
                    let bytes = vec![byte; read.out.room()];
                    Ok(Answer::from(read.out.write(&bytes)))
                }
                Body::Write(write) => {
                    let byte = write.offset as u8;
                    let same = write.bytes.iter().all(|other| *other == byte);
                    if same { Ok(Answer::from(write.bytes.len())) } else { Err(Errno::ILSEQ) }
                }
                Body::Closed => Ok(Answer::Number(0)),
                _ => Err(Errno::NOSYS),
            };
            request.reply(result);
        });
        served.unwrap();
    });
}

#[test]
fn a_fixed_file_stays_open_without_its_handle() {
    stage::play(|| {
        counter();
        let fd = open("/scheme/counter/a");
        let fixed = FixedFile::register(fd).unwrap();
        handle::close(fd).wait().unwrap();
        let mut bytes = [0; 5];
        assert_eq!(file::read(fixed.fd(), bytes.as_mut_slice(), At::Offset(7)).wait().0, Ok(5));
        assert_eq!(bytes, [7; 5]);
        let gone = fixed.fd();
        drop(fixed);
        assert_eq!(file::read(gone, bytes.as_mut_slice(), At::Offset(7)).wait().0, Err(Errno::BADF));
        assert_eq!(FixedFile::register(Fd(999)).unwrap_err(), Errno::BADF);
        assert_eq!(FixedFile::register(Fd::CURRENT).unwrap_err(), Errno::BADF);
        let again = FixedFile::register(open("/scheme/counter/a")).unwrap();
        assert_eq!(again.fd(), gone, "the slot is used again");
    });
}

#[test]
fn pieces_of_a_fixed_buffer_are_lent_like_any_buffer() {
    stage::play(|| {
        counter();
        let fd = open("/scheme/counter/a");
        let file = FixedFile::register(fd).unwrap();
        let pieces = FixedBuffer::register(vec![0; 1000], 300).unwrap();
        assert_eq!(pieces.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [300, 300, 300, 100]);

        let reads = (1..).zip(pieces).map(|(at, piece)| file::read(file.fd(), piece, At::Offset(at)));
        let mut read: Vec<_> = block_on(join_all(reads.collect::<Vec<_>>()));
        for (at, (result, piece)) in (1..).zip(&read) {
            assert_eq!(*result, Ok(piece.len()));
            assert!(piece.iter().all(|byte| *byte == at), "piece {at} holds {:?}", &piece[..4]);
        }
        let (_, third) = read.remove(2);
        assert_eq!(file::write(fd, third, At::Offset(3)).wait().0, Ok(300));
        let (_, mut second) = read.remove(1);
        second[17] = 0;
        assert_eq!(
            file::write(fd, second, At::Offset(2)).wait().0,
            Err(Errno::ILSEQ),
            "what is changed is sent"
        );
    });
}

#[test]
fn a_dropped_read_keeps_its_piece_until_it_has_ended() {
    stage::play(|| {
        counter();
        let fd = open("/scheme/counter/a");
        for _ in 0..200 {
            let pieces = FixedBuffer::register(vec![0; 64], 32).unwrap();
            for piece in pieces {
                drop(file::read(fd, piece, At::Offset(1)).submit());
            }
        }
        let last = FixedBuffer::register(vec![0; 64], 64).unwrap().remove(0);
        let (result, piece) = file::read(fd, last, At::Offset(9)).wait();
        assert_eq!((result, &piece[..]), (Ok(64), &[9; 64][..]), "slots have come back");
    });
}

#[test]
fn what_is_too_much_is_refused() {
    stage::play(|| {
        assert_eq!(FixedBuffer::register(vec![0; 64], 0).unwrap_err(), Errno::INVAL);
        assert_eq!(FixedBuffer::register(Vec::new(), 8).unwrap_err(), Errno::NOENT, "no bytes at all");
        let all: Vec<_> = (0..64).map(|_| FixedBuffer::register(vec![0; 8], 8).unwrap()).collect();
        assert_eq!(FixedBuffer::register(vec![0; 8], 8).unwrap_err(), Errno::NOMEM);
        drop(all);
        assert_eq!(FixedBuffer::register(vec![0; 8], 8).map(|pieces| pieces.len()), Ok(1));
    });
}

#[test]
fn many_reads_share_a_few_buffers() {
    stage::play(|| {
        counter();
        let fd = open("/scheme/counter/a");
        let group = BufferGroup::new(4, 100).unwrap();
        for round in 0..100 {
            let all: Vec<_> = (0..4).map(|at| group.read(fd, At::Offset(round + at))).collect();
            let read = block_on(join_all(all));
            for (at, bytes) in (round..).zip(&read) {
                assert_eq!(bytes.as_deref(), Ok(&[at as u8; 100][..]));
            }
            // All four are in use.
            assert_eq!(group.read(fd, At::Offset(9)).wait().map(|_| ()), Err(Errno::NOBUFS));
        }
        assert_eq!(group.read(fd, At::Offset(5)).wait().as_deref(), Ok(&[5; 100][..]));
        assert_eq!(group.read(Fd(999), At::Offset(5)).wait().map(|_| ()), Err(Errno::BADF));
    });
}

#[test]
fn a_dropped_read_gives_its_buffer_back() {
    stage::play(|| {
        counter();
        let fd = open("/scheme/counter/a");
        let group = BufferGroup::new(2, 16).unwrap();
        for _ in 0..100 {
            drop(group.read(fd, At::Offset(1)).submit());
            drop(group.read(fd, At::Offset(2)));
        }
        // What was in flight has ended by then.
        block_on(uring::exec::sleep(Duration::from_millis(300)));
        let both = block_on(join_all(vec![group.read(fd, At::Offset(3)), group.read(fd, At::Offset(4))]));
        assert!(both.iter().all(Result::is_ok), "{both:?}");
        drop(group);
        assert_eq!(both[0].as_deref(), Ok(&[3; 16][..]), "bytes outlive their group's name");
    });
}

#[test]
fn groups_have_numbers_of_their_own() {
    stage::play(|| {
        let all: Vec<_> = (0..16).map(|_| BufferGroup::new(1, 1).unwrap()).collect();
        assert_eq!(BufferGroup::new(1, 1).map(|_| ()), Err(Errno::NFILE));
        drop(all);
        assert_eq!(BufferGroup::new(4096, 1).map(|_| ()), Ok(()));
        for (count, size) in [(0, 1), (3, 1), (8192, 1), (1, 0), (1, 65537)] {
            assert_eq!(BufferGroup::new(count, size).map(|_| ()), Err(Errno::INVAL), "{count} {size}");
        }
    });
}
