//! `ec3_inherit_from = system X`: an aspect becomes a copy of another, with its own features laid over it, and its
//! recipe begins with the other's plays.

use std::borrow::Cow;

use crate::diagnostic::Span;
use crate::radl::content::{Conflict, Content, Features, Given, Held, Key, Part, Plays, Recipe, Thing};
use crate::radl::dialect::Dialect;
use crate::radl::report::Report;
use crate::radl::syntax::AspectKind;
use crate::radl::yaml::Node;

const WORD: &str = "ec3_inherit_from";

type Place = (AspectKind, String);

pub(super) fn inherit(content: &mut Content<'_>, compat: bool, report: &mut Report) {
    let heirs: Vec<Place> = content
        .things()
        .filter(|thing| thing.features.held.contains_key(WORD))
        .map(|thing| (thing.kind, thing.id.clone().into_owned()))
        .collect();
    for heir in heirs {
        take(content, &heir, &mut Vec::new(), compat, report);
    }
}

/// Makes one heir, after those that it inherits from. EC3 takes these as they are at the time.
fn take(content: &mut Content<'_>, heir: &Place, way: &mut Vec<Place>, compat: bool, report: &mut Report) {
    let Some(own) = content.thing(heir.0, &heir.1).cloned() else { return };
    let Some(Held::Plain(item)) = own.features.held.get(WORD) else { return };
    let Given::Reference(kind, id) = &item.value else {
        return fault(
            item.span,
            "inherits from no aspect",
            "write `ec3_inherit_from = system NAME`, without quotes",
            report,
        );
    };
    let from = (*kind, id.clone().into_owned());
    if from == *heir || way.contains(&from) {
        return fault(item.span, "inherits from itself", "let one of them stand on its own", report);
    }
    if !compat {
        way.push(heir.clone());
        take(content, &from, way, compat, report);
        way.pop();
    }
    let Some(parent) = content.thing(from.0, &from.1).filter(|parent| !parent.reference || compat).cloned() else {
        return fault(item.span, "inherits from what is not there", "declare it, or name another", report);
    };
    if parent.features.held.contains_key(WORD) && !compat {
        return;
    }
    if content.recipe(&from.1).is_some() {
        let append = Node::Map(vec![(Node::text("ec3_append"), Node::text(from.1.as_str()))]);
        let body = Plays::Data(Node::List(vec![append]));
        let recipe = Recipe { id: Cow::Owned(heir.1.clone()), body, span: own.span };
        let _always_fits = content.add(Part::Recipe(recipe), Some(Conflict::Me));
    }
    content.parts.shift_remove(&Key::Thing(heir.0, heir.1.clone()));
    let mut features = own.features;
    features.held.shift_remove(WORD);
    let made = merged(parent.features, features);
    match made {
        Ok(features) => {
            let thing = Thing { kind: from.0, id: own.id, reference: false, features, span: own.span };
            let _always_fits = content.add(Part::Thing(thing), Some(Conflict::Other));
        }
        Err(span) => {
            fault(span, "is of another kind than what it inherits", "give it a value of the same kind", report);
        }
    }
}

fn merged<'a>(mut parent: Features<'a>, own: Features<'a>) -> Result<Features<'a>, Span> {
    parent.merge(own, Conflict::Other, Dialect::Ec3).map_err(|clash| clash.span)?;
    Ok(parent)
}

fn fault(span: Span, message: &str, help: &str, report: &mut Report) {
    report.error("R0083", span, message, "inherited", help);
}
