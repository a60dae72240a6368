//! Both schemes together: what is answered at once, and the tasks for the rest.
#![forbid(unsafe_code)]

use crate::proc::Outcome;
use crate::{initfs, launch, proc};
use alloc::rc::Rc;
use alloc::string::String;
use bootstrap::changes::Changes;
use bootstrap::ids::Id;
use bootstrap::table::{INIT, Owner, Pid, Table};
use core::cell::{Cell, RefCell};
use initfs_format::Image;
use ring_abi::Errno;
use ring_abi::context::{End, Reason};
use ring_abi::layout::Sizes;
use uring::eprintln;
use uring::exec::{Raced, race};
use uring::op::context::Identity;
use uring::op::{self, Fd};
use uring::scheme::{Answer, Request, Served};
use uring::start::exit;

/// The capability to say who a context is, the kernel's second gift to the first program.
const IDENTITY: Fd = Fd(1);
/// Greatest number of processes. Each has an operation of ours in flight that waits for its end.
const MOST_PROCESSES: usize = 1000;
/// Greatest number of requests that wait, out of those that can be unanswered: there is always room for others.
const MOST_WAITING: usize = 192;

/// Sizes of this program's ring: a completion for each process, and some more.
pub(crate) const RING: Sizes = Sizes { sq: 6, cq: 10, service: Some(8) };

const _: () = assert!(MOST_PROCESSES < RING.cq_entries() && MOST_WAITING < RING.service_entries());

/// Everything that the two schemes know.
pub(crate) struct Server {
    image: Image<'static>,
    /// The process table, with the context of each process.
    pub(crate) table: RefCell<Table<Fd>>,
    /// Told when a process ends.
    changes: Changes,
    waiting: Cell<usize>,
}

impl Server {
    pub(crate) fn new(image: Image<'static>) -> Server {
        Server {
            image,
            table: RefCell::new(Table::new(MOST_PROCESSES)),
            changes: Changes::default(),
            waiting: Cell::new(0),
        }
    }

    /// Answers a request, now or in a task.
    pub(crate) fn answer(self: &Rc<Self>, mut request: Request) -> Served<impl Future<Output = ()> + use<>> {
        let outcome = match Id::of(request.file()) {
            Some(Id::Node(node)) => Outcome::Now(initfs::answer(&self.image, node, &mut request)),
            Some(id) => proc::answer(self, id, &mut request),
            None => Outcome::Now(Err(Errno::BADF)),
        };
        match outcome {
            Outcome::Now(answer) => {
                request.reply(answer);
                Served::Now
            }
            Outcome::Wait if self.waiting.get() >= MOST_WAITING => {
                request.reply::<Answer>(Err(Errno::AGAIN));
                Served::Now
            }
            Outcome::Wait => Served::Later(self.clone().later(request, None)),
            Outcome::Adopt(pid) => Served::Later(self.clone().later(request, Some(pid))),
        }
    }

    /// Answers a request that takes a while.
    async fn later(self: Rc<Self>, mut request: Request, adopt: Option<Pid>) {
        let answer = match adopt {
            Some(pid) => self.adopt(pid, &mut request).await,
            None => {
                self.waiting.set(self.waiting.get().saturating_add(1));
                let answer = self.wait(&mut request).await;
                self.waiting.set(self.waiting.get().saturating_sub(1));
                answer
            }
        };
        request.reply(answer);
    }

    /// Asks again after each end of a process, until there is an answer or nobody waits for it.
    async fn wait(&self, request: &mut Request) -> Result<Answer, Errno> {
        loop {
            let change = self.changes.next();
            let id = Id::of(request.file()).ok_or(Errno::BADF)?;
            if let Outcome::Now(answer) = proc::answer(self, id, request) {
                return answer;
            }
            if let Raced::Second(()) = race(change, request.cancelled()).await {
                return Err(Errno::CANCELED);
            }
        }
    }

    /// Takes the context that was sent for an unborn process, says who it is, and watches it.
    async fn adopt(self: &Rc<Self>, pid: Pid, request: &mut Request) -> Result<Answer, Errno> {
        let context = request.take_handle().await?;
        let started = self.start(pid, context);
        if started.is_err() {
            op::handle::close(context).wait()?;
        }
        started.map(|()| Answer::from(u64::from(pid)))
    }

    fn start(self: &Rc<Self>, pid: Pid, context: Fd) -> Result<(), Errno> {
        let Owner { uid, gid } = self.table.borrow().unborn(pid)?;
        op::context::identify(context, Identity { pid, uid, gid }, IDENTITY).wait()?;
        self.table.borrow_mut().start(pid, context)?;
        uring::spawn(self.clone().watch(pid, context)).detach();
        Ok(())
    }

    /// Waits for the end of a process's context, which is the end of the process.
    async fn watch(self: Rc<Self>, pid: Pid, context: Fd) {
        let end = op::context::wait(context).await.unwrap_or(End::Ended(Reason::Killed));
        self.table.borrow_mut().end(pid, end);
        self.changes.announce();
        // The handle was ours alone, so this cannot fail.
        let _ = op::handle::close(context).await;
        if pid == INIT {
            eprintln!("bootstrap: init has ended: {end:?}");
            exit(1);
        }
    }

    /// Starts process 1. The handle that stands for it is asked of our own scheme, which only a task can do.
    pub(crate) async fn start_init(self: Rc<Self>, console: Fd) {
        if let Err(error) = self.try_start_init(console).await {
            eprintln!("bootstrap: {} cannot be started: {error}", launch::INIT_PATH);
            exit(1);
        }
    }

    async fn try_start_init(self: &Rc<Self>, console: Fd) -> Result<(), Errno> {
        let (proc, _) = op::file::open_at(Fd::CURRENT, String::from("/scheme/proc/init"), 0).await;
        let proc = proc?;
        let context = launch::prepare_init(&self.image, proc, console)?;
        op::handle::close(proc).wait()?;
        self.start(INIT, context)?;
        op::context::start(context).wait()
    }
}
