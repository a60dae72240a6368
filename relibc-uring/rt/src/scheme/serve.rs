//! The loops that serve: all take what is there, answer it, and enter the kernel once for answers and next requests.
#![forbid(unsafe_code)]

use super::register::Scheme;
use super::request::Request;
use crate::exec::{ROOT, Running, Turn, Turns, turn, waker};
use crate::ring::current::local;
use crate::ring::local::Local;
use alloc::boxed::Box;
use core::future::poll_fn;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};
use ring_abi::map::Settled;
use ring_abi::{Errno, Opcode};

/// What a handler made of a request.
#[derive(Debug)]
pub enum Served<F> {
    /// It is answered.
    Now,
    /// This future answers it.
    Later(F),
}

/// Answers requests before it returns; any `FnMut(Request)` does.
///
/// Worth an `impl` where every instruction counts: a method can be `#[inline(always)]`.
pub trait Handler {
    /// Answers one.
    fn answer(&mut self, request: Request);
}

impl<F: FnMut(Request)> Handler for F {
    #[inline(always)]
    fn answer(&mut self, request: Request) {
        self(request);
    }
}

/// Answers the requests that it can answer before it returns; for [`Scheme::run_or_later`].
///
/// A method can be `#[inline(always)]`, so that a request stays in registers.
pub trait Ready {
    /// Answers one, or gives it back: then it is answered later.
    fn answer(&mut self, request: Request) -> Option<Request>;
}

/// Lets a scheme's loop end; see [`Scheme::stopper`].
#[derive(Clone, Copy, Debug)]
pub struct Stopper(PhantomData<*const ()>);

impl Stopper {
    /// From now on requests are answered with `ENODEV`; the loop ends when those before are answered.
    pub fn stop(self) {
        let local = local();
        local.service.stopping.set(true);
        local.tasks.wake(ROOT);
        local.service.wake();
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
                    Refusal.serve(local, request);
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

    /// As [`run`](Self::run), for a handler that answers some requests at once.
    pub fn run_mixed<F: Future<Output = ()> + 'static>(
        self,
        handler: impl FnMut(Request) -> Served<F>,
    ) -> Result<(), Errno> {
        run(Mixed { handler, spare: Spare::new() })
    }

    /// As [`run`](Self::run), where most requests are answered at once: `later` makes a future of each of the others.
    pub fn run_or_later<F: Future<Output = ()> + 'static>(
        self,
        ready: impl Ready,
        later: impl FnMut(Request) -> F,
    ) -> Result<(), Errno> {
        run(OrLater { ready, later, spare: Spare::new() })
    }

    /// As [`run`](Self::run), for a handler that always answers before it returns: the quickest way.
    pub fn run_now(self, handler: impl Handler) -> Result<(), Errno> {
        run(Now(handler))
    }

    /// Serves beside other futures: as [`run`](Self::run), but to be awaited.
    pub async fn serve<F: Future<Output = ()> + 'static>(&mut self, mut handler: impl FnMut(Request) -> F) {
        let mut server = Mixed { handler: |request| Served::Later(handler(request)), spare: Spare::new() };
        poll_fn(|cx| {
            let local = local();
            if local.service.stopping.get() {
                if drain(local, &mut Refusal) {
                    return Poll::Ready(());
                }
            } else {
                drain(local, &mut server);
            }
            local.service.want(cx.waker());
            Poll::Pending
        })
        .await;
    }

    /// Something that can stop this scheme, from a task of its thread.
    pub fn stopper(&self) -> Stopper {
        Stopper(PhantomData)
    }
}

/// The loop of a thread that does nothing but serve.
#[inline(always)]
fn run(mut server: impl Server) -> Result<(), Errno> {
    let local = local();
    let _running = Running::begin(local);
    let mut patience = 0;
    if local.service.stopping.get() {
        local.tasks.wake(ROOT);
    }
    loop {
        drain(local, &mut server);
        if !local.tasks.idle() {
            run_tasks(local, &mut patience);
            // Whoever stops the scheme wakes the root.
            if local.service.stopping.get() {
                break;
            }
        }
        local.wait(true);
    }
    while !drain(local, &mut Refusal) {
        local.wait(true);
        run_tasks(local, &mut patience);
    }
    local.flush();
    Ok(())
}

/// Polls the tasks that are ready.
fn run_tasks(local: &Local, patience: &mut u32) {
    while !local.tasks.idle() && turn(local, patience) != Turn::Idle {}
}

/// Deals with requests.
trait Server {
    /// Deals with one.
    fn serve(&mut self, local: &Local, request: Request);
}

/// Answers at once.
struct Now<H>(H);

impl<H: Handler> Server for Now<H> {
    #[inline(always)]
    fn serve(&mut self, _: &Local, mut request: Request) {
        request.tracked = false;
        self.0.answer(request);
    }
}

/// Answers at once or later.
struct Mixed<H, F> {
    handler: H,
    spare: Spare<F>,
}

impl<F: Future<Output = ()> + 'static, H: FnMut(Request) -> Served<F>> Server for Mixed<H, F> {
    #[inline(always)]
    fn serve(&mut self, local: &Local, request: Request) {
        let awaited = (!request.is_oneway()).then_some(request.tag());
        if let Served::Later(future) = (self.handler)(request) {
            if let Some(tag) = awaited {
                local.service.pending.begin(tag);
            }
            self.spare.begin(local, future);
            local.service.pending.end_begin();
        }
    }
}

/// Answers at once what can be, and the rest later.
struct OrLater<H, L, F> {
    ready: H,
    later: L,
    spare: Spare<F>,
}

impl<H: Ready, F: Future<Output = ()> + 'static, L: FnMut(Request) -> F> Server for OrLater<H, L, F> {
    #[inline(always)]
    fn serve(&mut self, local: &Local, request: Request) {
        if let Some(request) = self.ready.answer(request) {
            self.begin(local, request);
        }
    }
}

impl<H, F: Future<Output = ()> + 'static, L: FnMut(Request) -> F> OrLater<H, L, F> {
    #[inline(never)]
    fn begin(&mut self, local: &Local, request: Request) {
        let awaited = (!request.is_oneway()).then_some(request.tag());
        let future = (self.later)(request);
        if let Some(tag) = awaited {
            local.service.pending.begin(tag);
        }
        self.spare.begin(local, future);
        local.service.pending.end_begin();
    }
}

/// Refuses everything, because the scheme was stopped.
struct Refusal;

impl Server for Refusal {
    fn serve(&mut self, _: &Local, request: Request) {
        request.reply::<u64>(Err(Errno::NODEV));
    }
}

/// Takes every request that is there; `true` if none waits for its answer now.
///
/// The server is compiled three times: for reads and for writes, where the compiler then knows the opcode and keeps
/// the request in registers, and out of the way for everything else.
#[inline(always)]
fn drain(local: &Local, server: &mut impl Server) -> bool {
    const READ: u16 = Opcode::Read.raw() as u16;
    const WRITE: u16 = Opcode::Write.raw() as u16;
    let end = local.ends().show_requests(|entry| match entry.words()[0] as u16 {
        READ => server.serve(local, Request::known::<READ>(entry.words())),
        WRITE => server.serve(local, Request::known::<WRITE>(entry.words())),
        _ => serve_rarely(local, entry, server),
    });
    local.ends().take_requests(end);
    local.service.pending.is_empty()
}

#[cold]
#[inline(never)]
fn serve_rarely(local: &Local, entry: Settled<'_>, server: &mut impl Server) {
    let request = Request::new(entry.words());
    if is_cancel(&request) {
        cancel(local, request);
    } else {
        server.serve(local, request);
    }
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
