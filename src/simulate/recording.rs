//! A recording: what a journal of the daemon tells of pods, machines and policy, read as a trace. When a pod came is
//! known; how long it ran is known if both its beginning and its end were seen.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::trace::{Job, LeftOut, Trace, leave_out};
use crate::autoscaler::{Event, Policy, State};
use crate::model::machine::Machine;
use crate::model::node::Node;
use crate::model::pod::{Owner, Phase, Pod, PodId};

/// A pod that is first seen on a node so long after it was made had begun before that.
const PROMPT_MS: i64 = 60_000;

/// What a journal tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// The pods, as jobs.
    pub trace: Trace,
    /// The machines, as they were last seen.
    pub machines: Vec<Machine>,
    /// The policy that was last in force.
    pub policy: Policy,
}

/// A pod's life, as far as it was seen.
#[derive(Debug, Clone)]
struct Life {
    pod: Pod,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Waits,
    Runs(Timestamp),
    /// On a node when it was first seen, and long after it was made.
    RanBefore,
    Ended(Timestamp, Timestamp),
    /// It is left out, for this reason.
    Unknown(&'static str),
}

#[derive(Default)]
struct Reader {
    /// By UID.
    lives: BTreeMap<String, Life>,
    /// The UID of each pod that is there.
    there: BTreeMap<PodId, String>,
    machines: BTreeMap<String, Machine>,
    policy: Policy,
    left_out: BTreeMap<String, LeftOut>,
}

/// Reads the events of a journal, which go on from a state.
pub fn read(before: Option<&State>, events: impl IntoIterator<Item = (Timestamp, Event)>) -> Recording {
    let mut reader = Reader::default();
    if let Some(state) = before {
        reader.policy = state.policy.clone();
        reader.machines = state.machines.iter().map(|(name, one)| (name.clone(), one.machine.clone())).collect();
        for pod in state.pods.values() {
            reader.see(pod.clone(), state.now);
        }
    }
    for (at, event) in events {
        reader.take(at, event);
    }
    reader.finish()
}

impl Reader {
    fn take(&mut self, at: Timestamp, event: Event) {
        match event {
            Event::Started { machines, policy } => {
                let known = std::mem::take(&mut self.machines);
                let shaped = machines.into_iter().map(|mut machine| {
                    if let Some(before) = known.get(&machine.name).filter(|before| before.shape.seen) {
                        machine.shape = before.shape.clone();
                    }
                    (machine.name.clone(), machine)
                });
                self.machines = shaped.collect();
                self.policy = policy;
            }
            Event::PodsListed { pods } => {
                let mut gone = std::mem::take(&mut self.there);
                for pod in pods {
                    gone.remove(&pod.id);
                    self.see(pod, at);
                }
                for uid in gone.into_values() {
                    self.lose(&uid, "it ended while the daemon did not look");
                }
            }
            Event::PodApplied { pod } => self.see(pod, at),
            Event::PodGone { id } => {
                if let Some(life) = self.there.remove(&id).and_then(|uid| self.lives.get_mut(&uid)) {
                    end(life, at);
                }
            }
            Event::NodesListed { nodes } => nodes.iter().for_each(|node| self.shape(node)),
            Event::NodeApplied { node } => self.shape(&node),
            Event::QueueSeen { queue, services } if !services.is_empty() => {
                leave_out(&mut self.left_out, "a reading of a queue: what queues promise is not simulated", &queue);
            }
            Event::Tick
            | Event::NodeGone { .. }
            | Event::FactsListed { .. }
            | Event::FactApplied { .. }
            | Event::FactGone { .. }
            | Event::WatchLost { .. }
            | Event::QueueSeen { .. }
            | Event::QueueLost { .. }
            | Event::PowerSeen { .. }
            | Event::PowerRefused { .. }
            | Event::PowerUnseen { .. }
            | Event::OffUnverified { .. }
            | Event::Reached { .. }
            | Event::Drawn { .. }
            | Event::Done { .. }
            | Event::Asked { .. } => {}
        }
    }

    fn shape(&mut self, node: &Node) {
        if let Some(machine) = self.machines.get_mut(&node.name).filter(|_| node.ready) {
            machine.shape.clone_from(&node.shape);
            machine.shape.seen = true;
        }
    }

    fn see(&mut self, pod: Pod, at: Timestamp) {
        if matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror) {
            return;
        }
        // Another pod by the same name: the one before is gone.
        if let Some(before) = self.there.insert(pod.id.clone(), pod.uid.clone()).filter(|uid| *uid != pod.uid)
            && let Some(life) = self.lives.get_mut(&before)
        {
            end(life, at);
        }
        let (runs, over) = (pod.node.is_some(), matches!(pod.phase, Phase::Succeeded | Phase::Failed));
        let late = at.as_millisecond().saturating_sub(pod.created.as_millisecond()) > PROMPT_MS;
        let life = self
            .lives
            .entry(pod.uid.clone())
            .or_insert_with(|| Life { stage: if runs && late { Stage::RanBefore } else { Stage::Waits }, pod });
        if runs && matches!(life.stage, Stage::Waits) {
            life.stage = Stage::Runs(at);
        }
        if over {
            end(life, at);
        }
    }

    fn lose(&mut self, uid: &str, reason: &'static str) {
        if let Some(life) = self.lives.get_mut(uid)
            && !matches!(life.stage, Stage::Ended(..))
        {
            life.stage = Stage::Unknown(reason);
        }
    }

    fn finish(mut self) -> Recording {
        let lives = std::mem::take(&mut self.lives);
        let zero = lives.values().map(|life| life.pod.created).min().unwrap_or(Timestamp::UNIX_EPOCH);
        let since = |from: Timestamp, to: Timestamp| to.as_millisecond().saturating_sub(from.as_millisecond()).max(0);
        let mut jobs = Vec::new();
        for Life { pod, stage } in lives.into_values() {
            let name = pod.id.to_string();
            let reason = match stage {
                Stage::Ended(began, ended) => {
                    if !(pod.claims.is_empty() && pod.disks.is_empty()) {
                        leave_out(&mut self.left_out, "the volumes of a pod: it is simulated without them", &name);
                    }
                    let (submit_ms, run_ms) = (since(zero, pod.created), since(began, ended));
                    jobs.push(Job { submit_ms, run_ms, pod: bare(pod) });
                    continue;
                }
                Stage::Waits => "it had not begun when the journal ends",
                Stage::Runs(_) => "it still ran when the journal ends",
                Stage::RanBefore => "it had begun before it was first seen",
                Stage::Unknown(reason) => reason,
            };
            leave_out(&mut self.left_out, reason, &name);
        }
        // Pods that were made at one time, in the order of their names.
        jobs.sort_by(|one, other| one.pod.id.cmp(&other.pod.id));
        let trace = Trace::of(zero, jobs, self.left_out);
        Recording { trace, machines: self.machines.into_values().collect(), policy: self.policy }
    }
}

fn end(life: &mut Life, at: Timestamp) {
    life.stage = match life.stage {
        Stage::Runs(began) => Stage::Ended(began, at),
        Stage::Waits => Stage::Unknown("it was gone before it began"),
        stage @ (Stage::RanBefore | Stage::Ended(..) | Stage::Unknown(_)) => stage,
    };
}

/// The pod as it was made, without what depends on the cluster that it was in.
fn bare(pod: Pod) -> Pod {
    Pod {
        phase: Phase::Pending,
        node: None,
        unschedulable: false,
        gated: false,
        deleting: false,
        nominated: None,
        claims: Vec::new(),
        disks: Vec::new(),
        group: None,
        not_judged: Vec::new(),
        ..pod
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace;
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_571_200 + seconds).unwrap()
    }

    fn pod(name: &str, created: i64, node: Option<&str>, phase: Phase) -> Pod {
        let (uid, node) = (name.to_owned(), node.map(str::to_owned));
        Pod { uid, created: time(created), node, phase, ..trace::pod(name) }
    }

    #[test]
    fn a_run_is_what_was_seen_of_it() {
        let (on, phase) = (Some("m"), Phase::Running);
        let applied = |pod| Event::PodApplied { pod };
        let gone = |name: &str| Event::PodGone { id: trace::pod(name).id };
        let events = [
            (0, Event::PodsListed { pods: vec![pod("old", -600, on, phase), pod("a", -5, None, Phase::Pending)] }),
            (10, applied(pod("a", -5, on, Phase::Pending))),
            (11, applied(pod("a", -5, on, phase))),
            (12, applied(pod("b", 12, on, phase))),
            (13, applied(pod("c", 13, None, Phase::Pending))),
            (20, applied(pod("lost", 20, on, phase))),
            (70, applied(pod("a", -5, on, Phase::Succeeded))),
            (80, gone("a")),
            (90, gone("c")),
            (95, gone("old")),
            (100, gone("b")),
            (110, Event::PodsListed { pods: vec![pod("d", 105, on, phase), pod("e", 106, None, Phase::Pending)] }),
        ];
        let seen = read(None, events.map(|(at, event)| (time(at), event)));
        let jobs: Vec<_> = seen.trace.jobs.iter().map(|job| (&*job.pod.id.name, job.submit_ms, job.run_ms)).collect();
        assert_eq!(jobs, [("a", 0, 60_000), ("b", 17_000, 88_000)]);
        assert_eq!((seen.trace.start, seen.trace.jobs[0].pod.node.as_ref()), (time(-5), None));
        let left: Vec<_> = seen.trace.left_out.iter().map(|(why, left)| (why.as_str(), &*left.names[0])).collect();
        assert_eq!(
            left,
            [
                ("it ended while the daemon did not look", "trace/lost"),
                ("it had begun before it was first seen", "trace/old"),
                ("it had not begun when the journal ends", "trace/e"),
                ("it still ran when the journal ends", "trace/d"),
                ("it was gone before it began", "trace/c"),
            ]
        );
    }
}
