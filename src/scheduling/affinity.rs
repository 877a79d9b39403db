//! Node affinity: `nodeSelector` and required node affinity. Both must hold; of the terms any one.

use std::collections::BTreeMap;

use super::Misfit;
use crate::model::node::Shape;
use crate::model::pod::{Operator, Pod, Requirement, Term};

/// The only field that a node may be selected by.
const NAME: &str = "metadata.name";

/// Why the pod's selector or affinity keeps it off this node.
pub(super) fn mismatch(pod: &Pod, name: &str, shape: &Shape) -> Option<Misfit> {
    for (key, value) in &pod.node_selector {
        if shape.labels.get(key) != Some(value) {
            return Some(Misfit::Selector {
                key: key.clone(),
                wants: value.clone(),
                has: shape.labels.get(key).cloned(),
            });
        }
    }
    let terms = pod.affinity.as_ref()?;
    if terms.iter().any(|term| holds(term, name, &shape.labels)) {
        return None;
    }
    // Named by the requirement that fails in the first term: most pods have but one.
    let failing = terms.iter().find_map(|term| failing(term, name, &shape.labels));
    Some(Misfit::Affinity { requirement: failing.cloned() })
}

fn holds(term: &Term, name: &str, labels: &BTreeMap<String, String>) -> bool {
    let empty = term.labels.is_empty() && term.fields.is_empty();
    !empty && failing(term, name, labels).is_none()
}

fn failing<'a>(term: &'a Term, name: &str, labels: &BTreeMap<String, String>) -> Option<&'a Requirement> {
    term.labels
        .iter()
        .find(|requirement| !accepts(requirement, labels.get(&requirement.key).map(String::as_str)))
        .or_else(|| {
            term.fields.iter().find(|requirement| !accepts(requirement, (requirement.key == NAME).then_some(name)))
        })
}

/// True when a label of this value, or its absence, meets the requirement.
pub fn accepts(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().any(|wanted| wanted == value);
    let compared = |holds: fn(i64, i64) -> bool| {
        // As the API: exactly one value, and both integers; else nothing matches.
        let [bound] = &requirement.values[..] else { return false };
        match (value.and_then(|value| value.parse().ok()), bound.parse().ok()) {
            (Some(value), Some(bound)) => holds(value, bound),
            _ => false,
        }
    };
    match requirement.operator {
        Operator::In => value.is_some_and(listed),
        Operator::NotIn => !value.is_some_and(listed),
        Operator::Exists => value.is_some(),
        Operator::DoesNotExist => value.is_none(),
        Operator::Gt => compared(|value, bound| value > bound),
        Operator::Lt => compared(|value, bound| value < bound),
    }
}
