//! JSON: the same content as data, in the form of the old parsers. A property that is a number has `_min` and `_max`
//! where it is no single one, quantities are in their base unit, and elements are objects.

#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of values few need care")]

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::content::{
    Amount, Clash, Content, Context, ContextLine, Features, Given, Held, Item, Num, Order, Part, Plays, Recipe, Soft,
    Thing,
};
use super::dialect::Dialect;
use super::syntax::{AspectKind, Comparator};
use super::yaml;
use crate::diagnostic::Span;

const NOWHERE: Span = Span { start: 0, end: 0 };

/// A content as JSON. With `compat`, a range loses its greatest number in IM's form, as the old parser loses it.
pub(super) fn of(content: &Content<'_>, compat: bool) -> Value {
    let writer = Writer { dialect: content.dialect, compat };
    let mut parts: Vec<&Part<'_>> = content.parts.values().collect();
    if content.dialect == Dialect::Im {
        parts.sort_by_key(|part| match part {
            Part::Thing(thing) => match thing.kind {
                AspectKind::Ansible => 0,
                AspectKind::Network => 1,
                AspectKind::Description => 6,
                _ => 2,
            },
            Part::Recipe(_) => 3,
            Part::Order(_) => 4,
            Part::Context(_) => 5,
        });
    }
    parts.into_iter().map(|part| writer.part(part)).collect()
}

/// A part of a content as JSON, as `ec3_jpath` gives it.
pub(super) fn part(part: &Part<'_>, dialect: Dialect) -> Value {
    Writer { dialect, compat: true }.part(part)
}

struct Writer {
    dialect: Dialect,
    compat: bool,
}

impl Writer {
    fn part(&self, part: &Part<'_>) -> Value {
        match part {
            Part::Thing(Thing { kind, id, reference: true, .. }) => {
                json!({"class": kind.keyword(), "id": id, "reference": true})
            }
            Part::Thing(thing) => {
                let mut map = self.features(&thing.features);
                map.entry("class").or_insert_with(|| thing.kind.keyword().into());
                map.entry("id").or_insert_with(|| thing.id.as_ref().into());
                Value::Object(map)
            }
            Part::Recipe(recipe) => match &recipe.body {
                Plays::Text(text) => json!({"class": "configure", "id": recipe.id, "recipes": text}),
                Plays::Nothing => json!({"class": "configure", "id": recipe.id, "recipes": null}),
                Plays::Data(node) if !node.is_nothing() => {
                    json!({"class": "configure", "id": recipe.id, "recipe": node.json()})
                }
                Plays::Reference | Plays::Data(_) => {
                    json!({"class": "configure", "id": recipe.id, "reference": true})
                }
            },
            Part::Context(context) => self.context(context),
            Part::Order(order) => {
                let mut map =
                    json!({"class": "deploy", "system": order.system, "vm_number": Num::of(&order.count).json()});
                if let Some(cloud) = &order.cloud {
                    map["cloud"] = cloud.as_ref().into();
                }
                map
            }
        }
    }

    fn context(&self, context: &Context<'_>) -> Value {
        let mut map = json!({"class": "contextualize"});
        let seconds = Num::or_zero(context.max_time.as_deref());
        if !seconds.is_zero() {
            map["max_time"] = seconds.json();
        }
        if !context.lines.is_empty() || self.dialect == Dialect::Ec3 {
            map["items"] = context
                .lines
                .values()
                .map(|line| {
                    let mut item = json!({"system": line.system, "configure": line.configure});
                    let step = Num::or_zero(line.step.as_deref());
                    if !step.is_zero() {
                        item["step"] = step.json();
                    }
                    if let Some(tool) = &line.tool {
                        item["ctxt_tool"] = tool.as_ref().into();
                    }
                    item
                })
                .collect();
        }
        if !context.options.is_empty() {
            let mut options = Features::default();
            for item in context.options.values() {
                let _one_of_each = options.add(item.clone(), super::content::Conflict::Other, self.dialect);
            }
            map["options"] = Value::Object(self.features(&options));
        }
        map
    }

    fn features(&self, all: &Features<'_>) -> Map<String, Value> {
        let mut map = Map::new();
        for (name, held) in &all.held {
            let name = name.as_ref();
            let value = |item: &Option<Box<Item<'_>>>| item.as_ref().map(|item| self.value(item));
            match held {
                Held::Range(low, high) if self.dialect == Dialect::Ec3 => {
                    map.insert(format!("{name}_min"), value(low).unwrap_or_else(|| "-inf".into()));
                    map.insert(format!("{name}_max"), value(high).unwrap_or_else(|| "inf".into()));
                }
                Held::Range(low, high) => {
                    // The old parser compares the digits and not what they amount to.
                    let digits = |item: &Option<Box<Item<'_>>>| match item.as_ref().map(|item| &item.value) {
                        Some(Given::Number(amount)) => Some(amount.number()),
                        _ => None,
                    };
                    let same = if self.compat { digits(low) == digits(high) } else { value(low) == value(high) };
                    if low.is_some() && same {
                        map.insert(name.to_owned(), value(low).unwrap_or_default());
                        continue;
                    }
                    if let Some(low) = value(low) {
                        map.insert(format!("{name}_min"), low);
                        if self.compat {
                            continue;
                        }
                    }
                    if let Some(high) = value(high) {
                        map.insert(format!("{name}_max"), high);
                    }
                }
                Held::Plain(item) => drop(map.insert(name.to_owned(), self.value(item))),
                Held::Elements(items) => {
                    map.insert(name.to_owned(), items.values().map(|item| self.value(item)).collect());
                }
                Held::Set(items) => {
                    map.insert(name.to_owned(), items.values().map(|item| self.value(item)).collect());
                }
            }
        }
        if !all.softs.is_empty() {
            let softs = all.softs.values().map(|soft| {
                json!({"weight": Num::of(&soft.weight).json(), "items": Value::Object(self.features(&soft.features))})
            });
            map.insert("softs".to_owned(), softs.collect());
        }
        map
    }

    fn value(&self, item: &Item<'_>) -> Value {
        match &item.value {
            Given::Number(amount) => amount.value(self.dialect).unwrap_or_else(|| amount.number()).json(),
            Given::Text(text) | Given::Random(text) => text.as_ref().into(),
            Given::List(items) => items.iter().map(|text| Value::from(text.as_ref())).collect(),
            Given::Features(features) => Value::Object(self.features(features)),
            Given::Reference(kind, id) => json!({"class": kind.keyword(), "id": id, "reference": true}),
        }
    }
}

/// Reads IM's form.
pub(super) fn read(text: &str) -> Result<Content<'static>, String> {
    let data: Value = serde_json::from_str(text).map_err(|e| format!("no JSON: {e}"))?;
    let Value::Array(items) = data else { return Err("RADL in JSON is a list of objects".to_owned()) };
    let mut content = Content::new(Dialect::Im);
    for (at, item) in items.into_iter().enumerate() {
        let Value::Object(item) = item else { return Err(format!("entry {at} is no object")) };
        let part = read_part(item).map_err(|e| format!("entry {at}: {e}"))?;
        content.add(part, None).map_err(|clash| format!("entry {at}: {}", clash.message))?;
    }
    Ok(content)
}

fn read_part(mut item: Map<String, Value>) -> Result<Part<'static>, String> {
    let text = |item: &mut Map<String, Value>, key: &str| -> Result<Cow<'static, str>, String> {
        match item.remove(key) {
            Some(Value::String(text)) if is_name(&text) => Ok(Cow::Owned(text)),
            Some(other) => Err(format!("`{key}` cannot be {other}")),
            None => Err(format!("`{key}` is missing")),
        }
    };
    let class = text(&mut item, "class")?;
    match class.as_ref() {
        "deploy" => {
            let system = text(&mut item, "system")?;
            let count = item.remove("vm_number").ok_or("`vm_number` is missing")?;
            let cloud = if item.contains_key("cloud") { Some(text(&mut item, "cloud")?) } else { None };
            Ok(Part::Order(Order { system, count: digits(&count)?, cloud, span: NOWHERE }))
        }
        "configure" => {
            let id = text(&mut item, "id")?;
            let reference = item.get("reference") == Some(&Value::Bool(true));
            let body = match (reference, item.remove("recipes")) {
                (true, _) => Plays::Reference,
                (_, Some(Value::String(recipe))) => {
                    yaml::load(&recipe, yaml::Tags::Any).map_err(|e| format!("`recipes` is no YAML: {e}"))?;
                    Plays::Text(Cow::Owned(recipe))
                }
                (_, Some(Value::Null)) => Plays::Nothing,
                _ => return Err("`recipes` must be a text, or null for none".to_owned()),
            };
            Ok(Part::Recipe(Recipe { id, body, span: NOWHERE }))
        }
        "contextualize" => read_context(item).map(Part::Context),
        word => {
            let kind = [AspectKind::Network, AspectKind::System, AspectKind::Ansible, AspectKind::Description]
                .into_iter()
                .find(|kind| kind.keyword() == word)
                .ok_or_else(|| format!("`{word}` is no class of RADL"))?;
            let id = text(&mut item, "id")?;
            let reference = item.remove("reference") == Some(Value::Bool(true));
            let features = if reference { Features::default() } else { read_features(item)? };
            Ok(Part::Thing(Thing { kind, id, reference, features, span: NOWHERE }))
        }
    }
}

fn read_context(mut item: Map<String, Value>) -> Result<Context<'static>, String> {
    let mut context = Context { span: Some(NOWHERE), ..Context::default() };
    context.max_time = item.remove("max_time").map(|seconds| digits(&seconds)).transpose()?;
    if let Some(Value::Object(options)) = item.remove("options") {
        for (name, held) in read_features(options)?.held {
            if let Held::Plain(option) = held {
                context.options.insert(name.into_owned(), *option);
            } else if let Held::Range(Some(option), _) | Held::Range(None, Some(option)) = held {
                context.options.insert(name.into_owned(), *option);
            }
        }
    }
    let items = match item.remove("items") {
        Some(Value::Array(items)) => items,
        None => Vec::new(),
        Some(other) => return Err(format!("`items` cannot be {other}")),
    };
    for item in items {
        let text = |key: &str| match item.get(key) {
            Some(Value::String(text)) if is_name(text) => Ok(Some(Cow::Owned(text.clone()))),
            None | Some(Value::Null) => Ok(None),
            Some(other) => Err(format!("`{key}` cannot be {other}")),
        };
        let line = ContextLine {
            system: text("system")?.ok_or("an item needs `system`")?,
            configure: text("configure")?.ok_or("an item needs `configure`")?,
            step: item.get("step").map(digits).transpose()?.filter(|step| step != "0"),
            tool: text("ctxt_tool")?,
            span: NOWHERE,
        };
        context.put(line, Dialect::Im);
    }
    Ok(context)
}

/// Whether RADL's text can name it.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '.'))
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn digits(value: &Value) -> Result<Cow<'static, str>, String> {
    let Value::Number(number) = value else { return Err(format!("{value} is no number")) };
    let text = number.to_string();
    if text.starts_with('-') {
        return Err(format!("{text}: RADL has no negative numbers"));
    }
    // RADL has no exponents.
    let float = number.as_f64().unwrap_or_default();
    Ok(Cow::Owned(if text.contains(['e', 'E']) { format!("{float:.1}") } else { text }))
}

fn read_features(map: Map<String, Value>) -> Result<Features<'static>, String> {
    let mut all = Features::default();
    for (key, value) in map {
        if key == "softs" {
            let Value::Array(softs) = value else { return Err("`softs` must be a list".to_owned()) };
            for soft in softs {
                let weight = soft.get("weight").map_or(Ok(Cow::Borrowed("0")), digits)?;
                let items = soft.get("items").and_then(Value::as_object).cloned().unwrap_or_default();
                all.wish(Soft { weight, features: read_features(items)? }, Dialect::Im);
            }
            continue;
        }
        if !is_name(&key) {
            return Err(format!("`{key}` can name no feature"));
        }
        let number = value.is_number();
        let (name, how) = match (key.strip_suffix("_min"), key.strip_suffix("_max")) {
            (Some(name), _) if number => (name, Comparator::AtLeast),
            (_, Some(name)) if number => (name, Comparator::AtMost),
            _ => (key.as_str(), Comparator::Equal),
        };
        let items = match value {
            Value::Array(items) if !items.iter().all(Value::is_string) => {
                let items = items.iter().map(|item| Ok((Comparator::Contains, read_value(item)?)));
                items.collect::<Result<Vec<_>, String>>()?
            }
            value => vec![(how, read_value(&value)?)],
        };
        for (how, value) in items {
            let item = Item { name: Cow::Owned(name.to_owned()), how, value, span: NOWHERE };
            let added = all.add(item, super::content::Conflict::Error, Dialect::Im);
            added.map_err(|Clash { message, .. }| message)?;
        }
    }
    Ok(all)
}

fn read_value(value: &Value) -> Result<Given<'static>, String> {
    match value {
        Value::Number(_) => Ok(Given::Number(Amount { digits: digits(value)?, unit: Cow::Borrowed("") })),
        Value::String(text) => quotable(text).map(Given::Text),
        Value::Array(items) => {
            let texts =
                items.iter().map(|item| item.as_str().ok_or("a list holds texts".to_owned()).and_then(quotable));
            texts.collect::<Result<_, _>>().map(Given::List)
        }
        Value::Object(map) => read_features(map.clone()).map(Given::Features),
        Value::Bool(_) | Value::Null => Err(format!("{value} is no value of RADL: write 'yes' or 'no', or a number")),
    }
}

/// A text that can stand between RADL's quotes: a backslash before a quote takes the quote with it.
fn quotable(text: &str) -> Result<Cow<'static, str>, String> {
    let mut backslashes = 0_usize;
    for c in text.chars().chain(['\'']) {
        if c == '\'' && backslashes % 2 == 1 {
            return Err("RADL's text cannot say a backslash before a quote, or at the end".to_owned());
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    Ok(Cow::Owned(text.to_owned()))
}
