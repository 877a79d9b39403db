//! A stand-in: what a machine that is no node is to the decision core. It becomes a node of its own name, Ready while
//! it is heard over SSH and cordoned while it takes no runs, and its runs become pods on that node. So the core powers it
//! as it powers every other, by what is really there: it asks the machine itself, not whoever sent the runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::autoscaler::Event;
use crate::autoscaler::standin::namespace;
use crate::clock;
use crate::functions::machine::{Heard, Machine as Door, Report, RunState};
use crate::model::machine::Machine;
use crate::model::node::Node;
use crate::model::pod::{Owner, Phase, Pod, PodId};
use crate::model::resources::Resources;

/// A sign of life is told this often though nothing changed: each is a line in the journal.
const BEAT: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// A machine that is no node, and the way to it.
#[derive(Clone)]
pub struct StandIn {
    /// As it is declared.
    pub machine: Machine,
    /// How it is asked.
    pub door: Arc<Door>,
}

/// Tells of one machine until nobody listens.
pub async fn watch(one: StandIn, events: mpsc::Sender<Event>) {
    let (sender, mut heard) = mpsc::channel(4);
    let door = one.door.clone();
    let hear = async move { door.hear(sender).await };
    let tell = async move {
        let mut told = Told::default();
        while let Some(heard) = heard.recv().await {
            for event in told.next(&one.machine, heard, clock::now()) {
                if events.send(event).await.is_err() {
                    return;
                }
            }
        }
    };
    futures::join!(hear, tell);
}

/// What was told last.
#[derive(Debug, Default)]
struct Told {
    node: Option<Node>,
    pods: BTreeMap<PodId, Pod>,
}

impl Told {
    /// The news in what was heard.
    fn next(&mut self, machine: &Machine, heard: Heard, now: Timestamp) -> Vec<Event> {
        let mut events = Vec::new();
        let node = match heard {
            // Its runs may well go on: they stay, until the machine is heard again or proven off.
            Heard::Silence(_) => {
                let Some(node) = self.node.clone() else { return events };
                Node { ready: false, ..node }
            }
            Heard::Report(report) => {
                let pods = pods(machine, &report, now);
                let gone: Vec<PodId> = self.pods.keys().filter(|id| !pods.contains_key(*id)).cloned().collect();
                events.extend(gone.into_iter().map(|id| Event::PodGone { id }));
                for (id, pod) in &pods {
                    if self.pods.get(id).is_none_or(|before| before.uid != pod.uid) {
                        events.push(Event::PodApplied { pod: pod.clone() });
                    }
                }
                self.pods = pods
                    .into_iter()
                    .map(|(id, pod)| {
                        let before = self.pods.remove(&id).filter(|before| before.uid == pod.uid);
                        (id, before.unwrap_or(pod))
                    })
                    .collect();
                self.node(machine, &report, now)
            }
        };
        if self.node.as_ref() != Some(&node) {
            self.node = Some(node.clone());
            // Pods first: a node without them would seem to be without work.
            events.push(Event::NodeApplied { node });
        }
        events
    }

    fn node(&self, machine: &Machine, report: &Report, now: Timestamp) -> Node {
        let same = self.node.as_ref().filter(|node| node.uid == report.boot);
        let beat = same.and_then(|node| node.heartbeat).filter(|beat| now.duration_since(*beat) < BEAT);
        // Heard again after a silence is a sign of life of its own.
        let beat = beat.filter(|_| same.is_some_and(|node| node.ready));
        Node {
            name: machine.name.clone(),
            // Another boot is another node.
            uid: report.boot.clone(),
            created: same.map_or(now, |node| node.created),
            ready: true,
            heartbeat: Some(beat.unwrap_or(now)),
            boot_id: Some(report.boot.clone()),
            cordoned: report.closed,
            cordoned_by_us: report.closed,
            shape: machine.shape.clone(),
            ..Node::default()
        }
    }
}

/// The runs that are not over, as pods.
fn pods(machine: &Machine, report: &Report, now: Timestamp) -> BTreeMap<PodId, Pod> {
    let mut pods = BTreeMap::new();
    for (job, run) in &report.runs {
        let phase = match run.state {
            RunState::Running => Phase::Running,
            RunState::Ready => Phase::Pending,
            RunState::Ended { .. } | RunState::Failed { .. } | RunState::Lost => continue,
        };
        let id = PodId { namespace: namespace(&machine.name), name: job.clone() };
        let created = run.started.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(now);
        let requests = Resources { cpu_milli: run.cpu_milli, memory: run.memory, pods: 1, ..Resources::default() };
        let pod = Pod {
            uid: format!("{}/{job}/{phase:?}", report.boot),
            created,
            phase,
            node: Some(machine.name.clone()),
            owner: Owner::Controller(format!("Function/{}", run.service)),
            requests,
            labels: BTreeMap::from([("oscar_service".to_owned(), run.service.clone())]),
            id: id.clone(),
            ..Pod::default()
        };
        pods.insert(id, pod);
    }
    pods
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::machine::RunFact;
    use crate::model::machine::Role;
    use crate::model::node::Shape;

    fn machine() -> Machine {
        Machine {
            name: "desk".to_owned(),
            pool: "desk".to_owned(),
            role: Role::Worker,
            address: "192.0.2.1".to_owned(),
            port: 22,
            user: "tide".to_owned(),
            pod_cidr: String::new(),
            shape: Shape::default(),
        }
    }

    fn report(boot: &str, closed: bool, runs: &[(&str, RunState)]) -> Heard {
        let run = |(job, state): &(&str, RunState)| {
            let fact = RunFact {
                service: "cow".to_owned(),
                event: "e".to_owned(),
                attempt: 1,
                started: Some(5),
                cpu_milli: 500,
                memory: 7,
                state: state.clone(),
            };
            ((*job).to_owned(), fact)
        };
        Heard::Report(Report { boot: boot.to_owned(), closed, runs: runs.iter().map(run).collect() })
    }

    fn shown(events: &[Event]) -> Vec<String> {
        events
            .iter()
            .map(|event| {
                if let Event::NodeApplied { node } = event {
                    format!("{} {} {}", node.uid, if node.ready { "ready" } else { "silent" }, node.cordoned)
                } else if let Event::PodApplied { pod } = event {
                    format!("{} {:?}", pod.id, pod.phase)
                } else if let Event::PodGone { id } = event {
                    format!("{id} gone")
                } else {
                    format!("{event:?}")
                }
            })
            .collect()
    }

    #[test]
    fn what_a_machine_says_becomes_a_node_with_pods_and_only_news_is_told() {
        let (machine, mut told) = (machine(), Told::default());
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut hear = |heard, second| shown(&told.next(&machine, heard, at(second)));
        assert!(hear(Heard::Silence("off".to_owned()), 1).is_empty(), "nothing is known of it");
        let running = [("cow-1", RunState::Running), ("cow-2", RunState::Ended { code: 0 })];
        assert_eq!(hear(report("b1", false, &running), 2), ["udocker:desk/cow-1 Running", "b1 ready false"]);
        assert!(hear(report("b1", false, &running), 3).is_empty());
        assert_eq!(hear(report("b1", false, &running), 63), ["b1 ready false"], "a sign of life");
        assert_eq!(hear(Heard::Silence("cut".to_owned()), 64), ["b1 silent false"], "what runs may run on");
        assert!(hear(Heard::Silence("cut".to_owned()), 65).is_empty());
        let ended = [("cow-1", RunState::Ended { code: 0 })];
        assert_eq!(hear(report("b1", true, &ended), 66), ["udocker:desk/cow-1 gone", "b1 ready true"]);
        assert_eq!(hear(report("b2", false, &[("cow-3", RunState::Lost)]), 70), ["b2 ready false"]);
        assert_eq!(told.node.as_ref().map(|node| node.created), Some(at(70)), "another boot, another node");
    }
}
