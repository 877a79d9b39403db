//! Selectors: do labels match? And pod affinity terms: is a pod one of those that are meant?

use std::collections::BTreeMap;

use super::affinity::accepts;
use crate::model::fact::Facts;
use crate::model::pod::PodTerm;
use crate::model::selector::Selector;

type Labels = BTreeMap<String, String>;

/// True when the labels match; a selector that is not there matches nothing.
pub fn selects(selector: Option<&Selector>, labels: &Labels) -> bool {
    let holds = |one: &Selector| {
        one.requirements
            .iter()
            .all(|requirement| accepts(requirement, labels.get(&requirement.key).map(String::as_str)))
    };
    selector.is_some_and(holds)
}

/// Whose term it is, which decides how a namespace that is not known is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The pod's that is to be placed: its namespace selector was turned into the names of namespaces that are there.
    New,
    /// A placed pod's: a namespace that is not there has no labels.
    Placed,
}

/// True when a pod of these labels in this namespace is one that the term means.
pub fn term_selects(term: &PodTerm, whose: Whose, namespace: &str, labels: &Labels, facts: &Facts) -> bool {
    let by_selector = || {
        let Some(selector) = &term.namespace_selector else { return false };
        match facts.namespaces.get(namespace) {
            Some(known) => selects(Some(selector), &known.labels),
            None => {
                selector.requirements.is_empty() || (whose == Whose::Placed && selects(Some(selector), &Labels::new()))
            }
        }
    };
    (term.namespaces.iter().any(|one| one == namespace) || by_selector()) && selects(term.selector.as_ref(), labels)
}
