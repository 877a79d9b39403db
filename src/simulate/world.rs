//! A world: machines and pods in virtual time. Time jumps to the next thing that happens: a job arrives, a boot or a
//! shutdown or a pod ends, or whoever governs the machines wants to be woken. Nothing fails here; for worlds in which
//! everything does, see `tests/simulation/main.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::Point;
use super::figures::Figures;
use super::line::Line;
use super::meter::{Meter, Power};
use super::rack::Rack;
use super::trace::{Job, Trace};
use crate::model::machine::Machine;

/// A machine of the world.
#[derive(Debug, Default)]
struct Host {
    power: Power,
    cordoned: bool,
    /// Its power is to come back once it is off.
    again: bool,
    /// The jobs whose pods are on it.
    jobs: BTreeSet<usize>,
    used_milli: u64,
    meter: Meter,
    boots: u32,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stand {
    #[default]
    ToCome,
    Waits,
    Runs(usize),
    Ended,
}

/// A job of the world.
#[derive(Debug, Default)]
struct Task {
    stand: Stand,
    class: usize,
    /// How many of its pods were there before.
    turn: u32,
    since: i64,
    waited: i64,
}

/// When nothing has begun or ended for so long that should, nothing will.
const PATIENCE_MS: i64 = 7 * 86_400_000;

#[derive(Debug)]
enum Happens {
    Booted { host: usize },
    Down { host: usize },
    Ends { job: usize, turn: u32 },
}

/// Something that happened in a world, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A job's pod was made and found no place.
    Waits {
        /// The job.
        job: usize,
    },
    /// A job's pod runs on a machine.
    Bound {
        /// The job.
        job: usize,
        /// The machine.
        host: usize,
    },
    /// A job's pod is gone: it ended or was evicted.
    Gone {
        /// The job.
        job: usize,
        /// Which of its pods.
        turn: u32,
    },
    /// A machine's node is Ready.
    Up {
        /// The machine.
        host: usize,
    },
    /// A machine is off.
    Down {
        /// The machine.
        host: usize,
    },
}

/// Machines and pods in virtual time.
#[derive(Debug)]
pub(super) struct World<'a> {
    trace: &'a Trace,
    rack: &'a Rack,
    now: i64,
    /// The first job that has not come yet.
    next: usize,
    queue: BTreeMap<(i64, u64), Happens>,
    sequence: u64,
    hosts: Vec<Host>,
    tasks: Vec<Task>,
    line: Line,
    news: Vec<News>,
    curve: Vec<Point>,
    on: u32,
    waiting: u32,
    left: usize,
    evicted: usize,
    /// When a pod last began or ended.
    moved: i64,
}

impl<'a> World<'a> {
    pub(super) fn new(trace: &'a Trace, rack: &'a Rack) -> Self {
        let company = trace.jobs.iter().any(|job| {
            let pod = &job.pod;
            !(pod.spread.is_empty() && pod.pod_affinity.is_empty() && pod.pod_anti_affinity.is_empty())
        });
        let mut world = Self {
            trace,
            rack,
            now: 0,
            next: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            hosts: rack.machines.iter().map(|_| Host::default()).collect(),
            tasks: trace.jobs.iter().map(|_| Task::default()).collect(),
            line: Line::new(&rack.machines, company),
            news: Vec::new(),
            curve: vec![Point::default()],
            on: 0,
            waiting: 0,
            left: trace.jobs.len(),
            evicted: 0,
            moved: 0,
        };
        for (host, machine) in rack.machines.iter().enumerate() {
            if rack.is_by_hand(machine) {
                world.find_on(host);
            }
        }
        world
    }

    pub(super) fn now(&self) -> i64 {
        self.now
    }

    pub(super) fn rack(&self) -> &'a Rack {
        self.rack
    }

    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    pub(super) fn machine(&self, host: usize) -> &'a Machine {
        &self.rack.machines[host]
    }

    pub(super) fn job(&self, job: usize) -> &'a Job {
        &self.trace.jobs[job]
    }

    pub(super) fn power(&self, host: usize) -> Power {
        self.hosts[host].power
    }

    pub(super) fn is_cordoned(&self, host: usize) -> bool {
        self.hosts[host].cordoned
    }

    /// The jobs whose pods run on a machine.
    pub(super) fn jobs_on(&self, host: usize) -> &BTreeSet<usize> {
        &self.hosts[host].jobs
    }

    /// Which of its pods a job has now.
    pub(super) fn turn(&self, job: usize) -> u32 {
        self.tasks[job].turn
    }

    /// When its pod was made.
    pub(super) fn since(&self, job: usize) -> i64 {
        self.tasks[job].since
    }

    /// Jobs of one class are equal to the scheduler.
    pub(super) fn class(&self, job: usize) -> usize {
        self.tasks[job].class
    }

    /// How it stood over time.
    pub(super) fn curve(&self) -> &[Point] {
        &self.curve
    }

    /// A machine is on from the beginning.
    pub(super) fn find_on(&mut self, host: usize) {
        if self.hosts[host].power == Power::Off {
            self.turn_to(host, Power::On);
            self.line.open(host, &self.rack.machines[host]);
        }
    }

    /// Powers a machine on. One that shuts down comes back after that.
    pub(super) fn power_on(&mut self, host: usize) {
        match self.hosts[host].power {
            Power::Off => {
                self.turn_to(host, Power::Booting);
                self.hosts[host].boots += 1;
                self.after(self.rack.boot_ms, Happens::Booted { host });
            }
            Power::Stopping => self.hosts[host].again = true,
            Power::Booting | Power::On => {}
        }
    }

    /// Shuts a machine down. Pods that are on it are evicted.
    pub(super) fn power_off(&mut self, host: usize) {
        if self.hosts[host].power != Power::On {
            return;
        }
        self.line.close(host);
        for job in self.hosts[host].jobs.clone() {
            self.evict(job);
        }
        self.line.remove(host);
        self.hosts[host].cordoned = false;
        self.turn_to(host, Power::Stopping);
        self.after(self.rack.shutdown_ms, Happens::Down { host });
    }

    /// Cordons a machine's node or takes the cordon away.
    pub(super) fn cordon(&mut self, host: usize, cordoned: bool) {
        self.hosts[host].cordoned = cordoned;
        if cordoned || self.hosts[host].power != Power::On {
            self.line.close(host);
        } else {
            self.line.open(host, &self.rack.machines[host]);
        }
    }

    /// New pods go elsewhere if they can, or need no longer.
    pub(super) fn shun(&mut self, host: usize, shunned: bool) {
        self.line.shun(host, shunned);
    }

    /// Evicts a job's pod: its work is lost, and another of its pods waits.
    pub(super) fn evict(&mut self, job: usize) {
        if let Stand::Runs(host) = self.tasks[job].stand {
            self.leave(job, host);
            self.evicted += 1;
            self.tasks[job].turn += 1;
            self.wait(job);
        }
    }

    /// When the next thing happens by itself.
    pub(super) fn next_time(&self) -> Option<i64> {
        let arrives = self.trace.jobs.get(self.next).map(|job| job.submit_ms);
        let happens = self.queue.keys().next().map(|(at, _)| *at);
        [arrives, happens].into_iter().flatten().min()
    }

    /// True when every job has ended, or nothing comes of those that are left even until then.
    pub(super) fn is_over(&self, at: i64) -> bool {
        let is_idle = self.next == self.tasks.len() && self.hosts.iter().all(|host| host.jobs.is_empty());
        self.left == 0 || is_idle && at.saturating_sub(self.moved) > PATIENCE_MS
    }

    /// It is then, and the meters are read.
    pub(super) fn read_meters(&mut self, until: i64) {
        self.now = until;
        for host in 0..self.hosts.len() {
            self.count(host);
        }
    }

    /// The scheduler looks. What is news since the last time, or none when nothing is: who waits after that look is told
    /// to wait.
    pub(super) fn look(&mut self) -> Option<Vec<News>> {
        for (job, host) in self.line.look() {
            self.bind(job, host);
        }
        let news = std::mem::take(&mut self.news);
        let is_true = |news: &News| match *news {
            News::Waits { job } => self.tasks[job].stand == Stand::Waits,
            News::Bound { .. } | News::Gone { .. } | News::Up { .. } | News::Down { .. } => true,
        };
        (!news.is_empty()).then(|| news.into_iter().filter(is_true).collect())
    }

    /// All that happens at this time.
    pub(super) fn happen(&mut self, at: i64) {
        self.now = self.now.max(at);
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                Happens::Booted { host } => {
                    self.turn_to(host, Power::On);
                    if !self.hosts[host].cordoned {
                        self.line.open(host, &self.rack.machines[host]);
                    }
                    self.news.push(News::Up { host });
                }
                Happens::Down { host } => {
                    self.turn_to(host, Power::Off);
                    self.news.push(News::Down { host });
                    if std::mem::take(&mut self.hosts[host].again) {
                        self.power_on(host);
                    }
                }
                Happens::Ends { job, turn } => {
                    if let Stand::Runs(host) = self.tasks[job].stand
                        && self.tasks[job].turn == turn
                    {
                        self.leave(job, host);
                        self.tasks[job].stand = Stand::Ended;
                        self.left -= 1;
                    }
                }
            }
        }
        while let Some(job) = self.trace.jobs.get(self.next).filter(|job| job.submit_ms <= self.now) {
            self.tasks[self.next].class = self.line.class(&job.pod);
            self.wait(self.next);
            self.next += 1;
        }
    }

    fn wait(&mut self, job: usize) {
        let now = self.now;
        let task = &mut self.tasks[job];
        task.stand = Stand::Waits;
        task.since = now;
        self.waiting += 1;
        self.line.join(job, task.class, self.trace.jobs[job].pod.priority);
        self.news.push(News::Waits { job });
    }

    fn bind(&mut self, job: usize, host: usize) {
        self.count(host);
        let (now, of) = (self.now, &self.trace.jobs[job]);
        let task = &mut self.tasks[job];
        task.waited += now - task.since;
        task.stand = Stand::Runs(host);
        let turn = task.turn;
        self.waiting -= 1;
        self.moved = now;
        self.hosts[host].jobs.insert(job);
        self.hosts[host].used_milli += of.pod.requests.cpu_milli;
        self.after(of.run_ms, Happens::Ends { job, turn });
        self.news.push(News::Bound { job, host });
    }

    /// A job's pod leaves its machine.
    fn leave(&mut self, job: usize, host: usize) {
        self.count(host);
        self.hosts[host].jobs.remove(&job);
        self.hosts[host].used_milli -= self.trace.jobs[job].pod.requests.cpu_milli;
        self.line.leave(self.tasks[job].class, host);
        self.moved = self.now;
        self.news.push(News::Gone { job, turn: self.tasks[job].turn });
    }

    fn turn_to(&mut self, host: usize, power: Power) {
        self.count(host);
        let was = std::mem::replace(&mut self.hosts[host].power, power);
        self.on -= u32::from(was != Power::Off);
        self.on += u32::from(power != Power::Off);
    }

    fn count(&mut self, host: usize) {
        let (now, host) = (self.now, &mut self.hosts[host]);
        host.meter.count(now, host.power, host.used_milli);
    }

    /// Notes a point of the curve.
    pub(super) fn note(&mut self) {
        let point = Point { at: self.now, on: self.on, waiting: self.waiting };
        match self.curve.last_mut() {
            Some(last) if last.at == point.at => *last = point,
            Some(last) if (last.on, last.waiting) == (point.on, point.waiting) => {}
            Some(_) | None => self.curve.push(point),
        }
    }

    fn after(&mut self, delay: i64, happens: Happens) {
        self.sequence += 1;
        self.queue.insert((self.now.saturating_add(delay), self.sequence), happens);
    }

    /// What came of it, once it was gone on with to the end.
    pub(super) fn figures(&self) -> Figures {
        let metered = self.hosts.iter().zip(&self.rack.machines);
        let drawn = metered
            .map(|(host, machine)| host.meter.drawn(self.rack.draws(machine), machine.shape.allocatable.cpu_milli));
        let has_run = |task: &&Task| task.stand == Stand::Ended;
        Figures::new(
            drawn.sum(),
            self.hosts.iter().map(|host| host.meter.on()).sum(),
            self.tasks.iter().filter(has_run).map(|task| task.waited).collect(),
            self.hosts.iter().map(|host| host.boots).collect(),
            (self.evicted, self.left),
        )
    }
}

#[cfg(test)]
impl World<'_> {
    /// How long a job has waited for a place.
    pub(super) fn waited(&self, job: usize) -> i64 {
        self.tasks[job].waited
    }
}
