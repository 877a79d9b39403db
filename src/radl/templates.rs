//! Templates: EC3's way from several texts to one document. They are merged in the order in which they are named, with
//! those that they include; then what is inherited is copied, and what recipes ask of the document is put into them.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{Conflict, Content, Given, Held, Item, Key, Part, Thing};
use super::dialect::Dialect;
use super::report::{Report, did_you_mean};
use super::syntax::{AspectKind, Comparator, Document};
use crate::diagnostic::Span;

mod expand;
mod inherit;
mod path;

/// A text that was read, under its name.
pub(super) struct Template<'a> {
    /// What `include` calls it.
    pub(super) name: String,
    pub(super) document: Document<'a>,
}

/// All that is merged.
pub(super) struct Merge<'a, 'f> {
    /// Those that were named, in order.
    pub(super) named: Vec<Template<'a>>,
    /// Pieces that are laid over them.
    pub(super) added: Vec<Template<'a>>,
    /// Those that may be included.
    pub(super) library: BTreeMap<String, Document<'a>>,
    /// The text of a file beside the templates.
    pub(super) file: &'f dyn Fn(&str) -> Option<String>,
    /// As EC3 does it, its faults included.
    pub(super) compat: bool,
}

const NOWHERE: Span = Span { start: 0, end: 0 };

impl<'a> Merge<'a, '_> {
    /// Merges, and answers what could be merged.
    pub(super) fn run(&self, report: &mut Report) -> Content<'a> {
        let mut content = Content::new(Dialect::Ec3);
        if self.compat {
            content.parts.insert(Key::Thing(AspectKind::System, "front".to_owned()), self.front());
        }
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for template in &self.named {
            if seen.insert(&template.name) {
                add(&mut content, &template.document, report);
            }
        }
        // EC3 lays included templates over what was added by hand; here what is added by hand has the last word.
        if self.compat {
            self.added.iter().for_each(|piece| add(&mut content, &piece.document, report));
            self.include(&mut content, &mut seen, report);
        } else {
            let mut wanted = Content::new(Dialect::Ec3);
            let mut silent = Report::silent();
            self.added.iter().for_each(|piece| add(&mut wanted, &piece.document, &mut silent));
            for thing in wanted.things().filter(|thing| thing.kind == AspectKind::Include) {
                content.parts.insert(Key::Thing(thing.kind, thing.id.clone().into_owned()), Part::Thing(thing.clone()));
            }
            self.include(&mut content, &mut seen, report);
            self.added.iter().for_each(|piece| add(&mut content, &piece.document, report));
        }
        let gone = |kind| matches!(kind, AspectKind::Description | AspectKind::Include);
        content.parts.retain(|key, _| !matches!(key, Key::Thing(kind, _) if gone(*kind)));
        connect(&mut content);
        inherit::inherit(&mut content, self.compat, report);
        expand::expand(&mut content, self.file, self.compat, report);
        content
    }

    /// EC3 writes down what it was called with.
    fn front(&self) -> Part<'a> {
        let names: Vec<&str> = self.named.iter().map(|template| template.name.as_str()).collect();
        let mut thing = Thing {
            kind: AspectKind::System,
            id: "front".into(),
            reference: false,
            features: super::content::Features::default(),
            span: NOWHERE,
        };
        let item = Item {
            name: "ec3_templates_cmd".into(),
            how: Comparator::Equal,
            value: Given::Text(names.join(" ").into()),
            span: NOWHERE,
        };
        thing.features.held.insert("ec3_templates_cmd".into(), Held::Plain(Box::new(item)));
        Part::Thing(thing)
    }

    /// Merges what is included, and what that includes, each once.
    fn include<'s>(&'s self, content: &mut Content<'a>, seen: &mut BTreeSet<&'s str>, report: &mut Report) {
        loop {
            let wanted: Vec<(String, Span)> = content.things().flat_map(|thing| included(thing)).collect();
            let all = content.parts.len();
            content.parts.retain(|key, _| !matches!(key, Key::Thing(AspectKind::Include, _)));
            for (name, span) in wanted {
                let Some((name, document)) = self.library.get_key_value(name.as_str()) else {
                    if !self.named.iter().any(|template| template.name == name) {
                        let meant = did_you_mean(&name, self.library.keys().map(String::as_str));
                        report.error(
                            "R0081",
                            span,
                            format!("there is no template `{name}`"),
                            "not found",
                            format!("put {name}.radl into ./templates, ~/.ec3/templates or /etc/ec3/templates, or say where it is with --templates{meant}"),
                        );
                    }
                    continue;
                };
                if seen.insert(name) {
                    add(content, document, report);
                }
            }
            if content.parts.len() == all || !content.things().any(|thing| thing.kind == AspectKind::Include) {
                return;
            }
        }
    }
}

/// The templates that a part includes.
fn included(thing: &Thing<'_>) -> Vec<(String, Span)> {
    let text = thing.features.text("template").filter(|_| thing.kind == AspectKind::Include).unwrap_or("");
    text.split_whitespace().map(|name| (name.to_owned(), thing.span)).collect()
}

/// The templates that a document includes.
pub(super) fn includes(document: &Document<'_>) -> Vec<String> {
    let content = Content::of(document, Dialect::Ec3).unwrap_or_default();
    content.things().flat_map(included).map(|(name, _)| name).collect()
}

/// Joins a text's own sentences, where two that contradict are an error, and lays them over the rest.
fn add<'a>(content: &mut Content<'a>, document: &Document<'a>, report: &mut Report) {
    let joined = Content::of(document, Dialect::Ec3).and_then(|own| content.merge(own, Conflict::Other));
    if let Err(clash) = joined {
        let help =
            "within one template a property has one value, of one kind; of several templates, the last has its way";
        report.error("R0082", clash.span, clash.message, "contradicts what was said before", help);
    }
}

/// A network's id as the connection of an interface is the network itself.
fn connect(content: &mut Content<'_>) {
    let networks: BTreeSet<String> = content
        .things()
        .filter(|thing| thing.kind == AspectKind::Network)
        .map(|thing| thing.id.clone().into_owned())
        .collect();
    for part in content.parts.values_mut() {
        let Part::Thing(thing) = part else { continue };
        for (name, held) in &mut thing.features.held {
            if let Held::Plain(item) = held
                && name.starts_with("net_interface.")
                && name.ends_with(".connection")
                && let Given::Text(id) = &item.value
                && networks.contains(id.as_ref())
            {
                item.value = Given::Reference(AspectKind::Network, id.clone());
            }
        }
    }
}
