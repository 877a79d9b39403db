//! Progress: one moving line a machine for a person at a terminal, one plain line an event for a journal.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Tells how the machines get on.
pub struct Progress {
    began: Instant,
    terminal: Option<MultiProgress>,
    bars: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// Moving lines if standard error is a terminal, else plain ones.
    pub fn new() -> Self {
        let terminal = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { began: crate::clock::monotonic(), terminal, bars: Mutex::default() }
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// These machines take part.
    pub fn begin(&self, names: &[&str]) {
        let Some(terminal) = &self.terminal else { return };
        let Ok(mut bars) = self.bars.lock() else { return };
        let width = names.iter().map(|n| n.len()).max().unwrap_or(0);
        for name in names {
            let bar = terminal.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {elapsed:>4}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(format!("{name:width$}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bars.insert((*name).to_owned(), bar);
        }
    }

    /// A machine does something.
    pub fn say(&self, name: &str, what: &str) {
        if let Some(bar) = self.bar(name) {
            bar.set_message(what.to_owned());
        } else {
            self.line(name, what);
        }
    }

    /// A machine begins its step number `done` of `count`.
    pub fn step(&self, name: &str, done: usize, count: usize, key: &str) {
        self.say(name, &format!("{}/{count} {key}", done + 1));
    }

    /// A machine is through.
    pub fn done(&self, name: &str, ran: usize) {
        let text = if ran == 0 { "nothing to do".to_owned() } else { format!("done, {ran} steps") };
        if let Some(bar) = self.bar(name) {
            bar.finish_with_message(format!("ok  {text}"));
        } else {
            self.line(name, &text);
        }
    }

    /// A machine failed.
    pub fn failed(&self, name: &str, why: &str) {
        let first = why.lines().next().unwrap_or_default();
        if let Some(bar) = self.bar(name) {
            bar.abandon_with_message(format!("FAILED  {first}"));
        } else {
            self.line(name, &format!("FAILED: {first}"));
        }
    }

    /// Nothing moves any more.
    pub fn end(&self) {
        if let Ok(bars) = self.bars.lock() {
            bars.values().filter(|b| !b.is_finished()).for_each(ProgressBar::abandon);
        }
    }

    fn bar(&self, name: &str) -> Option<ProgressBar> {
        self.bars.lock().ok()?.get(name).cloned()
    }

    fn line(&self, name: &str, text: &str) {
        // A closed standard error must not stop a bootstrap.
        let _closed = writeln!(std::io::stderr(), "[{:7.1} s] {name}: {text}", self.seconds());
    }
}
