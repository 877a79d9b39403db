//! Content: what the sentences of a document amount to. Features of one property are joined as the document's dialect
//! joins them, so that this is what JSON shows, what EC3's templates are merged into, and what becomes IM's text.

use std::borrow::Cow;

use indexmap::IndexMap;

use super::dialect::Dialect;
use super::syntax::{AspectKind, Body, Contextualize, Document, Feature, Sentence};
use super::yaml::{self, Node};
use crate::diagnostic::Span;

mod document;
mod ec3;
mod features;
mod number;
mod raise;

pub(super) use ec3::text as ec3_text;
pub(super) use features::{Features, Given, Held, Item, Soft};
pub(super) use number::{Amount, Num};

/// What is wrong with a sentence beside others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clash {
    /// Where.
    pub(super) span: Span,
    /// What, in one line.
    pub(super) message: String,
}

impl Clash {
    fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// What is done when two values contradict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conflict {
    /// Both cannot stand.
    Error,
    /// The later one stands.
    Other,
    /// The earlier one stands.
    Me,
}

/// A thing with features.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing<'a> {
    pub(super) kind: AspectKind,
    pub(super) id: Cow<'a, str>,
    /// It is only named.
    pub(super) reference: bool,
    pub(super) features: Features<'a>,
    pub(super) span: Span,
}

/// A `configure`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recipe<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) body: Plays<'a>,
    pub(super) span: Span,
}

/// What a `configure` holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plays<'a> {
    /// It is only named.
    Reference,
    /// `()`.
    Nothing,
    /// Text that nobody looked into.
    Text(Cow<'a, str>),
    /// YAML, as EC3 has it.
    Data(Node),
}

/// One line of `contextualize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContextLine<'a> {
    pub(super) system: Cow<'a, str>,
    pub(super) configure: Cow<'a, str>,
    pub(super) step: Option<Cow<'a, str>>,
    pub(super) tool: Option<Cow<'a, str>>,
    pub(super) span: Span,
}

/// All `contextualize` together.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Context<'a> {
    /// Digits.
    pub(super) max_time: Option<Cow<'a, str>>,
    pub(super) options: IndexMap<String, Item<'a>>,
    pub(super) lines: IndexMap<String, ContextLine<'a>>,
    pub(super) span: Option<Span>,
}

/// One `deploy`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Order<'a> {
    pub(super) system: Cow<'a, str>,
    /// Digits.
    pub(super) count: Cow<'a, str>,
    pub(super) cloud: Option<Cow<'a, str>>,
    pub(super) span: Span,
}

/// One entry of a content, in the order of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part<'a> {
    Thing(Thing<'a>),
    Recipe(Recipe<'a>),
    Context(Context<'a>),
    Order(Order<'a>),
}

/// What parts are told apart by: class and id. Every `deploy` is a part of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Thing(AspectKind, String),
    Recipe(String),
    Context,
    Order(usize),
}

/// A whole content.
#[derive(Debug, Clone, Default)]
pub(super) struct Content<'a> {
    pub(super) dialect: Dialect,
    pub(super) parts: IndexMap<Key, Part<'a>>,
    orders: usize,
}

impl<'a> Content<'a> {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, ..Self::default() }
    }

    /// Joins the sentences of a document.
    pub(super) fn of(document: &Document<'a>, dialect: Dialect) -> Result<Self, Clash> {
        let mut content = Self::new(dialect);
        for sentence in &document.sentences {
            let part = content.part(sentence)?;
            content.add(part, None)?;
        }
        Ok(content)
    }

    fn part(&self, sentence: &Sentence<'a>) -> Result<Part<'a>, Clash> {
        Ok(match sentence {
            Sentence::Aspect(aspect) => Part::Thing(Thing {
                kind: aspect.kind,
                id: Cow::Borrowed(aspect.id.text),
                reference: aspect.features.is_none(),
                features: Features::of(aspect.features.as_deref().unwrap_or(&[]), self.dialect)?,
                span: aspect.id.span,
            }),
            Sentence::Configure(configure) => Part::Recipe(Recipe {
                id: Cow::Borrowed(configure.id.text),
                span: configure.id.span,
                body: match configure.body {
                    Body::Absent => Plays::Reference,
                    Body::Empty => Plays::Nothing,
                    Body::Recipe(text) if self.dialect == Dialect::Im => Plays::Text(Cow::Borrowed(text)),
                    Body::Recipe(text) => {
                        let node = yaml::load(text, yaml::Tags::Known);
                        Plays::Data(node.map_err(|e| Clash::at(configure.id.span, format!("no YAML: {e}")))?)
                    }
                },
            }),
            Sentence::Contextualize(context) => Part::Context(self.context(context)?),
            Sentence::Deploy(deploy) => Part::Order(Order {
                system: Cow::Borrowed(deploy.system.text),
                count: Cow::Borrowed(deploy.count.digits),
                cloud: deploy.cloud.map(|cloud| Cow::Borrowed(cloud.text)),
                span: deploy.system.span,
            }),
        })
    }

    fn context(&self, context: &Contextualize<'a>) -> Result<Context<'a>, Clash> {
        let mut options = IndexMap::new();
        for option in &context.options {
            let span = option.name.span;
            let feature = Feature::Constraint {
                name: option.name,
                comparator: option.comparator,
                value: option.value.clone(),
                span,
            };
            if let Some(item) = Item::of(&feature, self.dialect)? {
                options.insert(option.name.text.to_owned(), item);
            }
        }
        let mut all = Context {
            max_time: context.max_time.map(|seconds| Cow::Borrowed(seconds.digits)),
            options,
            lines: IndexMap::new(),
            span: Some(context.span),
        };
        for item in &context.items {
            all.put(
                ContextLine {
                    system: Cow::Borrowed(item.system.text),
                    configure: Cow::Borrowed(item.configure.text),
                    step: item.step.map(|step| Cow::Borrowed(step.digits)),
                    tool: item.tool.map(|tool| Cow::Borrowed(tool.text)),
                    span: item.system.span,
                },
                self.dialect,
            );
        }
        Ok(all)
    }

    /// Adds a part. With a `conflict` a part that is there is merged, and else it is an error to say it twice.
    pub(super) fn add(&mut self, part: Part<'a>, conflict: Option<Conflict>) -> Result<(), Clash> {
        let key = match &part {
            Part::Thing(thing) if self.dialect == Dialect::Im && thing.kind == AspectKind::Description => {
                Key::Thing(thing.kind, String::new())
            }
            Part::Thing(thing) => Key::Thing(thing.kind, thing.id.clone().into_owned()),
            Part::Recipe(recipe) => Key::Recipe(recipe.id.clone().into_owned()),
            Part::Context(_) => Key::Context,
            Part::Order(_) => {
                self.orders += 1;
                Key::Order(self.orders)
            }
        };
        let dialect = self.dialect;
        let Some(known) = self.parts.get_mut(&key) else {
            let wanted = wanted(&part);
            self.parts.insert(key, part);
            return self.name(wanted);
        };
        let ec3 = dialect == Dialect::Ec3;
        let named = match (known, part) {
            (Part::Context(known), Part::Context(new)) => {
                if ec3 && conflict.is_none() && !(known.lines.is_empty() && known.options.is_empty()) {
                    return Err(Clash::at(new.span.unwrap_or(NOWHERE), "a second `contextualize`"));
                }
                known.update(new, dialect);
                Vec::new()
            }
            (Part::Thing(known), Part::Thing(new)) => {
                if ec3 && new.reference {
                    return Ok(());
                }
                if ec3 && known.reference {
                    known.reference = false;
                    known.span = new.span;
                    known.features.merge(new.features, Conflict::Other, dialect)?;
                } else if let Some(conflict) = conflict {
                    known.features.merge(new.features, conflict, dialect)?;
                } else {
                    return Err(twice(new.kind.keyword(), &new.id, new.span));
                }
                known.features.references()
            }
            (Part::Recipe(known), Part::Recipe(new)) => {
                if ec3 && new.body == Plays::Reference {
                    return Ok(());
                }
                if ec3 && known.body == Plays::Reference {
                    *known = new;
                } else if let Some(conflict) = conflict {
                    known.merge(new, conflict);
                } else {
                    return Err(twice("configure", &new.id, new.span));
                }
                Vec::new()
            }
            // The key says which of them it is.
            (_, _) => Vec::new(),
        };
        self.name(named)
    }

    /// What is only named as a value is named as a part too.
    fn name(&mut self, wanted: Vec<(AspectKind, Cow<'a, str>, Span)>) -> Result<(), Clash> {
        for (kind, id, span) in wanted {
            self.add(
                Part::Thing(Thing { kind, id, reference: true, features: Features::default(), span }),
                Some(Conflict::Other),
            )?;
        }
        Ok(())
    }

    /// Merges another content into this one, as EC3 merges templates.
    pub(super) fn merge(&mut self, other: Self, conflict: Conflict) -> Result<(), Clash> {
        other.parts.into_values().try_for_each(|part| self.add(part, Some(conflict)))
    }

    pub(super) fn things(&self) -> impl Iterator<Item = &Thing<'a>> {
        self.parts.values().filter_map(|part| match part {
            Part::Thing(thing) => Some(thing),
            Part::Recipe(_) | Part::Context(_) | Part::Order(_) => None,
        })
    }

    pub(super) fn thing(&self, kind: AspectKind, id: &str) -> Option<&Thing<'a>> {
        match self.parts.get(&Key::Thing(kind, id.to_owned())) {
            Some(Part::Thing(thing)) => Some(thing),
            Some(Part::Recipe(_) | Part::Context(_) | Part::Order(_)) | None => None,
        }
    }

    pub(super) fn recipe(&self, id: &str) -> Option<&Recipe<'a>> {
        match self.parts.get(&Key::Recipe(id.to_owned())) {
            Some(Part::Recipe(recipe)) => Some(recipe),
            Some(Part::Thing(_) | Part::Context(_) | Part::Order(_)) | None => None,
        }
    }

    pub(super) fn recipe_mut(&mut self, id: &str) -> Option<&mut Recipe<'a>> {
        match self.parts.get_mut(&Key::Recipe(id.to_owned())) {
            Some(Part::Recipe(recipe)) => Some(recipe),
            Some(Part::Thing(_) | Part::Context(_) | Part::Order(_)) | None => None,
        }
    }
}

const NOWHERE: Span = Span { start: 0, end: 0 };

fn wanted<'a>(part: &Part<'a>) -> Vec<(AspectKind, Cow<'a, str>, Span)> {
    match part {
        Part::Thing(thing) => thing.features.references(),
        Part::Recipe(_) | Part::Context(_) | Part::Order(_) => Vec::new(),
    }
}

fn twice(kind: &str, id: &str, span: Span) -> Clash {
    Clash::at(span, format!("there is already a {kind} `{id}`"))
}

impl Recipe<'_> {
    /// Joins plays: lists one after the other, maps key by key.
    fn merge(&mut self, other: Self, conflict: Conflict) {
        match (&mut self.body, other.body) {
            (Plays::Data(me), Plays::Data(other)) => *me = yaml::merge(me, &other, conflict == Conflict::Me),
            (me, body) if conflict != Conflict::Me => *me = body,
            _ => {}
        }
    }
}

impl<'a> Context<'a> {
    /// Puts a line in; one with the same key is replaced. IM's key has no step.
    pub(super) fn put(&mut self, line: ContextLine<'a>, dialect: Dialect) {
        let step = if dialect == Dialect::Im { String::new() } else { Num::or_zero(line.step.as_deref()).show() };
        self.lines.insert(format!("{} {} {step}", line.system, line.configure), line);
    }

    fn update(&mut self, other: Self, dialect: Dialect) {
        let longer = Num::or_zero(other.max_time.as_deref()).compare(Num::or_zero(self.max_time.as_deref()));
        if longer.is_gt() {
            self.max_time = other.max_time;
        }
        self.options.extend(other.options);
        other.lines.into_values().for_each(|line| self.put(line, dialect));
    }
}
