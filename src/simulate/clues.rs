//! CLUES: the way of the daemon in EC3's clusters, as its algorithm is documented and with the settings that EC3
//! gives it, written anew from those facts (`docs/simulate.md` has the source of each number). It polls nodes and
//! jobs; a job that has waited long becomes a request; requests are served in their order, each by the first machine
//! with room, which is powered on if it is off; a machine that is seen idle for half an hour goes off.

use std::collections::{BTreeMap, BTreeSet};

use super::governor::Governor;
use super::meter::Power;
use super::rack::Rack;
use super::world::{News, World};
use crate::model::resources::Resources;
use crate::scheduling::{Place, first_failing_static};

/// Jobs are polled and requests are looked at so often: PERIOD_MONITORING_JOBS and PERIOD_SCHEDULE.
pub(super) const PERIOD_MS: i64 = 5_000;
/// Nodes are polled so often: PERIOD_MONITORING_NODES.
pub(super) const NODES_MS: i64 = 10_000;
/// A job that waits longer becomes a request: RECONSIDER_JOB_TIME.
pub(super) const RECONSIDER_MS: i64 = 120_000;
/// A node that is idle for longer goes off: IDLE_TIME.
pub(super) const IDLE_MS: i64 = 1_800_000;
/// A request that was served keeps its room for so long: COOLDOWN_SERVED_REQUESTS.
pub(super) const COOLDOWN_MS: i64 = 120_000;
/// A node that was powered on or off is not believed to be so earlier: DELAY_POWON, DELAY_POWOFF.
pub(super) const DELAY_MS: i64 = 10_000;

/// A node as CLUES sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Seen {
    #[default]
    Off,
    PoweringOn,
    Idle,
    Used,
    PoweringOff,
}

#[derive(Debug, Clone, Default)]
struct NodeInfo {
    seen: Seen,
    since: i64,
    free: Resources,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Request {
    Pending,
    Blocked,
    /// Waits for its node.
    Attended,
    Served,
}

#[derive(Debug, Clone)]
struct Asked {
    job: usize,
    request: Request,
    since: i64,
    /// The node whose room it holds.
    book: Option<usize>,
}

/// What a pass has found out about pods of one size: room does not grow in a pass.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    nowhere_on: bool,
    nowhere: bool,
}

/// CLUES.
#[derive(Debug)]
pub(super) struct Clues {
    nodes: Vec<NodeInfo>,
    /// Jobs that wait, with since when, by the order in which they were seen.
    jobs: BTreeMap<u64, (usize, i64)>,
    numbers: BTreeMap<usize, u64>,
    /// When a job that waits is to be reconsidered.
    due: BTreeSet<(i64, u64)>,
    requests: BTreeMap<u64, Asked>,
    by_job: BTreeMap<usize, u64>,
    arrived: Vec<usize>,
    bound: Vec<usize>,
    sequence: u64,
    /// Machines that are not for a person alone to switch.
    mine: Vec<bool>,
    /// When something last happened that the next polls will show.
    news: Option<i64>,
    /// The last pass changed something: the next may, too.
    changed: bool,
    now: i64,
}

impl Clues {
    pub(super) fn new(rack: &Rack) -> Self {
        Self {
            nodes: vec![NodeInfo::default(); rack.machines.len()],
            jobs: BTreeMap::new(),
            numbers: BTreeMap::new(),
            due: BTreeSet::new(),
            requests: BTreeMap::new(),
            by_job: BTreeMap::new(),
            arrived: Vec::new(),
            bound: Vec::new(),
            sequence: 0,
            mine: rack.machines.iter().map(|machine| !rack.is_by_hand(machine)).collect(),
            news: Some(0),
            changed: false,
            now: -PERIOD_MS,
        }
    }

    /// The nodes as they are; what was ordered is believed only after a delay.
    fn poll_nodes(&mut self, world: &World<'_>) {
        let now = self.now;
        for (host, node) in self.nodes.iter_mut().enumerate() {
            let jobs = world.jobs_on(host);
            let shows = match world.power(host) {
                Power::On if jobs.is_empty() => Seen::Idle,
                Power::On => Seen::Used,
                Power::Off | Power::Booting | Power::Stopping => Seen::Off,
            };
            let early = now - node.since < DELAY_MS;
            let rejected = match (node.seen, shows) {
                (Seen::PoweringOn, Seen::Idle | Seen::Used) | (Seen::PoweringOff, Seen::Off) => early,
                (Seen::PoweringOn, Seen::Off) | (Seen::PoweringOff, Seen::Idle | Seen::Used) => true,
                (Seen::Off | Seen::Idle | Seen::Used, _) | (_, Seen::PoweringOn | Seen::PoweringOff) => false,
            };
            self.changed |= rejected && early;
            if !rejected && node.seen != shows {
                (node.seen, node.since) = (shows, now);
                self.changed = true;
            }
            node.free = world.machine(host).shape.allocatable.clone();
            for job in jobs {
                node.free.subtract(&world.job(*job).pod.requests);
            }
        }
    }

    fn poll_jobs(&mut self) {
        let now = self.now;
        for job in std::mem::take(&mut self.arrived) {
            self.sequence += 1;
            self.jobs.insert(self.sequence, (job, now));
            self.numbers.insert(job, self.sequence);
            self.due.insert((now + RECONSIDER_MS, self.sequence));
        }
        // One that runs is served, and its request with it.
        for job in std::mem::take(&mut self.bound) {
            if let Some(number) = self.numbers.remove(&job) {
                self.jobs.remove(&number);
            }
            if let Some(asked) = self.by_job.get(&job).and_then(|request| self.requests.get_mut(request)) {
                asked.book = None;
                if asked.request != Request::Served {
                    (asked.request, asked.since) = (Request::Served, now);
                }
            }
        }
    }

    /// Rooms that requests hold, and who is to be looked at again.
    fn make_books(&mut self, world: &World<'_>) {
        let listed = self.now.div_euclid(NODES_MS) * NODES_MS;
        for asked in self.requests.values_mut() {
            let Some(host) = asked.book else { continue };
            let holds = match asked.request {
                Request::Attended => {
                    let waits = matches!(self.nodes[host].seen, Seen::PoweringOn | Seen::PoweringOff);
                    waits || asked.since > listed
                }
                Request::Served => listed - asked.since < COOLDOWN_MS,
                Request::Pending | Request::Blocked => continue,
            };
            if holds {
                self.nodes[host].free.subtract(&world.job(asked.job).pod.requests);
                continue;
            }
            asked.book = None;
            if asked.request == Request::Attended {
                (asked.request, asked.since) = (Request::Pending, self.now);
                self.changed = true;
            }
        }
    }

    /// Serves requests in their order. Answers with the machines to power on.
    fn serve(&mut self, world: &World<'_>) -> BTreeSet<usize> {
        let kept: Vec<Resources> = self.nodes.iter().map(|node| node.free.clone()).collect();
        self.make_books(world);
        let mut on: BTreeSet<usize> = BTreeSet::new();
        let mut tried: BTreeMap<usize, Tried> = BTreeMap::new();
        let mut alive = 0usize;
        for asked in self.requests.values_mut() {
            if let Request::Pending | Request::Blocked = asked.request {
                let (needs, class) = (&world.job(asked.job).pod.requests, world.class(asked.job));
                let known = tried.get(&class).copied().unwrap_or_default();
                let found = if known.nowhere { None } else { place(world, &self.nodes, &on, asked.job, known) };
                let next = match found {
                    Some((host, Stage::On)) => {
                        Some((if alive > 0 { Request::Blocked } else { Request::Served }, Some(host)))
                    }
                    Some((host, Stage::Coming)) => Some((Request::Attended, Some(host))),
                    Some((host, Stage::Off)) => {
                        on.insert(host);
                        Some((Request::Attended, Some(host)))
                    }
                    None if alive == 0 => Some((Request::Blocked, None)),
                    None => None,
                };
                let Some((next, host)) = next else { break };
                let missed = Tried { nowhere_on: !matches!(found, Some((_, Stage::On))), nowhere: found.is_none() };
                tried.insert(class, missed);
                if let Some(host) = host {
                    self.nodes[host].free.subtract(needs);
                }
                asked.book = host;
                if asked.request != next {
                    (asked.request, asked.since) = (next, self.now);
                    self.changed = true;
                    if next == Request::Served {
                        let again = self.numbers.get(&asked.job).map(|job| (self.now + RECONSIDER_MS, *job));
                        self.due.extend(again);
                    }
                }
            }
            if let Request::Pending | Request::Attended = asked.request {
                alive += 1;
            }
        }
        for (node, free) in self.nodes.iter_mut().zip(kept) {
            node.free = free;
        }
        on
    }

    /// Jobs that have waited long become requests, at the end of the line.
    fn reconsider(&mut self) {
        while let Some((at, number)) = self.due.first().copied().filter(|(at, _)| self.now > *at) {
            self.due.remove(&(at, number));
            let Some((job, since)) = self.jobs.get_mut(&number) else { continue };
            let asked = self.by_job.get(job).and_then(|request| self.requests.get(request));
            let held = match asked.map(|asked| (asked.request, asked.since)) {
                Some((Request::Pending | Request::Blocked | Request::Attended, _)) => true,
                Some((Request::Served, since)) => self.now - since < RECONSIDER_MS,
                None => false,
            };
            if held {
                continue;
            }
            // The next poll shows it waiting again, as if it had just come.
            *since = self.now + PERIOD_MS;
            self.due.insert((*since + RECONSIDER_MS, number));
            self.sequence += 1;
            let request = Asked { job: *job, request: Request::Pending, since: self.now, book: None };
            self.by_job.insert(*job, self.sequence);
            self.requests.insert(self.sequence, request);
            self.changed = true;
        }
    }

    /// Requests that were served some time ago are forgotten.
    fn purge(&mut self) {
        let (now, by_job) = (self.now, &mut self.by_job);
        self.requests.retain(|number, asked| {
            let old = asked.request == Request::Served && now - asked.since > COOLDOWN_MS;
            if old && by_job.get(&asked.job) == Some(number) {
                by_job.remove(&asked.job);
            }
            !old
        });
    }

    fn pass(&mut self, world: &mut World<'_>) {
        self.purge();
        let on = self.serve(world);
        self.reconsider();
        let idle = |node: &NodeInfo| node.seen == Seen::Idle && node.since < self.now - IDLE_MS;
        let off: Vec<usize> =
            (0..self.nodes.len()).filter(|host| self.mine[*host] && idle(&self.nodes[*host])).collect();
        for host in off {
            world.power_off(host);
            (self.nodes[host].seen, self.nodes[host].since) = (Seen::PoweringOff, self.now);
            self.changed = true;
        }
        for host in on {
            world.power_on(host);
            (self.nodes[host].seen, self.nodes[host].since) = (Seen::PoweringOn, self.now);
            self.changed = true;
        }
    }
}

/// Where room for a request is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    On,
    Coming,
    Off,
}

/// The first node with room: of those that are on, then of those that boot, then of those about to be powered on, then
/// of those that are off, then of those that go off.
fn place(
    world: &World<'_>,
    nodes: &[NodeInfo],
    on: &BTreeSet<usize>,
    job: usize,
    known: Tried,
) -> Option<(usize, Stage)> {
    let pod = &world.job(job).pod;
    let fits = |host: &usize| {
        let (free, needs, machine) = (&nodes[*host].free, &pod.requests, world.machine(*host));
        let extended = needs.extended.iter().all(|(name, amount)| free.extended.get(name) >= Some(amount));
        free.cpu_milli >= needs.cpu_milli
            && free.memory >= needs.memory
            && free.pods >= needs.pods
            && extended
            && first_failing_static(pod, &Place::empty(&machine.name, &machine.shape)).is_none()
    };
    let first = |seen: &[Seen]| (0..nodes.len()).find(|host| seen.contains(&nodes[*host].seen) && fits(host));
    if !known.nowhere_on
        && let Some(host) = first(&[Seen::Idle, Seen::Used])
    {
        return Some((host, Stage::On));
    }
    let coming = || first(&[Seen::PoweringOn]).map(|host| (host, Stage::Coming));
    let about = || on.iter().copied().find(fits).map(|host| (host, Stage::Off));
    let off = |seen| first(&[seen]).map(|host| (host, Stage::Off));
    coming().or_else(about).or_else(|| off(Seen::Off)).or_else(|| off(Seen::PoweringOff))
}

impl Governor for Clues {
    fn begin(&mut self, _: &mut World<'_>) {}

    fn hear(&mut self, world: &mut World<'_>, news: &[News]) {
        for one in news {
            match *one {
                News::Waits { job } => self.arrived.push(job),
                News::Bound { job, .. } => {
                    self.arrived.retain(|waits| *waits != job);
                    self.bound.push(job);
                }
                News::Gone { .. } | News::Up { .. } | News::Down { .. } => {}
            }
        }
        self.news = Some(world.now());
    }

    fn wakes(&self) -> Option<i64> {
        let (tick, next) = (|after: i64| (after.div_euclid(PERIOD_MS) + 1) * PERIOD_MS, self.now + PERIOD_MS);
        if self.changed {
            return Some(next);
        }
        // What happens at the moment of a poll is seen by it.
        let news = self.news.map(|at| tick(at - 1));
        let due = self.due.first().map(|(at, _)| tick(*at));
        let idle = self.nodes.iter().zip(&self.mine).filter(|(node, mine)| **mine && node.seen == Seen::Idle);
        let idle = idle.map(|(node, _)| tick(node.since + IDLE_MS)).min();
        let cooled = self.requests.values().filter(|asked| asked.request == Request::Served && asked.book.is_some());
        let cooled = cooled.map(|asked| tick(asked.since + COOLDOWN_MS)).min();
        [news, due, idle, cooled].into_iter().flatten().min().map(|at| at.max(next))
    }

    fn wake(&mut self, world: &mut World<'_>) {
        self.now = world.now();
        self.changed = false;
        let nodes = self.now.rem_euclid(NODES_MS) == 0;
        if nodes {
            self.poll_nodes(world);
        }
        self.poll_jobs();
        // What happened between two polls of nodes is seen at the next.
        self.news = self.news.filter(|_| !nodes);
        self.pass(world);
    }
}
