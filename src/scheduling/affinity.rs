//! Node affinity: `nodeSelector` and required node affinity. Both must hold; of the terms any one.

use std::collections::{BTreeMap, BTreeSet};

use super::Misfit;
use crate::model::pod::{Operator, Requirement, Term};

/// The only field that a node may be selected by.
const NAME: &str = "metadata.name";

type Labels = BTreeMap<String, String>;

/// Why a selector or affinity keeps its pod off this node.
pub(super) fn mismatch(selector: &Labels, affinity: Option<&[Term]>, name: &str, labels: &Labels) -> Option<Misfit> {
    for (key, value) in selector {
        if labels.get(key) != Some(value) {
            return Some(Misfit::Selector { key: key.clone(), wants: value.clone(), has: labels.get(key).cloned() });
        }
    }
    let terms = affinity?;
    if any_holds(terms, name, labels) {
        return None;
    }
    // Named by the requirement that fails in the first term: most pods have but one.
    let failing = terms.iter().find_map(|term| failing(term, name, labels));
    Some(Misfit::Affinity { requirement: failing.cloned() })
}

/// True when one of the terms holds on a node of this name and these labels.
pub(super) fn any_holds(terms: &[Term], name: &str, labels: &Labels) -> bool {
    terms.iter().any(|term| holds(term, name, labels))
}

/// The only nodes that the terms can hold on, where every term names its nodes; `None` when one does not.
pub(super) fn named_nodes(terms: &[Term]) -> Option<BTreeSet<&str>> {
    let mut all = BTreeSet::new();
    for term in terms {
        let mut of_term: Option<BTreeSet<&str>> = None;
        for field in term.fields.iter().filter(|field| field.key == NAME && field.operator == Operator::In) {
            let values: BTreeSet<&str> = field.values.iter().map(String::as_str).collect();
            of_term =
                Some(of_term.map_or_else(|| values.clone(), |before| before.intersection(&values).copied().collect()));
        }
        all.extend(of_term?);
    }
    (!terms.is_empty()).then_some(all)
}

fn holds(term: &Term, name: &str, labels: &Labels) -> bool {
    let empty = term.labels.is_empty() && term.fields.is_empty();
    !empty && failing(term, name, labels).is_none()
}

fn failing<'a>(term: &'a Term, name: &str, labels: &Labels) -> Option<&'a Requirement> {
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
