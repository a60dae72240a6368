//! The loops that serve: all take what is there, answer it, and enter the kernel once for answers and next requests.
#![forbid(unsafe_code)]

use super::register::Scheme;
use super::request::Request;
use crate::exec::{Running, Turn, Turns, turn, waker};
use crate::ring::current::local;
use crate::ring::local::Local;
use alloc::boxed::Box;
use core::future::{Ready, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};
use ring_abi::{Errno, Opcode, enter};

/// What a handler made of a request.
#[derive(Debug)]
pub enum Served<F> {
    /// It is answered.
    Now,
    /// This future answers it.
    Later(F),
}

/// Lets a scheme's loop end; see [`Scheme::stopper`].
#[derive(Clone, Copy, Debug)]
pub struct Stopper(core::marker::PhantomData<*const ()>);

impl Stopper {
    /// From now on requests are answered with `ENODEV`; the loop ends when those before are answered.
    pub fn stop(self) {
        let service = &local().service;
        service.stopping.set(true);
        service.wake();
    }
}

impl Scheme {
    /// The next request; `None` once the scheme was stopped.
    ///
    /// The most general way to serve. It costs a little more for each request than [`run`](Self::run), because any
    /// of them may be answered late.
    pub async fn next(&mut self) -> Option<Request> {
        poll_fn(|cx| {
            let local = local();
            while let Some(words) = local.ends().take_request() {
                let request = Request::new(words);
                if is_cancel(&request) {
                    cancel(local, request);
                    continue;
                }
                if local.service.stopping.get() {
                    refuse(request);
                    continue;
                }
                if !request.is_oneway() {
                    local.service.pending.add(request.tag());
                }
                return Poll::Ready(Some(request));
            }
            if local.service.stopping.get() {
                return Poll::Ready(None);
            }
            local.service.want(cx.waker());
            Poll::Pending
        })
        .await
    }

    /// Serves until stopped: blocks the thread, with its tasks running beside. The handler makes a future of each
    /// request; one that is not done at once becomes a task.
    pub fn run<F: Future<Output = ()> + 'static>(
        self,
        mut handler: impl FnMut(Request) -> F,
    ) -> Result<(), Errno> {
        self.run_mixed(|request| Served::Later(handler(request)))
    }

    /// As [`run`](Self::run), for a handler that always answers before it returns: the quickest way.
    pub fn run_now(self, mut handler: impl FnMut(Request)) -> Result<(), Errno> {
        self.run_mixed(|request| {
            handler(request);
            Served::<Ready<()>>::Now
        })
    }

    /// As [`run`](Self::run), for a handler that answers some requests at once.
    pub fn run_mixed<F: Future<Output = ()> + 'static>(
        self,
        mut handler: impl FnMut(Request) -> Served<F>,
    ) -> Result<(), Errno> {
        let local = local();
        let _running = Running::begin(local);
        let mut spare = Spare::new();
        let mut patience = 0;
        loop {
            if local.service.stopping.get() {
                if drain_stopped(local) {
                    return Ok(());
                }
            } else {
                drain(local, |request| serve_one(local, request, &mut spare, &mut handler));
            }
            while !local.tasks.idle() && turn(local, &mut patience) != Turn::Idle {}
            if !local.service.stopping.get() || !local.service.pending.is_empty() {
                local.wait(enter::REQUESTS);
            }
        }
    }

    /// Serves beside other futures: as [`run`](Self::run), but to be awaited.
    pub async fn serve<F: Future<Output = ()> + 'static>(&mut self, mut handler: impl FnMut(Request) -> F) {
        let mut spare = Spare::new();
        poll_fn(|cx| {
            let local = local();
            if local.service.stopping.get() {
                if drain_stopped(local) {
                    return Poll::Ready(());
                }
            } else {
                let mut handler = |request| Served::Later(handler(request));
                drain(local, |request| serve_one(local, request, &mut spare, &mut handler));
            }
            local.service.want(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Something that can stop this scheme, from a task of its thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(core::marker::PhantomData)
    }
}

/// Takes every request that is there.
#[inline(always)]
fn drain(local: &Local, mut handle: impl FnMut(Request)) {
    local.ends().take_requests(|words| {
        let request = Request::new(words);
        if is_cancel(&request) {
            cancel(local, request);
        } else {
            handle(request);
        }
    });
}

/// Hands a request to its handler, and remembers it if its answer takes a while.
#[inline(always)]
fn serve_one<F: Future<Output = ()> + 'static>(
    local: &Local,
    request: Request,
    spare: &mut Spare<F>,
    handler: &mut impl FnMut(Request) -> Served<F>,
) {
    let awaited = (!request.is_oneway()).then_some(request.tag());
    if let Served::Later(future) = handler(request) {
        if let Some(tag) = awaited {
            local.service.pending.begin(tag);
        }
        spare.begin(local, future);
        local.service.pending.end_begin();
    }
}

/// Refuses every request that is there; `true` if none is unanswered now.
#[cold]
fn drain_stopped(local: &Local) -> bool {
    drain(local, refuse);
    local.service.pending.is_empty()
}

fn refuse(request: Request) {
    request.reply::<u64>(Err(Errno::NODEV));
}

#[inline(always)]
fn is_cancel(request: &Request) -> bool {
    request.kind as u8 == Opcode::Cancel.raw()
}

/// The client of the request with the same tag no longer waits.
#[cold]
#[inline(never)]
fn cancel(local: &Local, notice: Request) {
    local.service.pending.cancel(notice.tag());
    core::mem::forget(notice); // no answer is wanted, whatever its flags say
}

/// Memory for the future of the next request. As long as futures are done at once, it is used again and again.
struct Spare<F> {
    place: Option<(u32, Pin<Box<Option<F>>>)>,
}

impl<F: Future<Output = ()> + 'static> Spare<F> {
    fn new() -> Spare<F> {
        Spare { place: None }
    }

    /// Polls the future that answers a request; what is not done becomes a task.
    #[inline(always)]
    fn begin(&mut self, local: &Local, future: F) {
        let (index, mut body) = match self.place.take() {
            Some(place) => place,
            None => (local.tasks.reserve(), Box::pin(None)),
        };
        body.as_mut().set(Some(future));
        let waker = waker(index);
        match Turns::poll(body.as_mut(), &mut Context::from_waker(&waker)) {
            Poll::Ready(()) => {
                body.as_mut().set(None);
                self.place = Some((index, body));
            }
            Poll::Pending => local.tasks.put(index, body),
        }
    }
}
