//! The daemon kit against the real kernel on its fake machine: clients and daemons are programs of their own.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod stage;

use ring_abi::layout::Sizes;
use ring_abi::{Errno, args};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use uring::exec::{Raced, join_all, race, sleep};
use uring::op::batch::Batch;
use uring::op::file::{self, At};
use uring::op::{Fd, handle, repeat, time};
use uring::scheme::{Answer, Body, Request, Scheme, Served, send_events};
use uring::{block_on, spawn};

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

fn read(fd: Fd, length: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0xee; length];
    let count = file::read(fd, bytes.as_mut_slice(), At::Offset(0)).wait().0?;
    bytes.truncate(count);
    Ok(bytes)
}

/// A daemon whose reads are answered by `body`, at once.
fn daemon(
    name: &'static str,
    mut body: impl FnMut(uring::scheme::Read<'_>) -> Result<usize, Errno> + Send + 'static,
) {
    stage::spawn(move || {
        let scheme = Scheme::register(name).unwrap();
        let served = scheme.run_now(|mut request: Request| {
            let result = match request.body() {
                Body::Open(_) => Ok(Answer::File(1)),
                Body::Read(read) => body(read).map(Answer::from),
                Body::Closed => Ok(Answer::Number(0)),
                _ => Err(Errno::NOSYS),
            };
            request.reply(result);
        });
        served.unwrap();
    });
}

#[test]
fn a_client_reads_what_the_daemon_wrote() {
    stage::play(|| {
        daemon("echo", |mut read| Ok(read.out.write(b"hello")));
        let fd = open("/scheme/echo/file");
        assert_eq!(read(fd, 100).unwrap(), b"hello");
        assert_eq!(read(fd, 3).unwrap(), b"hel");
        assert_eq!(read(fd, 0).unwrap(), b"");
        handle::close(fd).wait().unwrap();
    });
}

#[test]
fn what_was_not_written_never_reaches_a_client() {
    stage::play(|| {
        let mut first = true;
        daemon("leak", move |mut read| {
            if std::mem::take(&mut first) {
                return Ok(read.out.write(b"secret"));
            }
            read.out.write(b"s");
            Ok(6) // claims more than it wrote
        });
        let fd = open("/scheme/leak/");
        assert_eq!(read(fd, 6).unwrap(), b"secret");
        assert_eq!(read(fd, 6).unwrap(), b"s");
    });
}

#[test]
fn an_unanswered_request_is_an_error_of_its_client() {
    stage::play(|| {
        stage::spawn(|| {
            let scheme = Scheme::register("lazy").unwrap();
            scheme
                .run_now(|mut request: Request| match request.body() {
                    Body::Open(_) => request.reply(Ok(Answer::File(1))),
                    _ => drop(request),
                })
                .unwrap();
        });
        let fd = open("/scheme/lazy/");
        assert_eq!(read(fd, 1), Err(Errno::IO));
    });
}

#[test]
fn many_reads_in_flight_are_all_answered() {
    stage::play(|| {
        daemon("zero", |mut read| Ok(read.out.zeros(usize::MAX)));
        let fd = open("/scheme/zero/");
        let mut buffers = vec![[0xee_u8; 8]; 300];
        let mut batch =
            Batch::new(buffers.iter_mut().map(|buffer| file::read(fd, buffer.as_mut_slice(), At::Offset(0))));
        assert!(batch.wait().iter().all(|result| result.0 == 8));
        drop(batch);
        assert!(buffers.iter().all(|buffer| *buffer == [0; 8]));
    });
}

/// A daemon that answers a read of `n` bytes after `n` milliseconds.
fn sleeper(name: &'static str) {
    stage::spawn(move || {
        Scheme::register(name)
            .unwrap()
            .run(|mut request| async move {
                let result = match request.body() {
                    Body::Open(_) => Ok(Answer::File(1)),
                    Body::Read(mut read) => {
                        sleep(Duration::from_millis(read.out.room() as u64)).await;
                        Ok(read.out.zeros(usize::MAX).into())
                    }
                    _ => Ok(Answer::Number(0)),
                };
                request.reply(result);
            })
            .unwrap();
    });
}

#[test]
fn answers_overlap() {
    stage::play(|| {
        sleeper("sleep");
        let fd = open("/scheme/sleep/");
        let order = Rc::new(RefCell::new(Vec::new()));
        let start = stage::now();
        block_on(async {
            let reads: Vec<_> = [30_usize, 10, 20]
                .into_iter()
                .map(|length| {
                    let order = order.clone();
                    spawn(async move {
                        let (result, _) = file::read(fd, vec![1; length], At::Offset(0)).await;
                        order.borrow_mut().push(result.unwrap());
                    })
                })
                .collect();
            join_all(reads).await;
        });
        assert_eq!(*order.borrow(), [10, 20, 30]);
        assert!(stage::now() - start < 40_000_000, "one after the other would take 60 ms");
    });
}

#[test]
fn a_dropped_read_is_cancelled_and_its_buffer_kept_until_then() {
    /// Tells when it goes.
    struct Noticed(Rc<RefCell<bool>>, Box<[u8]>);
    impl Drop for Noticed {
        fn drop(&mut self) {
            *self.0.borrow_mut() = true;
        }
    }
    // SAFETY: the bytes are on the heap and stay there.
    unsafe impl uring::ring::IoBuf for Noticed {
        fn bytes(&self) -> &[u8] {
            &self.1
        }
    }
    // SAFETY: it alone owns its bytes.
    unsafe impl uring::ring::IoBufMut for Noticed {
        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.1
        }
    }
    stage::play(|| {
        sleeper("slow");
        let fd = open("/scheme/slow/");
        let gone = Rc::new(RefCell::new(false));
        let buffer = Noticed(gone.clone(), vec![0; 50].into());
        let sent = file::read(fd, buffer, At::Offset(0)).submit();
        drop(sent);
        assert!(!*gone.borrow(), "the kernel still has the buffer");
        block_on(sleep(Duration::from_millis(200)));
        assert!(*gone.borrow(), "the kernel has let go");
        assert_eq!(read(fd, 1).unwrap(), [0], "the tag is free for others");
    });
}

#[test]
fn a_daemon_learns_that_its_client_gave_up() {
    stage::play(|| {
        stage::spawn(|| {
            let told = Rc::new(RefCell::new(0_u64));
            Scheme::register("patient")
                .unwrap()
                .run(move |mut request| {
                    let told = told.clone();
                    async move {
                        let result = match request.body() {
                            Body::Open(_) => Ok(Answer::File(1)),
                            Body::Read(_) => {
                                request.cancelled().await;
                                assert!(request.is_cancelled());
                                *told.borrow_mut() += 1;
                                Err(Errno::CANCELED)
                            }
                            Body::Length => Ok(Answer::Number(*told.borrow())),
                            _ => Ok(Answer::Number(0)),
                        };
                        request.reply(result);
                    }
                })
                .unwrap();
        });
        let fd = open("/scheme/patient/");
        let read = async { file::read(fd, vec![0; 9], At::Offset(0)).await.0 };
        let pause = sleep(Duration::from_millis(1));
        assert_eq!(block_on(race(read, pause)), Raced::Second(()));
        block_on(sleep(Duration::from_millis(1)));
        assert_eq!(file::fsize(fd).wait(), Ok(1));
    });
}

#[test]
fn requests_can_be_taken_one_by_one_and_kept() {
    stage::play(|| {
        stage::spawn(|| {
            block_on(async {
                let mut scheme = Scheme::register("stream").unwrap();
                let mut kept = Vec::new();
                while let Some(mut request) = scheme.next().await {
                    match request.body() {
                        Body::Open(_) => request.reply(Ok(Answer::File(1))),
                        Body::Read(mut read) => {
                            read.out.write(b"x");
                            kept.push(request);
                        }
                        _ => request.reply(Ok(Answer::Number(0))),
                    }
                    if kept.len() == 3 {
                        for request in kept.drain(..).rev() {
                            request.reply(Ok(1_usize));
                        }
                    }
                }
            });
        });
        let fd = open("/scheme/stream/");
        let mut buffers = [[0_u8; 4]; 3];
        let mut batch =
            Batch::new(buffers.iter_mut().map(|b| file::read(fd, b.as_mut_slice(), At::Offset(0))));
        assert_eq!(batch.wait().iter().map(|result| result.0).collect::<Vec<_>>(), [1, 1, 1]);
    });
}

#[test]
fn a_stopped_scheme_answers_what_it_took_and_refuses_the_rest() {
    stage::play(|| {
        let daemon = stage::spawn(|| {
            let scheme = Scheme::register("brief").unwrap();
            let stopper = scheme.stopper();
            scheme
                .run(move |mut request| async move {
                    let result = match request.body() {
                        Body::Open(_) => Ok(Answer::File(1)),
                        Body::Read(_) => {
                            sleep(Duration::from_millis(5)).await;
                            Ok(Answer::Number(0))
                        }
                        Body::Write(write) => {
                            stopper.stop();
                            Ok(write.bytes.len().into())
                        }
                        _ => Ok(Answer::Number(0)),
                    };
                    request.reply(result);
                })
                .unwrap();
        });
        let fd = open("/scheme/brief/");
        block_on(async {
            let slow = file::read(fd, vec![0; 4], At::Offset(0)).submit();
            assert_eq!(file::write(fd, vec![1, 2], At::Offset(0)).await.0, Ok(2));
            assert_eq!(file::fsize(fd).await, Err(Errno::NODEV));
            assert_eq!(slow.await.0, Ok(0));
        });
        stage::join(daemon);
        assert_eq!(file::fsize(fd).wait(), Err(Errno::NODEV));
    });
}

#[test]
fn a_poll_ends_when_the_daemon_says_so() {
    stage::play(|| {
        stage::spawn(|| {
            Scheme::register("bell")
                .unwrap()
                .run_mixed(|mut request: Request| {
                    let file = request.file();
                    let result = match request.body() {
                        Body::Open(_) => Ok(Answer::File(7)),
                        Body::Events(_) => {
                            let later = async move {
                                sleep(Duration::from_millis(2)).await;
                                send_events(file, args::event::READ);
                            };
                            request.reply(Ok(0_u64));
                            return Served::Later(later);
                        }
                        _ => Ok(Answer::Number(0)),
                    };
                    request.reply(result);
                    Served::Now
                })
                .unwrap();
        });
        let fd = open("/scheme/bell/");
        assert_eq!(file::poll(fd, args::event::ALL).wait(), Ok(args::event::READ));
    });
}

#[test]
fn a_handle_travels_to_a_daemon_and_back() {
    stage::play(|| {
        daemon("target", |mut read| Ok(read.out.write(b"target")));
        stage::spawn(|| {
            let kept = Rc::new(RefCell::new(None));
            Scheme::register("cloak")
                .unwrap()
                .run(move |mut request| {
                    let kept = kept.clone();
                    async move {
                        let result = match request.body() {
                            Body::Open(_) => Ok(Answer::File(1)),
                            Body::Sent(_) => {
                                let fd = request.take_handle().await;
                                fd.map(|fd| *kept.borrow_mut() = Some(fd)).map(Answer::from)
                            }
                            Body::Wanted(_) => {
                                kept.borrow_mut().take().map(Answer::Handle).ok_or(Errno::NOENT)
                            }
                            _ => Ok(Answer::Number(0)),
                        };
                        request.reply(result);
                    }
                })
                .unwrap();
        });
        let (target, cloak) = (open("/scheme/target/"), open("/scheme/cloak/"));
        file::sendfd(cloak, target, 0, 0).wait().unwrap();
        handle::close(target).wait().unwrap();
        let back = file::recvfd(cloak, 0, 0).wait().unwrap();
        assert_eq!(read(back, 9).unwrap(), b"target");
    });
}

#[test]
fn a_link_says_where_to_go_on() {
    use uring::op::name::{Opened, open_through};
    stage::play(|| {
        stage::spawn(|| {
            let scheme = Scheme::register("signpost").unwrap();
            scheme
                .run_now(|mut request: Request| {
                    let result = match request.body() {
                        Body::Open(open) => Ok(Answer::Link(format!("/scheme/else/{}", open.path))),
                        _ => Err(Errno::NOSYS),
                    };
                    request.reply(result);
                })
                .unwrap();
        });
        daemon("else", |mut read| Ok(read.out.write(b"x")));
        open("/scheme/else/");
        let path = b"/scheme/signpost/a/b";
        let mut buffer = vec![0; 64];
        buffer[..path.len()].copy_from_slice(path);
        let (opened, buffer) = open_through(Fd::CURRENT, buffer, path.len(), 0).wait();
        let Ok(Opened::Link(length)) = opened else { panic!("{opened:?}") };
        assert_eq!(&buffer[..length], b"/scheme/else/a/b");
    });
}

#[test]
fn a_dead_daemon_fails_its_clients() {
    stage::play(|| {
        let daemon = stage::spawn(|| {
            let scheme = Scheme::register("mortal").unwrap();
            scheme
                .run_now(|mut request: Request| match request.body() {
                    Body::Open(_) => request.reply(Ok(Answer::File(1))),
                    _ => {
                        // Ends with the request in hand.
                        let _ = uring::op::context::exit(0, 0).wait();
                    }
                })
                .unwrap();
        });
        let fd = open("/scheme/mortal/");
        assert_eq!(read(fd, 4), Err(Errno::CONNRESET));
        stage::join(daemon);
        assert_eq!(read(fd, 4), Err(Errno::NODEV));
    });
}

#[test]
fn registering_with_operations_in_flight_is_refused() {
    stage::play(|| {
        let waiting = time::after(Duration::from_millis(1)).submit();
        assert_eq!(Scheme::register("busy").err(), Some(Errno::BUSY));
        block_on(waiting).unwrap();
        assert!(Scheme::register("busy").is_ok());
        assert_eq!(Scheme::register("BAD NAME").err(), Some(Errno::INVAL));
        assert_eq!(Scheme::register("busy").err(), Some(Errno::EXIST));
    });
}

#[test]
fn a_small_queue_makes_clients_wait_and_loses_nothing() {
    stage::play(|| {
        stage::spawn_with(Sizes::SMALLEST, || {
            let scheme = Scheme::builder("narrow").queue(1).slot_bytes(512).register().unwrap();
            scheme
                .run(|mut request| async move {
                    let result = match request.body() {
                        Body::Open(_) => Ok(Answer::File(1)),
                        Body::Write(write) => {
                            let count = write.bytes.len();
                            sleep(Duration::from_micros(3)).await;
                            Ok(count.into())
                        }
                        _ => Ok(Answer::Number(0)),
                    };
                    request.reply(result);
                })
                .unwrap();
        });
        let fd = open("/scheme/narrow/");
        let bytes = [7_u8; 100];
        let mut batch = Batch::new((0..200).map(|_| file::write(fd, &bytes[..], At::Offset(0))));
        assert!(batch.wait().iter().all(|result| result.0 == 100));
        let long = [7_u8; 5000];
        assert_eq!(file::write(fd, &long[..], At::Offset(0)).wait().0, Ok(512), "one slot at a time");
    });
}

#[test]
fn a_daemon_that_drops_operations_which_make_handles_keeps_serving() {
    [1, 3].into_iter().for_each(serve_and_drop);
}

/// A daemon serves, and drops so many operations for each read.
fn serve_and_drop(dropped: usize) {
    const READS: usize = 300;
    /// The lowest free handle.
    fn lowest() -> u64 {
        let fd = handle::table_create().wait().unwrap();
        handle::close(fd).wait().unwrap();
        fd.0
    }
    stage::play(|| {
        stage::spawn_with(Sizes::SMALLEST, move || {
            Scheme::register("careless")
                .unwrap()
                .run(move |mut request| async move {
                    let result = match request.body() {
                        Body::Open(_) => Ok(Answer::File(1)),
                        Body::Read(mut read) => {
                            // Their handles are closed when they come, with nobody to hear of it.
                            (0..dropped).for_each(|_| drop(handle::table_create().submit()));
                            if read.out.room() == 5 {
                                // What the daemon waits for itself comes all the same.
                                sleep(Duration::from_micros(3)).await;
                            }
                            Ok(read.out.write(b"here").into())
                        }
                        _ => Ok(Answer::Number(0)),
                    };
                    request.reply(result);
                })
                .unwrap();
        });
        let fd = open("/scheme/careless/");
        let before = lowest();
        for number in 0..READS {
            assert_eq!(read(fd, 4 + number % 2).as_deref(), Ok(&b"here"[..]), "read {number} is answered");
        }
        assert_eq!(file::fsize(fd).wait(), Ok(0), "it serves on");
        block_on(sleep(Duration::from_millis(1)));
        assert_eq!(lowest(), before, "every handle was closed");
    });
}

/// A daemon at whose files others come in: `count` of them at `many`, each a moment after the one before.
fn listener(name: &'static str, count: u64) {
    stage::spawn(move || {
        let scheme = Scheme::register(name).unwrap();
        let given = Rc::new(RefCell::new(0));
        let served = scheme.run(move |mut request: Request| {
            let given = given.clone();
            async move {
                let name = match request.body() {
                    Body::Open(_) => return request.reply(Ok(Answer::File(1))),
                    Body::Dup(dup) => dup.name.to_vec(),
                    Body::Read(mut read) => {
                        let count = read.out.write(b"x");
                        let id = request.file();
                        return request.reply(Ok(Answer::from(if id > 1 { count } else { 0 })));
                    }
                    _ => return request.reply(Ok(0_u64)),
                };
                assert!(matches!(&name[..], b"many" | b"one" | b"drop"), "{name:?}");
                sleep(Duration::from_micros(50)).await;
                *given.borrow_mut() += 1;
                let id = 1 + *given.borrow();
                match &name[..] {
                    b"drop" => drop(request),
                    b"one" => request.reply(Ok(Answer::File(id))),
                    _ if id > count => request.reply(Ok(Answer::File(id))),
                    _ => request.send(Ok(Answer::File(id))),
                }
            }
        });
        served.unwrap();
    });
}

#[test]
fn a_daemon_answers_one_request_many_times() {
    stage::play(|| {
        listener("listen", 30);
        let fd = open("/scheme/listen/socket");
        let mut incoming = repeat::incoming(fd, b"many".to_vec());
        let mut handles = Vec::new();
        block_on(async {
            while let Some(handle) = incoming.next().await {
                handles.push(handle.unwrap());
            }
        });
        assert_eq!(handles.len(), 30);
        for handle in handles {
            assert_eq!(read(handle, 1).unwrap(), b"x", "each leads to a file");
            handle::close(handle).wait().unwrap();
        }
        // Where one answer is asked for, one comes.
        let one = file::dup(fd, b"many".to_vec()).wait().0.unwrap();
        assert_eq!(read(one, 1).unwrap(), b"x");
        let mut last = repeat::incoming(fd, b"one".to_vec());
        assert!(matches!(block_on(last.next()), Some(Ok(_))));
        assert_eq!(block_on(last.next()), None);
        let mut dropped = repeat::incoming(fd, b"drop".to_vec());
        assert_eq!(block_on(dropped.next()), Some(Err(Errno::IO)), "an answer that was dropped is the last");
        assert_eq!(block_on(dropped.next()), None);
    });
}

#[test]
fn handles_that_a_dropped_stream_did_not_take_are_closed() {
    stage::play(|| {
        listener("closing", u64::MAX);
        let fd = open("/scheme/closing/socket");
        for round in 0..8 {
            let mut incoming = repeat::incoming(fd, b"many".to_vec()).submit();
            // Some come in and are not looked at.
            time::after(Duration::from_micros(300)).wait().unwrap();
            if round % 2 == 0 {
                handle::close(block_on(incoming.next()).unwrap().unwrap()).wait().unwrap();
            }
            drop(incoming);
            time::after(Duration::from_millis(1)).wait().unwrap();
        }
        time::after(Duration::from_millis(300)).wait().unwrap();
        assert_eq!(open("/scheme/closing/last"), Fd(fd.0 + 1), "no other handle is left");
    });
}

#[test]
fn events_come_again_and_again() {
    stage::play(|| {
        stage::spawn(|| {
            let scheme = Scheme::register("eventful").unwrap();
            scheme
                .run(|mut request: Request| async move {
                    match request.body() {
                        Body::Open(_) => request.reply(Ok(Answer::File(1))),
                        Body::Events(_) => request.reply(Ok(0_u64)),
                        Body::Write(write) => {
                            let count = write.bytes.len();
                            send_events(1, args::event::READ);
                            request.reply(Ok(count));
                        }
                        _ => request.reply(Ok(0_u64)),
                    }
                })
                .unwrap();
        });
        let fd = open("/scheme/eventful/x");
        let write = || file::write(fd, b"x".to_vec(), At::Offset(0)).wait().0.unwrap();
        let mut events = repeat::events(fd, args::event::READ).submit();
        time::after(Duration::from_millis(1)).wait().unwrap();
        for _ in 0..20 {
            write();
            assert_eq!(block_on(events.next()), Some(Ok(args::event::READ)));
        }
        for _ in 0..100 {
            write();
        }
        assert_eq!(block_on(events.next()), Some(Ok(args::event::READ)), "those that nobody saw are one");
        let more = block_on(race(events.next(), sleep(Duration::from_millis(1))));
        assert_eq!(more, Raced::Second(()));
    });
}
