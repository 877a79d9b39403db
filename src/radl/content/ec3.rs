//! Content as EC3 prints it, for the recipes that ask for a piece of it by `ec3_xpath`.

#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of values few need care")]

use super::{Content, Features, Given, Held, Item, Part, Plays};
use crate::radl::syntax::Comparator;
use crate::radl::yaml;

/// The text of some parts.
pub(in crate::radl) fn text<'p>(parts: impl Iterator<Item = &'p Part<'p>>) -> String {
    parts.map(sentence).collect::<Vec<_>>().join("\n\n")
}

impl Content<'_> {
    /// The whole text.
    pub(in crate::radl) fn ec3_text(&self) -> String {
        text(self.parts.values())
    }
}

fn sentence(part: &Part<'_>) -> String {
    match part {
        Part::Thing(thing) if thing.reference => format!("{} {}", thing.kind.keyword(), thing.id),
        Part::Thing(thing) => {
            format!("{} {} (\n{}\n)", thing.kind.keyword(), thing.id, list(&thing.features, "  "))
        }
        Part::Recipe(recipe) => match &recipe.body {
            Plays::Data(node) if !node.is_nothing() => {
                format!("configure {} (\n@begin\n{}\n@end\n)", recipe.id, yaml::dump(node))
            }
            Plays::Text(text) => format!("configure {} (\n@begin{text}\n@end\n)", recipe.id),
            Plays::Reference | Plays::Nothing | Plays::Data(_) => format!("configure {}", recipe.id),
        },
        Part::Context(context) => {
            let options = context.options.values().map(|item| format!("  option {}", feature(item, "").trim_start()));
            let items = context.lines.values().map(|line| {
                let step = line.step.as_ref().map_or_else(String::new, |step| format!(" step {step}"));
                format!("  system {} configure {}{step}", line.system, line.configure)
            });
            let time = context.max_time.as_ref().map_or_else(String::new, |seconds| format!("{seconds} "));
            format!("contextualize {time}(\n{}\n)", options.chain(items).collect::<Vec<_>>().join("\n"))
        }
        Part::Order(order) => {
            let cloud = order.cloud.as_ref().map_or_else(String::new, |cloud| format!(" {cloud}"));
            format!("deploy {} {}{cloud}", order.system, order.count)
        }
    }
}

fn list(all: &Features<'_>, margin: &str) -> String {
    let mut found = Vec::new();
    for held in all.held.values() {
        match held {
            Held::Range(Some(low), Some(high)) if low == high => found.push(feature(low, margin)),
            Held::Range(low, high) => found.extend(low.iter().chain(high).map(|item| feature(item, margin))),
            Held::Plain(item) => found.push(feature(item, margin)),
            Held::Elements(items) => found.extend(items.values().map(|item| feature(item, margin))),
            // EC3 prints a set of texts as one text.
            Held::Set(items) if items.values().all(|item| !matches!(item.value, Given::Features(_))) => {
                let texts = items.values().map(|item| value(item).trim_matches('\'').to_owned());
                let name = items.values().next().map_or("", |item| item.name.as_ref());
                found.push(format!("{margin}{name} = '{}'", texts.collect::<Vec<_>>().join(",")));
            }
            Held::Set(items) => found.extend(items.values().map(|item| feature(item, margin))),
        }
    }
    for soft in all.softs.values() {
        let inner = list(&soft.features, &format!("{margin}  "));
        found.push(format!("{margin}soft {} (\n{inner}\n{margin})", soft.weight));
    }
    found.join(" and\n")
}

fn feature(item: &Item<'_>, margin: &str) -> String {
    match &item.value {
        Given::Features(inner) => {
            let inner = list(inner, &format!("{margin}  "));
            format!("{margin}{} contains (\n{inner}\n{margin})", item.name)
        }
        Given::Reference(_, id) if item.how == Comparator::Equal => format!("{margin}{} = '{id}'", item.name),
        _ => format!("{margin}{} {} {}", item.name, item.how.symbol(), value(item)),
    }
}

fn value(item: &Item<'_>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "\\'"));
    match &item.value {
        Given::Number(amount) => format!("{}{}", amount.number().show(), amount.unit),
        Given::Text(text) | Given::Random(text) => quoted(text),
        Given::List(items) => format!("[{}]", items.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")),
        Given::Reference(kind, id) => format!("{} {id}", kind.keyword()),
        Given::Features(_) => String::new(),
    }
}
