//! Orders to the Infrastructure Manager, one after the other: it mixes numbers up when it carries out two at once. Those
//! that wait meanwhile go together in the next, so that a fleet is made about as fast as by one order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tokio::sync::{mpsc, oneshot};

use super::client::{Advice, ImError};
use super::fragment::Fragment;
use super::sight::{FRESH, Sight};
use super::vm::{Made, Vm};
use crate::clock;

/// How long an order whose answer was lost may still come true unseen.
const UNCERTAIN: Duration = Duration::from_secs(30);
/// How long one that is seen to be carried out is waited for before this is told: clouds take their time.
const CARRIED_OUT: Duration = Duration::from_mins(10);
/// Machines are started and stopped one by one, so many at once.
const AT_ONCE: usize = 4;
/// An order holds as many machines as are done in about this time: no answer is to be late.
const PACE: Duration = Duration::from_secs(10);
/// Machines that are removed by one order at most.
const REMOVED: usize = 100;
/// A burst is waited for so long before the first of it is carried out: it goes together.
const BURST: Duration = Duration::from_millis(20);
/// So many until it is known how fast the cloud is.
const FIRST: usize = 8;

/// What is to be done to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    On,
    Off,
}

type Outcome = Result<(), ImError>;
type Found = BTreeMap<String, Vec<Vm>>;

/// One order that waits.
struct Order {
    want: Want,
    machine: String,
    done: oneshot::Sender<Outcome>,
}

/// Takes orders. They are carried out by a task of their own, so that one whose asker went away is not cut off.
pub(super) struct Orders {
    sight: Arc<Sight>,
    machines: Arc<BTreeMap<String, Fragment>>,
    most: usize,
    glance: Duration,
    inbox: OnceLock<mpsc::UnboundedSender<Order>>,
}

impl Orders {
    /// At most so many machines are added by one order.
    pub(super) fn new(
        sight: Arc<Sight>,
        machines: Arc<BTreeMap<String, Fragment>>,
        most: usize,
        glance: Duration,
    ) -> Self {
        Self { sight, machines, most: most.max(1), glance, inbox: OnceLock::new() }
    }

    /// Has it done, and says what came of it.
    pub(super) async fn give(&self, want: Want, machine: &str) -> Outcome {
        let inbox = self.inbox.get_or_init(|| {
            let (sender, inbox) = mpsc::unbounded_channel();
            let worker = Worker {
                sight: Arc::clone(&self.sight),
                machines: Arc::clone(&self.machines),
                most: self.most,
                adds: FIRST.min(self.most),
                removes: REMOVED,
                glance: self.glance,
                uncertain: BTreeMap::new(),
            };
            tokio::spawn(worker.work(inbox));
            sender
        });
        let stopped = || ImError { advice: Advice::Retry, text: "orders are not carried out any more".to_owned() };
        let (done, outcome) = oneshot::channel();
        inbox.send(Order { want, machine: machine.to_owned(), done }).map_err(|_| stopped())?;
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// Carries orders out.
struct Worker {
    sight: Arc<Sight>,
    machines: Arc<BTreeMap<String, Fragment>>,
    most: usize,
    /// Machines in one order to add, to remove, as fast as the cloud was.
    adds: usize,
    removes: usize,
    glance: Duration,
    /// Machines whose order to add had no answer, and when that was known.
    uncertain: BTreeMap<String, Instant>,
}

impl Worker {
    async fn work(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() {
                let Some(order) = inbox.recv().await else { return };
                waiting.push_back(order);
                tokio::time::sleep(BURST).await;
            }
            while let Ok(order) = inbox.try_recv() {
                waiting.push_back(order);
            }
            // Whose asker has gone is not wanted any more.
            waiting.retain(|order: &Order| !order.done.is_closed());
            let together = self.next(&mut waiting);
            let Some(first) = together.first() else { continue };
            let names: BTreeSet<String> = together.iter().map(|order| order.machine.clone()).collect();
            let names: Vec<String> = names.into_iter().collect();
            let outcomes = match first.want {
                Want::On => self.on(&names).await,
                Want::Off => self.off(&names).await,
            };
            for order in together {
                let outcome = match &outcomes {
                    Ok(each) => each.get(&order.machine).cloned().unwrap_or(Ok(())),
                    Err(error) => Err(error.clone()),
                };
                let _ = order.done.send(outcome);
            }
        }
    }

    /// The order that has waited longest, and those that can go with it. None overtakes another of its own machine.
    fn next(&self, waiting: &mut VecDeque<Order>) -> Vec<Order> {
        let Some(first) = waiting.pop_front() else { return Vec::new() };
        let (want, fragment) = (first.want, self.machines.get(&first.machine));
        let most = if want == Want::On { self.adds } else { self.removes };
        let (mut together, mut left, mut passed) = (vec![first], VecDeque::new(), BTreeSet::new());
        for order in waiting.drain(..) {
            let other = self.machines.get(&order.machine);
            let joins = want == Want::Off || fragment.zip(other).is_some_and(|(one, other)| one.joins(other));
            if together.len() < most && order.want == want && joins && !passed.contains(&order.machine) {
                together.push(order);
            } else {
                passed.insert(order.machine.clone());
                left.push_back(order);
            }
        }
        *waiting = left;
        together
    }

    /// What there is, once nothing that we ordered is under way any more.
    async fn settled(&mut self, names: &[String], age: Duration) -> Result<Found, ImError> {
        let began = clock::monotonic();
        let mut age = if self.uncertain.is_empty() { age } else { Duration::ZERO };
        loop {
            let found = self.sight.look(age).await?;
            let ours = || found.iter().filter(|(name, _)| self.sight.is_ours(name)).flat_map(|(_, vms)| vms);
            let is_under_way = ours().any(|vm| vm.made == Made::UnderWay);
            // It was killed meanwhile, so that nothing is under way there.
            let was_killed = ours().any(|vm| vm.made == Made::Left && self.uncertain.contains_key(&vm.name));
            let now = clock::monotonic();
            let may_come = |name: &String| {
                let since = self.uncertain.get(name).filter(|_| !was_killed && !found.contains_key(name));
                since.is_some_and(|since| now.duration_since(*since) < UNCERTAIN)
            };
            if !is_under_way && !names.iter().any(may_come) {
                self.uncertain.retain(|name, _| !was_killed && !names.contains(name));
                return Ok(found);
            }
            if is_under_way && now.duration_since(began) >= CARRIED_OUT {
                let text = "the Infrastructure Manager is still carrying out an order that was given before".to_owned();
                return Err(ImError { advice: Advice::Retry, text });
            }
            tokio::time::sleep(self.glance).await;
            age = Duration::ZERO;
        }
    }

    async fn on(&mut self, names: &[String]) -> Result<BTreeMap<String, Outcome>, ImError> {
        let found = self.settled(names, FRESH).await?;
        let (mut outcomes, mut stopped, mut missing, mut useless) =
            (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let vms = found.get(name).map(Vec::as_slice).unwrap_or_default();
            if let Some(vm) = vms.iter().find(|vm| vm.is_up()) {
                tracing::debug!(machine = %name, vm = %vm.id, "is there already");
                outcomes.insert(name.clone(), Ok(()));
            } else if let Some(vm) = vms.iter().find(|vm| vm.is_down()) {
                stopped.push((name.clone(), vm.id.clone()));
            } else {
                missing.push(name.as_str());
                useless.extend(vms.iter().filter(|vm| vm.state != "deleting").map(|vm| vm.id.clone()));
            }
        }
        if !missing.is_empty() {
            // The next order to add would drop them from its list, and nobody could remove them in their cloud.
            for vm in found.values().flatten().filter(|vm| vm.made == Made::Left && self.sight.is_ours(&vm.name)) {
                tracing::warn!(machine = %vm.name, vm = %vm.id, "the Infrastructure Manager was killed when it made this; what it left is removed");
                if !useless.contains(&vm.id) {
                    useless.push(vm.id.clone());
                }
            }
        }
        if !useless.is_empty() {
            self.remove(useless).await?;
        }
        outcomes.extend(self.each(stopped, "start").await);
        if let Some(fragment) = missing.first().and_then(|name| self.machines.get(*name)).cloned() {
            outcomes.extend(self.add(&fragment, &missing).await);
        }
        Ok(outcomes)
    }

    async fn add(&mut self, fragment: &Fragment, names: &[&str]) -> BTreeMap<String, Outcome> {
        let each = |outcome: &Outcome| names.iter().map(|name| ((*name).to_owned(), outcome.clone())).collect();
        self.sight.doubt().await;
        let began = clock::monotonic();
        let client = &self.sight.client;
        let added = client.add(&self.sight.infrastructure, &fragment.together(names), fragment.configure).await;
        self.sight.doubt().await;
        match added {
            Ok(new) if new.is_empty() => {
                let text = "the Infrastructure Manager answered that it was done, and made nothing".to_owned();
                each(&Err(ImError { advice: Advice::Retry, text }))
            }
            Ok(_) => {
                self.adds = paced(names.len(), clock::monotonic().duration_since(began), self.most);
                // What cannot be seen now is seen when somebody asks.
                let Ok(found) = self.sight.look(Duration::ZERO).await else { return each(&Ok(())) };
                let failed = found.iter().filter(|(name, _)| names.contains(&name.as_str())).flat_map(|(_, vms)| vms);
                let failed: Vec<String> = failed.filter(|vm| vm.state == "failed").map(|vm| vm.id.clone()).collect();
                if !failed.is_empty()
                    && let Err(error) = self.remove(failed).await
                {
                    // It is tried again before another of its name is made.
                    tracing::warn!(%error, "what the cloud did not make could not be removed");
                }
                let outcome = |name: &str| match found.get(name).and_then(|vms| vms.first()) {
                    Some(vm) if vm.state == "failed" => Err(ImError {
                        advice: Advice::Retry,
                        text: format!("the cloud did not make it: vm {} is `failed`", vm.id),
                    }),
                    Some(_) => Ok(()),
                    None => Err(ImError {
                        advice: Advice::Retry,
                        text: "the Infrastructure Manager answered that it was done, and made none of this name"
                            .to_owned(),
                    }),
                };
                names.iter().map(|name| ((*name).to_owned(), outcome(name))).collect()
            }
            Err(error) => {
                if error.advice == Advice::Retry {
                    let now = clock::monotonic();
                    self.uncertain.extend(names.iter().map(|name| ((*name).to_owned(), now)));
                }
                each(&Err(error))
            }
        }
    }

    async fn off(&mut self, names: &[String]) -> Result<BTreeMap<String, Outcome>, ImError> {
        // Numbers are looked up anew: the one that a machine had may be another's.
        let found = self.settled(names, Duration::ZERO).await?;
        let (mut running, mut removed) = (Vec::new(), Vec::new());
        for name in names {
            let reuse = self.machines.get(name).is_some_and(|fragment| fragment.reuse);
            for vm in found.get(name).into_iter().flatten().filter(|vm| vm.state != "deleting") {
                if reuse && vm.is_up() {
                    running.push((name.clone(), vm.id.clone()));
                } else if !(reuse && vm.is_down()) {
                    removed.push(vm.id.clone());
                }
            }
        }
        if !removed.is_empty() {
            let (count, began) = (removed.len(), clock::monotonic());
            self.remove(removed).await?;
            self.removes = paced(count, clock::monotonic().duration_since(began), REMOVED);
        }
        Ok(self.each(running, "stop").await.into_iter().collect())
    }

    /// Removes these, as far as they are there.
    async fn remove(&self, mut vms: Vec<String>) -> Outcome {
        let configure = self.machines.values().any(|fragment| fragment.configure);
        loop {
            let removed = self.sight.client.remove(&self.sight.infrastructure, &vms, configure).await;
            self.sight.changed(&vms).await;
            match removed {
                Err(error) if error.advice == Advice::Gone && error.text.contains("VM") => {
                    // One went before, so that none was removed.
                    let found = self.sight.look(Duration::ZERO).await?;
                    let before = vms.len();
                    vms.retain(|id| found.values().flatten().any(|vm| vm.id == *id));
                    if vms.is_empty() {
                        return Ok(());
                    }
                    if vms.len() == before {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    async fn each(&self, vms: Vec<(String, String)>, order: &'static str) -> Vec<(String, Outcome)> {
        if vms.is_empty() {
            return Vec::new();
        }
        let Sight { client, infrastructure, .. } = &*self.sight;
        let give = |(name, vm): (String, String)| async move { (name, client.order(infrastructure, &vm, order).await) };
        let outcomes = stream::iter(vms).map(give).buffer_unordered(AT_ONCE).collect().await;
        self.sight.changed(&[]).await;
        outcomes
    }
}

/// How many are done in the time that an order may take, if so many took so long.
fn paced(count: usize, took: Duration, most: usize) -> usize {
    let each = took.max(Duration::from_millis(1)) / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let many = PACE.as_micros() / each.as_micros().max(1);
    usize::try_from(many).unwrap_or(most).clamp(1, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_what_is_done_in_its_time() {
        assert_eq!(paced(4, Duration::from_secs(40), 32), 1, "a cloud that takes ten seconds for each");
        assert_eq!(paced(1, Duration::from_secs(60), 32), 1);
        assert_eq!(paced(8, Duration::from_secs(8), 32), 10);
        assert_eq!(paced(8, Duration::ZERO, 32), 32);
    }
}
