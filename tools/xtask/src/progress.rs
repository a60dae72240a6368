//! What the person at the terminal sees while something takes long.
//!
//! On a terminal a step is a spinner with the time it has taken; elsewhere it is one line at its start. Nothing of it
//! goes to stdout.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One step of a command, from start to drop.
pub(crate) struct Step {
    bar: ProgressBar,
    name: String,
    since: Instant,
    report_after: Duration,
}

impl Step {
    /// Begins a step; `name` is what is being done, as in "building the kernel".
    pub(crate) fn start(name: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} ({elapsed}) {wide_msg:.dim}") {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        if !std::io::stderr().is_terminal() {
            eprintln!("{name} ...");
        }
        Self { bar, name: name.to_owned(), since: Instant::now(), report_after: Duration::from_secs(2) }
    }

    /// Shows a detail of what happens right now.
    pub(crate) fn note(&self, detail: &str) {
        self.bar.set_message(detail.to_owned());
    }

    /// Prints a line above the spinner.
    pub(crate) fn print(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    /// Ends the step; steps that took long leave a line behind.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
        let took = self.since.elapsed();
        if took > self.report_after {
            eprintln!("{}: done in {:.1} s", self.name, took.as_secs_f64());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
