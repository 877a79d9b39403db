//! Content as a document of IM's dialect again: each property as few features as say the same, each at the place where
//! it was said.

#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of values few need care")]

use std::borrow::Cow;

use indexmap::IndexMap;

use super::{Content, Features, Given, Held, Item, Part, Plays};
use crate::diagnostic::Span;
use crate::radl::dialect::Dialect;
use crate::radl::syntax::{
    Aspect, Body, Comparator, Configure, ContextItem, ContextOption, Contextualize, Deploy, Document, Feature, Name,
    Number, Sentence, Text, Value,
};
use crate::radl::yaml;

impl Content<'_> {
    /// In IM's words: sets are lists in one text, other aspects are their ids, recipes are text. `units` keeps the
    /// meaning of EC3's units, where `G` is 1024 cubed; without it they stay as written, as EC3 itself has it.
    pub(in crate::radl) fn lowered(mut self, units: bool) -> Self {
        let units = units && self.dialect == Dialect::Ec3;
        for part in self.parts.values_mut() {
            match part {
                Part::Thing(thing) => lower(&mut thing.features, units),
                Part::Recipe(recipe) => {
                    if let Plays::Data(node) = &recipe.body {
                        recipe.body = if node.is_nothing() {
                            Plays::Reference
                        } else {
                            Plays::Text(Cow::Owned(format!("\n{}", yaml::dump(node))))
                        };
                    }
                }
                Part::Context(context) => context.options.values_mut().for_each(|item| escape(&mut item.value)),
                Part::Order(_) => {}
            }
        }
        self
    }

    /// As a document. The content must be lowered.
    pub(in crate::radl) fn document(&self) -> Document<'_> {
        let sentences = self.parts.values().map(|part| match part {
            Part::Thing(thing) => Sentence::Aspect(Aspect {
                kind: thing.kind,
                id: Name { text: &thing.id, span: thing.span },
                features: (!thing.reference).then(|| features(&thing.features)),
            }),
            Part::Recipe(recipe) => Sentence::Configure(Configure {
                id: Name { text: &recipe.id, span: recipe.span },
                body: match &recipe.body {
                    Plays::Reference | Plays::Data(_) => Body::Absent,
                    Plays::Nothing => Body::Empty,
                    Plays::Text(text) => Body::Recipe(text),
                },
            }),
            Part::Context(context) => {
                let span = context.span.unwrap_or(super::NOWHERE);
                Sentence::Contextualize(Contextualize {
                    span,
                    max_time: context.max_time.as_deref().map(|digits| number(digits, "", span)),
                    options: context
                        .options
                        .values()
                        .map(|item| ContextOption {
                            name: Name { text: &item.name, span: item.span },
                            comparator: item.how,
                            value: value(item),
                        })
                        .collect(),
                    items: context
                        .lines
                        .values()
                        .map(|line| ContextItem {
                            system: Name { text: &line.system, span: line.span },
                            configure: Name { text: &line.configure, span: line.span },
                            step: line.step.as_deref().map(|digits| number(digits, "", line.span)),
                            tool: line.tool.as_deref().map(|text| Name { text, span: line.span }),
                        })
                        .collect(),
                })
            }
            Part::Order(order) => Sentence::Deploy(Deploy {
                system: Name { text: &order.system, span: order.span },
                count: number(&order.count, "", order.span),
                cloud: order.cloud.as_deref().map(|text| Name { text, span: order.span }),
            }),
        });
        Document { sentences: sentences.collect(), broken: false }
    }
}

fn lower(all: &mut Features<'_>, units: bool) {
    for held in all.held.values_mut() {
        let list = |items: &IndexMap<String, Item<'_>>| {
            let texts = items.values().filter_map(|item| match &item.value {
                Given::Text(text) => Some(text.clone().into_owned()),
                Given::Number(amount) => Some(amount.digits.clone().into_owned()),
                _ => None,
            });
            texts.collect::<Vec<_>>().join(",")
        };
        if let Held::Set(items) = held
            && let Some(first) = items.values().next()
            && !matches!(first.value, Given::Features(_))
        {
            let (name, span) = (first.name.clone(), first.span);
            let value = Given::Text(Cow::Owned(list(items)));
            *held = Held::Plain(Box::new(Item { name, how: Comparator::Equal, value, span }));
        }
        match held {
            Held::Range(low, high) => low.iter_mut().chain(high).for_each(|item| shape(item, units)),
            Held::Plain(item) => shape(item, units),
            Held::Elements(items) | Held::Set(items) => items.values_mut().for_each(|item| shape(item, units)),
        }
    }
    all.softs.values_mut().for_each(|soft| lower(&mut soft.features, units));
}

fn shape(item: &mut Item<'_>, units: bool) {
    match &mut item.value {
        Given::Reference(_, id) => item.value = Given::Text(id.clone()),
        Given::Features(features) => lower(features, units),
        Given::Number(amount) if units => {
            let first = amount.unit.chars().next().map(|c| c.to_ascii_uppercase());
            if let Some(letter @ ('K' | 'M' | 'G')) = first
                && !["GCEU"].contains(&amount.unit.to_uppercase().as_str())
            {
                amount.unit = Cow::Owned(format!("{letter}i"));
            }
        }
        _ => escape(&mut item.value),
    }
}

/// Texts as they are written between quotes.
fn escape(value: &mut Given<'_>) {
    let escape = |text: &mut Cow<'_, str>| {
        if text.contains('\'') {
            *text = Cow::Owned(text.replace('\'', "\\'"));
        }
    };
    match value {
        Given::Text(text) => escape(text),
        Given::List(items) => items.iter_mut().for_each(escape),
        Given::Number(_) | Given::Random(_) | Given::Features(_) | Given::Reference(..) => {}
    }
}

fn number<'b>(digits: &'b str, unit: &'b str, span: Span) -> Number<'b> {
    Number { digits, unit: (!unit.is_empty()).then_some(Name { text: unit, span }), span }
}

fn features<'b>(all: &'b Features<'_>) -> Vec<Feature<'b>> {
    let mut found = Vec::new();
    for held in all.held.values() {
        match held {
            Held::Range(Some(low), Some(high)) if low == high => found.push(feature(low)),
            Held::Range(low, high) => found.extend(low.iter().chain(high).map(|item| feature(item))),
            Held::Plain(item) => found.push(feature(item)),
            Held::Elements(items) | Held::Set(items) => found.extend(items.values().map(feature)),
        }
    }
    found.extend(all.softs.values().map(|soft| Feature::Soft {
        weight: number(&soft.weight, "", super::NOWHERE),
        features: features(&soft.features),
    }));
    found
}

fn feature<'b>(item: &'b Item<'_>) -> Feature<'b> {
    let name = Name { text: &item.name, span: item.span };
    match &item.value {
        Given::Features(inner) => Feature::Contains { name, features: features(inner) },
        _ => Feature::Constraint { name, comparator: item.how, value: value(item), span: item.span },
    }
}

fn value<'b>(item: &'b Item<'_>) -> Value<'b> {
    let text = |raw: &'b str| Text { raw, span: item.span };
    match &item.value {
        Given::Number(amount) => Value::Number(number(&amount.digits, &amount.unit, item.span)),
        Given::Text(raw) | Given::Reference(_, raw) => Value::Text(text(raw)),
        Given::Random(raw) => Value::Random(text(raw)),
        Given::List(items) => Value::List(items.iter().map(|raw| text(raw)).collect()),
        Given::Features(_) => Value::Missing,
    }
}
