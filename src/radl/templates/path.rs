//! Paths into a document: `/system/front/disk.0.image.url` as text (`ec3_xpath`) or as data (`ec3_jpath`).

use serde_json::Value;

use crate::radl::content::{Content, Features, Given, Held, Item, Key, Part, ec3_text};
use crate::radl::dialect::Dialect;
use crate::radl::json;
use crate::radl::syntax::AspectKind;

/// What a path leads to.
enum Found<'c> {
    Part(Key, &'c Part<'c>),
    Value(Value),
}

/// What it leads to, as text.
pub(super) fn text(content: &Content<'_>, path: &str) -> Result<String, String> {
    let (found, only) = find(content, path)?;
    Ok(match found {
        Target::All(parts) => ec3_text(parts.into_iter()),
        Target::One(Found::Part(_, part)) if only => {
            let text = ec3_text(std::iter::once(part));
            let lines: Vec<&str> = text.split('\n').collect();
            let skip = if matches!(part, Part::Recipe(_)) { 2 } else { 1 };
            lines.get(skip..lines.len().saturating_sub(skip)).unwrap_or(&[]).join("\n")
        }
        Target::One(Found::Part(key, _)) => ec3_text(with_references(content, &[key]).into_iter()),
        Target::One(Found::Value(Value::String(text))) => text,
        Target::One(Found::Value(Value::Array(items))) => {
            let texts = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(",")
        }
        Target::One(Found::Value(value)) => value.to_string(),
    })
}

/// What it leads to, as data.
pub(super) fn data(content: &Content<'_>, path: &str) -> Result<Value, String> {
    let (found, only) = find(content, path)?;
    let list = |parts: Vec<&Part<'_>>| parts.into_iter().map(|part| json::part(part, Dialect::Ec3)).collect();
    Ok(match found {
        Target::All(parts) => list(parts),
        Target::One(Found::Part(_, part)) if only => json::part(part, Dialect::Ec3),
        Target::One(Found::Part(key, _)) => list(with_references(content, &[key])),
        Target::One(Found::Value(value)) => value,
    })
}

enum Target<'c> {
    /// All of a class.
    All(Vec<&'c Part<'c>>),
    One(Found<'c>),
}

/// Follows a path. True when it ends in `*`, which asks for the thing alone.
fn find<'c>(content: &'c Content<'c>, path: &str) -> Result<(Target<'c>, bool), String> {
    let mut steps = path.split('/').map(str::trim);
    if steps.next() != Some("") {
        return Err(format!("the path `{path}` does not begin with `/`"));
    }
    let (Some(class), Some(id)) = (steps.next(), steps.next()) else {
        return Err(format!("the path `{path}` is too short"));
    };
    let rest: Vec<&str> = steps.collect();
    let kind = AspectKind::of_ec3(class);
    if kind.is_none() && class != "configure" {
        return Err(format!("`{class}` is no class of aspects"));
    }
    if id == "*" && rest.is_empty() {
        let of_class = |key: &Key| match key {
            Key::Thing(known, _) => Some(*known) == kind,
            Key::Recipe(_) => kind.is_none(),
            Key::Context | Key::Order(_) => false,
        };
        let keys: Vec<Key> = content.parts.keys().filter(|key| of_class(key)).cloned().collect();
        return Ok((Target::All(with_references(content, &keys)), false));
    }
    let key = kind.map_or_else(|| Key::Recipe(id.to_owned()), |kind| Key::Thing(kind, id.to_owned()));
    follow(content, key, &rest).map(|(found, only)| (Target::One(found), only))
}

fn follow<'c>(content: &'c Content<'c>, key: Key, rest: &[&str]) -> Result<(Found<'c>, bool), String> {
    let part = content.parts.get(&key).ok_or("the path leads nowhere")?;
    let (step, rest) = match rest {
        [] => return Ok((Found::Part(key, part), false)),
        ["*"] => return Ok((Found::Part(key, part), true)),
        [step, rest @ ..] => (*step, rest),
    };
    let Part::Thing(thing) = part else { return Err("only aspects have features".to_owned()) };
    let held = thing.features.held.get(step).ok_or_else(|| format!("there is no `{step}` in `{}`", thing.id))?;
    if let Held::Plain(item) = held
        && let Given::Reference(kind, id) = &item.value
    {
        return follow(content, Key::Thing(*kind, id.clone().into_owned()), rest);
    }
    if !rest.is_empty() {
        return Err(format!("`{step}` has no features"));
    }
    Ok((Found::Value(value(step, held)?), false))
}

fn value(name: &str, held: &Held<'_>) -> Result<Value, String> {
    let one = |item: &Item<'_>| match &item.value {
        Given::Number(amount) => amount.value(Dialect::Ec3).map(super::super::content::Num::json),
        Given::Text(text) | Given::Random(text) => Some(text.as_ref().into()),
        Given::List(_) | Given::Features(Features { .. }) | Given::Reference(..) => None,
    };
    let found = match held {
        Held::Plain(item) => one(item),
        Held::Range(Some(low), Some(high)) if one(low) == one(high) => one(low),
        Held::Range(..) => return Err(format!("`{name}` is a range, and no number")),
        Held::Set(items) => items.values().map(one).collect::<Option<Vec<Value>>>().map(Value::Array),
        Held::Elements(_) => None,
    };
    found.ok_or_else(|| format!("`{name}` is no text, number or list of texts"))
}

/// Parts, and those that they name.
fn with_references<'c>(content: &'c Content<'c>, keys: &[Key]) -> Vec<&'c Part<'c>> {
    let mut all: Vec<Key> = Vec::new();
    for key in keys {
        let named = match content.parts.get(key) {
            Some(Part::Thing(thing)) => thing.features.references(),
            Some(Part::Recipe(_) | Part::Context(_) | Part::Order(_)) | None => Vec::new(),
        };
        let named = named.into_iter().map(|(kind, id, _)| Key::Thing(kind, id.into_owned()));
        for key in std::iter::once(key.clone()).chain(named) {
            if !all.contains(&key) {
                all.push(key);
            }
        }
    }
    all.iter().filter_map(|key| content.parts.get(key)).collect()
}
