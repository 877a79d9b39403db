//! A hold: why a pod may not be moved so that its machine can go off. The rules are those that people know from
//! Cluster Autoscaler and Karpenter, so that what they wrote on their pods holds here too.

use std::fmt;

use jiff::Timestamp;

use super::time::after;
use crate::model::fact::{Budget, Facts};
use crate::model::pod::{Moving, Owner, Pod};
use crate::scheduling::selects;

/// Why a pod may not be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// Its annotations say so.
    Said,
    /// Its annotations say so until then.
    Until(Timestamp),
    /// Nobody would make it again.
    Bare,
    /// It is a Job's: it ends by itself, and would have to begin anew.
    Job,
    /// Whoever made it is not known to make it again.
    Custom(String),
    /// This volume of it would be lost.
    Local(String),
    /// It is one of Kubernetes' own, and no PodDisruptionBudget says how many of it may go.
    System,
    /// This PodDisruptionBudget lets none of it go now.
    Budget(String),
    /// More than one PodDisruptionBudget is about it, which the API server does not evict.
    Budgets,
    /// It has a constraint that is not judged here.
    NotJudged(String),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said => f.write_str("its annotations say that it is not to be moved"),
            Self::Until(time) => write!(f, "its annotations say that it is not to be moved before {time:.0}"),
            Self::Bare => f.write_str("nothing would make it again"),
            Self::Job => f.write_str("it is a Job's, which ends by itself and would have to begin anew"),
            Self::Custom(owner) => write!(f, "it is made by {owner}, which may not make it again"),
            Self::Local(volume) => write!(f, "its volume `{volume}` is on the node's disk and would be lost"),
            Self::System => f.write_str("it is in kube-system and no PodDisruptionBudget says that it may go"),
            Self::Budget(name) => write!(f, "PodDisruptionBudget {name} lets none of its pods go now"),
            Self::Budgets => f.write_str("more than one PodDisruptionBudget is about it"),
            Self::NotJudged(what) => write!(f, "{what} is not judged here"),
        }
    }
}

/// Controllers that make their pods again elsewhere.
const KNOWN: [&str; 3] = ["ReplicaSet/", "ReplicationController/", "StatefulSet/"];

/// Why this pod may not be moved now, if it may not. `begun` leaves out what changes once its machine is being emptied:
/// then the API server's word on each eviction counts.
pub(super) fn of(pod: &Pod, facts: &Facts, begun: bool, now: Timestamp) -> Option<Hold> {
    if pod.deleting || matches!(pod.owner, Owner::DaemonSet(_) | Owner::Mirror) {
        return None;
    }
    match pod.moving {
        Moving::Never => return Some(Hold::Said),
        Moving::NotBefore(ms) if now < after(pod.created, ms) => return Some(Hold::Until(after(pod.created, ms))),
        Moving::Unsaid | Moving::Free | Moving::NotBefore(_) => {}
    }
    if let Some(constraint) = pod.not_judged.first() {
        return Some(Hold::NotJudged(constraint.clone()));
    }
    let namespace = format!("{}/", pod.id.namespace);
    let mine = facts.budgets.range(namespace.clone()..).take_while(|(name, _)| name.starts_with(&namespace));
    let mut budgets = mine.map(|(_, budget)| budget).filter(|budget| is_about(budget, pod));
    let budget = budgets.next();
    if budgets.next().is_some() {
        return Some(Hold::Budgets);
    }
    if let Some(budget) = budget.filter(|budget| budget.allowed == 0 && !begun) {
        return Some(Hold::Budget(format!("{}/{}", budget.namespace, budget.name)));
    }
    if pod.moving == Moving::Free {
        return None;
    }
    match &pod.owner {
        Owner::Bare => return Some(Hold::Bare),
        Owner::Controller(name) if name.starts_with("Job/") => return Some(Hold::Job),
        Owner::Controller(name) if !KNOWN.iter().any(|kind| name.starts_with(kind)) => {
            return Some(Hold::Custom(name.clone()));
        }
        Owner::Controller(_) | Owner::DaemonSet(_) | Owner::Mirror => {}
    }
    if let Some(volume) = pod.local.first() {
        return Some(Hold::Local(volume.clone()));
    }
    (pod.id.namespace == "kube-system" && budget.is_none()).then_some(Hold::System)
}

fn is_about(budget: &Budget, pod: &Pod) -> bool {
    budget.namespace == pod.id.namespace && selects(budget.selector.as_ref(), &pod.labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fact::Fact;
    use crate::model::pod::PodId;
    use crate::model::selector::Selector;

    fn facts(budgets: &[(&str, u32)]) -> Facts {
        let budget = |(name, allowed): &(&str, u32)| {
            Fact::Budget(Budget {
                namespace: "ns".into(),
                name: (*name).into(),
                selector: Some(Selector::default()),
                allowed: *allowed,
            })
        };
        budgets.iter().map(budget).collect()
    }

    #[test]
    fn what_holds_a_pod_and_what_does_not() {
        let now = Timestamp::from_second(1000).unwrap();
        let web = Pod {
            id: PodId { namespace: "ns".into(), name: "web".into() },
            owner: Owner::Controller("ReplicaSet/web".into()),
            created: Timestamp::from_second(900).unwrap(),
            ..Pod::default()
        };
        let with = |owner: Owner| Pod { owner, ..web.clone() };
        let none = facts(&[]);
        let hold = |pod: &Pod| of(pod, &none, false, now);
        assert_eq!(hold(&web), None);
        assert_eq!(hold(&with(Owner::Bare)), Some(Hold::Bare));
        assert_eq!(hold(&with(Owner::Mirror)), None, "a static pod goes with its machine");
        assert_eq!(hold(&with(Owner::DaemonSet("d".into()))), None);
        assert_eq!(hold(&with(Owner::Controller("Job/j".into()))), Some(Hold::Job));
        assert_eq!(hold(&with(Owner::Controller("Game/g".into()))), Some(Hold::Custom("Game/g".into())));
        assert_eq!(hold(&Pod { local: vec!["tmp".into()], ..web.clone() }), Some(Hold::Local("tmp".into())));
        assert_eq!(hold(&Pod { moving: Moving::Never, ..web.clone() }), Some(Hold::Said));
        assert!(matches!(hold(&Pod { moving: Moving::NotBefore(200_000), ..web.clone() }), Some(Hold::Until(_))));
        assert_eq!(hold(&Pod { moving: Moving::NotBefore(100_000), ..web.clone() }), None);
        assert_eq!(hold(&Pod { not_judged: vec!["x".into()], ..web.clone() }), Some(Hold::NotJudged("x".into())));
        let system = Pod { id: PodId { namespace: "kube-system".into(), name: "dns".into() }, ..web.clone() };
        assert_eq!(hold(&system), Some(Hold::System));
        // Who says that it may go is believed, but for a budget.
        let free = |pod: Pod| Pod { moving: Moving::Free, local: vec!["tmp".into()], ..pod };
        assert_eq!(hold(&free(with(Owner::Bare))), None);
        assert_eq!(hold(&free(system)), None);
        let closed = facts(&[("b", 0)]);
        assert_eq!(of(&free(web.clone()), &closed, false, now), Some(Hold::Budget("ns/b".into())));
        assert_eq!(of(&web, &closed, true, now), None, "the API server has the last word once it is begun");
        assert_eq!(of(&web, &facts(&[("b", 1)]), false, now), None);
        assert_eq!(of(&web, &facts(&[("b", 1), ("c", 1)]), false, now), Some(Hold::Budgets));
    }
}
