//! Planted bugs: each bends what the core hears, remembers or answers, as a mistake in it would. The
//! simulation must notice every one, or it has no teeth.

use jiff::Timestamp;
use marea::autoscaler::consolidation::Budget;
use marea::autoscaler::tracked::{Phase, Tracked};
use marea::autoscaler::{Action, Event, State, What};
use marea::model::machine::Role;
use marea::model::pod::Moving;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Planted {
    Nothing,
    ActsOnStaleLists,
    DeletesNodeEarly,
    ActsTwice,
    IgnoresDemand,
    ForgetsBootDeadline,
    TrustsMemoryAfterRestart,
    IgnoresMinimum,
    IgnoresPods,
    WakesForWhatDoesNotFit,
    IgnoresIdleTimeout,
    PowersFrontEnd,
    NeverUncordons,
    NeverPowersOff,
    FailedForGood,
    IgnoresWaitingPods,
    ForgetsActions,
    IgnoresQueues,
    BelievesLostQueues,
    ForgetsLostQueues,
    CountsTwice,
    IgnoresHolds,
    EmptiesUnasked,
    IgnoresBudgets,
    ForgetsShuns,
    EmptiesWithoutRoom,
}

impl Planted {
    pub(crate) const ALL: [Self; 25] = [
        Self::ActsOnStaleLists,
        Self::DeletesNodeEarly,
        Self::ActsTwice,
        Self::IgnoresDemand,
        Self::ForgetsBootDeadline,
        Self::TrustsMemoryAfterRestart,
        Self::IgnoresMinimum,
        Self::IgnoresPods,
        Self::WakesForWhatDoesNotFit,
        Self::IgnoresIdleTimeout,
        Self::PowersFrontEnd,
        Self::NeverUncordons,
        Self::NeverPowersOff,
        Self::FailedForGood,
        Self::IgnoresWaitingPods,
        Self::ForgetsActions,
        Self::IgnoresQueues,
        Self::BelievesLostQueues,
        Self::ForgetsLostQueues,
        Self::CountsTwice,
        Self::IgnoresHolds,
        Self::EmptiesUnasked,
        Self::IgnoresBudgets,
        Self::ForgetsShuns,
        Self::EmptiesWithoutRoom,
    ];

    /// Before the step: what the core hears and remembers.
    pub(crate) fn before(self, state: &mut State, mut event: Event) -> Option<Event> {
        match (self, &mut event) {
            (Self::ActsOnStaleLists, Event::WatchLost { .. }) => return None,
            (Self::IgnoresQueues, Event::QueueSeen { .. }) | (Self::BelievesLostQueues, Event::QueueLost { .. }) => {
                return None;
            }
            (Self::ForgetsLostQueues, Event::QueueLost { queue, .. }) => {
                event = Event::QueueSeen { queue: std::mem::take(queue), services: vec![] };
            }
            (Self::CountsTwice, Event::QueueSeen { services, .. }) => {
                for backlog in services {
                    backlog.unit.labels.clear();
                    backlog.limit = None;
                }
            }
            (Self::IgnoresDemand, Event::PodApplied { pod }) => pod.unschedulable = false,
            (Self::IgnoresDemand, Event::PodsListed { pods }) => {
                for pod in pods.iter_mut() {
                    pod.unschedulable = false;
                }
            }
            (Self::IgnoresPods, Event::PodApplied { pod }) if pod.node.is_some() => pod.node = Some("elsewhere".into()),
            (Self::WakesForWhatDoesNotFit, Event::PodApplied { pod }) if pod.node.is_none() => {
                pod.requests.cpu_milli = 1;
                pod.requests.memory = 1;
                pod.node_selector.clear();
            }
            (Self::IgnoresHolds, Event::PodApplied { pod }) if pod.node.is_some() => {
                pod.moving = Moving::Free;
            }
            // There is no mark to take back, as far as it knows.
            (Self::ForgetsShuns, Event::NodeApplied { node }) => node.shunned = false,
            (Self::ForgetsShuns, Event::NodesListed { nodes }) => {
                for node in nodes {
                    node.shunned = false;
                }
            }
            // What is to be moved needs next to nothing, as far as it knows.
            (Self::EmptiesWithoutRoom, Event::PodApplied { pod }) if pod.node.is_some() => {
                pod.requests.cpu_milli = 1;
                pod.requests.memory = 1;
            }
            (Self::PowersFrontEnd, Event::Started { machines, .. }) => {
                for machine in machines {
                    machine.role = Role::Worker;
                }
            }
            _ => {}
        }
        match self {
            Self::IgnoresMinimum => state.minimums.clear(),
            Self::EmptiesUnasked => state.policy.consolidation.pools = ["a", "b"].map(str::to_owned).into(),
            Self::IgnoresBudgets => {
                let budget = |pool: &str| Budget { pool: Some(pool.to_owned()), most: 99, ..Budget::default() };
                state.policy.consolidation.budgets = ["a", "b"].map(budget).into();
            }
            Self::IgnoresIdleTimeout => state.policy.idle_timeout_ms = 1,
            Self::IgnoresWaitingPods => {
                // It decides to go off as if nothing waited: the pods are remembered as long gated.
                if matches!(event, Event::Tick) {
                    for pod in state.pods.values_mut().filter(|pod| pod.unschedulable) {
                        pod.gated = true;
                    }
                }
            }
            _ => {}
        }
        Some(event)
    }

    /// After the step: what it remembers and answers.
    pub(crate) fn after(self, state: &mut State, mut actions: Vec<Action>) -> Vec<Action> {
        match self {
            Self::DeletesNodeEarly => {
                for action in &mut actions {
                    if let (What::PowerOff { .. }, Some(node)) = (&action.what, state.nodes.get(&action.machine)) {
                        action.what = What::DeleteNode { uid: node.uid.clone() };
                    }
                }
            }
            Self::ActsTwice => actions.extend(actions.clone()),
            Self::ForgetsBootDeadline => {
                for tracked in state.machines.values_mut() {
                    if let Phase::PoweringOn { deadline, .. } = &mut tracked.phase {
                        *deadline = Timestamp::MAX;
                    }
                }
            }
            Self::TrustsMemoryAfterRestart => {
                let known = |tracked: &Tracked| !matches!(tracked.phase, Phase::Unknown);
                actions.retain(|action| action.what != What::Observe || !known(&state.machines[&action.machine]));
                for tracked in state.machines.values_mut().filter(|tracked| tracked.must_observe && known(tracked)) {
                    (tracked.must_observe, tracked.in_flight) = (false, None);
                }
            }
            Self::NeverUncordons => actions.retain(|action| action.what != What::Uncordon),
            Self::NeverPowersOff => {
                for tracked in state.machines.values_mut() {
                    if let Phase::On { idle_since, .. } = &mut tracked.phase {
                        *idle_since = None;
                    }
                }
            }
            Self::FailedForGood => {
                for tracked in state.machines.values_mut() {
                    if let Phase::Failed { retry_at } = &mut tracked.phase {
                        *retry_at = Timestamp::MAX;
                    }
                }
            }
            Self::ForgetsActions => {
                for tracked in state.machines.values_mut() {
                    tracked.in_flight = None;
                }
            }
            _ => {}
        }
        actions
    }
}
