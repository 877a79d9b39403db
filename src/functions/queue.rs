//! The queue: which event starts next, and what becomes of one whose run is over. Events wait in a line per
//! service; the service with the fewest runs in flight goes first, so that a flood of one cannot starve
//! another. Bounds hold per service and in all. It keeps numbers alone: an event's text stays on disk, and a
//! hundred thousand of them cost a few megabytes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

/// A place in the queue: the event's number on disk, and which attempt comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// The event.
    pub seq: i64,
    /// The attempt, from one.
    pub attempt: u32,
}

/// How patient the queue is with failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts in all.
    pub attempts: u32,
    /// The first pause before another attempt; it doubles each time.
    pub first: SignedDuration,
    /// The longest pause.
    pub most: SignedDuration,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Succeeded,
    /// The container ended with a code that is not zero, or was killed.
    Failed {
        /// Its exit code, where there is one.
        exit: Option<i32>,
        /// In words.
        reason: String,
    },
    /// It could not be run, and another attempt would end the same.
    Refused {
        /// In words.
        reason: String,
    },
    /// Its Job is gone and nobody knows how it ended.
    Vanished,
}

/// What becomes of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// Another attempt, not before this time.
    Retry {
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// No further attempt: it goes to the dead letters.
    Dead {
        /// Why.
        reason: String,
    },
}

/// The supervisor's codes for what no attempt can mend: the input is gone, the service is wrong.
const HOPELESS: [i32; 2] = [66, 78];

/// Judges an attempt.
pub fn verdict(outcome: &Outcome, attempt: u32, patience: Patience, now: Timestamp) -> Verdict {
    let (reason, hopeless) = match outcome {
        Outcome::Succeeded => return Verdict::Done,
        Outcome::Failed { exit, reason } => (reason.clone(), exit.is_some_and(|code| HOPELESS.contains(&code))),
        Outcome::Refused { reason } => (reason.clone(), true),
        Outcome::Vanished => ("its Job was deleted before it ended".to_owned(), false),
    };
    if hopeless || attempt >= patience.attempts {
        return Verdict::Dead { reason };
    }
    let doubled = patience.first.checked_mul(1 << (attempt - 1).min(20)).unwrap_or(patience.most);
    let pause = doubled.min(patience.most);
    Verdict::Retry { at: now.checked_add(pause).unwrap_or(now), reason }
}

/// What one service has in the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events without a Job, those that pause included.
    pub waiting: usize,
    /// Of those, the ones that pause before another attempt.
    pub pausing: usize,
    /// Jobs in flight.
    pub in_flight: usize,
    /// Most Jobs in flight.
    pub limit: usize,
    /// Why none may start now.
    pub held: Option<String>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Ticket>,
    pausing: BTreeMap<(Timestamp, i64), u32>,
    in_flight: BTreeSet<i64>,
    limit: usize,
    held: Option<String>,
}

/// The queue.
#[derive(Debug)]
pub struct Queue {
    lines: BTreeMap<String, Line>,
    most: usize,
    in_flight: usize,
    held: Option<(String, Timestamp)>,
    last: String,
}

impl Queue {
    /// An empty queue that lets so many run at once.
    pub fn new(most: usize) -> Self {
        Self { lines: BTreeMap::new(), most, in_flight: 0, held: None, last: String::new() }
    }

    /// Says how many of a service may run at once. A service that was never told may run none.
    pub fn limit(&mut self, service: &str, limit: usize) {
        self.line(service).limit = limit;
    }

    /// Holds a service, or lets it go.
    pub fn hold(&mut self, service: &str, reason: Option<String>) {
        self.line(service).held = reason;
    }

    /// Holds all until a time.
    pub fn hold_all(&mut self, reason: String, until: Timestamp) {
        self.held = Some((reason, until));
    }

    /// Takes an event in, to start as soon as it may.
    pub fn accept(&mut self, service: &str, ticket: Ticket) {
        self.line(service).waiting.push_back(ticket);
    }

    /// Takes an event in, to start not before a time.
    pub fn accept_later(&mut self, service: &str, ticket: Ticket, at: Timestamp) {
        self.line(service).pausing.insert((at, ticket.seq), ticket.attempt);
    }

    /// Counts an event whose Job is there already.
    pub fn is_in_flight(&mut self, service: &str, seq: i64) {
        if self.line(service).in_flight.insert(seq) {
            self.in_flight += 1;
        }
    }

    /// The next event to start, which counts as in flight from now on.
    pub fn start(&mut self, now: Timestamp) -> Option<(String, Ticket)> {
        self.start_where(now, |_| true)
    }

    /// The next event of those services for which there is a place.
    pub fn start_where(&mut self, now: Timestamp, has_place: impl Fn(&str) -> bool) -> Option<(String, Ticket)> {
        if self.held.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.held = None;
        }
        if self.held.is_some() || self.in_flight >= self.most {
            return None;
        }
        for line in self.lines.values_mut() {
            while let Some(entry) = line.pausing.first_entry().filter(|entry| entry.key().0 <= now) {
                let ((_, seq), attempt) = entry.remove_entry();
                line.waiting.push_back(Ticket { seq, attempt });
            }
        }
        let may = |line: &Line| line.held.is_none() && line.in_flight.len() < line.limit && !line.waiting.is_empty();
        let ready = self.lines.iter().filter(|(name, line)| may(line) && has_place(name));
        // Fewest in flight first; among equals, the one after the last that was served.
        let last = self.last.as_str();
        let (name, _) =
            ready.min_by_key(|(name, line)| (line.in_flight.len(), name.as_str() <= last, name.as_str()))?;
        let name = name.clone();
        let line = self.lines.get_mut(&name)?;
        let ticket = line.waiting.pop_front()?;
        line.in_flight.insert(ticket.seq);
        self.in_flight += 1;
        self.last.clone_from(&name);
        Some((name, ticket))
    }

    /// The run is over, or did not begin: its place is free.
    pub fn release(&mut self, service: &str, seq: i64) {
        if self.lines.get_mut(service).is_some_and(|line| line.in_flight.remove(&seq)) {
            self.in_flight -= 1;
        }
    }

    /// Takes an event out that has no Job. False when it is not there.
    pub fn remove(&mut self, service: &str, seq: i64) -> bool {
        let Some(line) = self.lines.get_mut(service) else { return false };
        let before = line.waiting.len() + line.pausing.len();
        line.waiting.retain(|ticket| ticket.seq != seq);
        line.pausing.retain(|(_, other), _| *other != seq);
        line.waiting.len() + line.pausing.len() < before
    }

    /// Takes a whole line out and gives back what waited in it. What is in flight still counts until released.
    pub fn close(&mut self, service: &str) -> Vec<Ticket> {
        let Some(line) = self.lines.get_mut(service) else { return Vec::new() };
        let mut left: Vec<Ticket> = line.waiting.drain(..).collect();
        left.extend(std::mem::take(&mut line.pausing).into_iter().map(|((_, seq), attempt)| Ticket { seq, attempt }));
        line.limit = 0;
        if line.in_flight.is_empty() {
            self.lines.remove(service);
        }
        left
    }

    /// When to look again though nothing happens.
    pub fn next_wakeup(&self) -> Option<Timestamp> {
        if let Some((_, until)) = &self.held {
            return Some(*until);
        }
        if self.in_flight >= self.most {
            return None;
        }
        let open = self.lines.values().filter(|line| line.held.is_none() && line.in_flight.len() < line.limit);
        open.filter_map(|line| line.pausing.keys().next().map(|(at, _)| *at)).min()
    }

    /// What each service has.
    pub fn depths(&self) -> BTreeMap<String, Depth> {
        self.lines.iter().map(|(name, line)| (name.clone(), self.depth(line))).collect()
    }

    fn depth(&self, line: &Line) -> Depth {
        let all_pause = line.waiting.is_empty() && !line.pausing.is_empty();
        let pause = || all_pause.then(|| "every waiting event pauses before another attempt".to_owned());
        Depth {
            waiting: line.waiting.len() + line.pausing.len(),
            pausing: line.pausing.len(),
            in_flight: line.in_flight.len(),
            limit: line.limit.min(self.most),
            held: line.held.clone().or_else(|| self.held.as_ref().map(|(reason, _)| reason.clone())).or_else(pause),
        }
    }

    fn line(&mut self, service: &str) -> &mut Line {
        self.lines.entry(service.to_owned()).or_default()
    }
}

#[cfg(test)]
mod tests;
