//! Boots the system and relays what its program says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::choice::Choice;
use crate::ended::Ended;
use crate::guest::{self, Limits, Listener};
use crate::initfs::Content;
use crate::progress::Step;
use crate::qemu::{Clock, Machine};
use crate::serial::Event;
use crate::setup::{self, Need};
use crate::symbols::frame;
use crate::toolchain::Toolchain;
use crate::tree::{Scratch, Tree};
use crate::{cargo, image};

/// The machine to boot on, and for how long.
#[derive(Args, Clone)]
pub(crate) struct MachineOptions {
    /// Number of processors
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub(crate) smp: u32,
    /// Size of memory
    #[arg(long, value_name = "SIZE", default_value = "1G")]
    pub(crate) memory: String,
    /// End the run after this many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    pub(crate) timeout: u64,
    /// End the run when the guest says nothing for this many seconds, which are more than any test in it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 330)]
    pub(crate) silence: u64,
}

impl MachineOptions {
    /// The limits of a run.
    pub(crate) fn limits(&self) -> Limits {
        Limits { total: Duration::from_secs(self.timeout), silence: Duration::from_secs(self.silence) }
    }
}

/// What `cargo xtask run` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    machine: MachineOptions,
    /// Let the guest's time pass with its instructions: every run is alike
    #[arg(long)]
    icount: bool,
    #[command(flatten)]
    choice: Choice,
    /// Boot this image instead of building one (see `cargo xtask image`)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["exec", "add", "trace_rings", "packages"])]
    image: Option<PathBuf>,
}

/// Boots, relays, and ends with the program's status.
pub(crate) fn run(options: &Options) -> Result<u8> {
    let (tree, tools) = setup::prepare(Need::Guest)?;
    let clock = if options.icount { Clock::Instructions } else { Clock::Host };
    if let Some(image) = &options.image {
        let machine = machine(image, &options.machine, clock);
        return guest::run(&machine, options.machine.limits(), &mut Relay::new(None))?.status();
    }
    let guest = options.choice.programs.build(&tree, &tools)?;
    let boot = Boot { tree: &tree, tools: &tools, guest: &guest, machine: &options.machine, clock };
    let mut relay = Relay::new(Some(&guest.kernel));
    boot.run(&options.choice.content(), &mut relay)?.status()
}

/// Everything that a run needs but its initfs.
pub(crate) struct Boot<'a> {
    /// Where things are.
    pub(crate) tree: &'a Tree,
    /// What builds them.
    pub(crate) tools: &'a Toolchain,
    /// What was built.
    pub(crate) guest: &'a cargo::Guest,
    /// What it runs on.
    pub(crate) machine: &'a MachineOptions,
    /// How time passes there.
    pub(crate) clock: Clock,
}

impl Boot<'_> {
    /// Boots an image made for this run alone.
    pub(crate) fn run(&self, content: &Content, listener: &mut dyn Listener) -> Result<Ended> {
        let file = Scratch::new(self.tree, ".img")?;
        let content = Content { added: content.added.clone(), options: self.options(content) };
        image::assemble(self.tree, self.tools, self.guest, &content, file.path())?;
        // Without a program to run, init runs what is typed.
        let typed = content.options.iter().all(|(name, _)| *name != "exec");
        let machine = Machine { typed, ..machine(file.path(), self.machine, self.clock) };
        guest::run(&machine, self.machine.limits(), listener)
    }

    fn options(&self, content: &Content) -> Vec<(&'static str, String)> {
        let counted = if self.clock == Clock::Instructions { "1" } else { "0" };
        let mut options = content.options.clone();
        options.push(("icount", counted.to_owned()));
        options
    }
}

/// The machine that the options describe.
pub(crate) fn machine(image: &Path, options: &MachineOptions, clock: Clock) -> Machine {
    Machine {
        image: image.to_owned(),
        processors: options.smp,
        memory: options.memory.clone(),
        clock,
        plugin: None,
        typed: false,
    }
}

/// Passes programs' output to stdout as it is, and the kernel's lines to stderr.
pub(crate) struct Relay<'a> {
    booting: Option<Step>,
    kernel: Option<&'a Path>,
}

impl<'a> Relay<'a> {
    /// Traces are turned into names with the symbols of `kernel`.
    pub(crate) fn new(kernel: Option<&'a Path>) -> Self {
        Self { booting: None, kernel }
    }
}

impl Listener for Relay<'_> {
    fn started(&mut self) {
        self.booting = Some(Step::start("booting"));
    }

    fn output(&mut self, bytes: &[u8]) {
        self.booting = None;
        let mut stdout = std::io::stdout().lock();
        // A reader that went away does not stop the run: its status is still wanted.
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    fn kernel(&mut self, line: &str, event: &Event) {
        self.booting = None;
        match event {
            Event::Frame(address) => eprintln!("{}", frame(line, *address, self.kernel)),
            Event::Boot | Event::Exit(_) => {}
            Event::Panic(_) | Event::Log => eprintln!("{line}"),
        }
    }
}
