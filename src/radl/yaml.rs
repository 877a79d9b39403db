//! YAML of recipes: loaded as PyYAML's safe loader takes it (YAML 1.1: `yes` is true, `0644` is octal), because Ansible
//! and EC3 read with it. A scalar keeps its spelling, so that what is written again means the same to them.

#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of events and values few need care")]

use std::fmt::Write as _;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

mod scalar;

/// Nodes beyond this many, and levels beyond this many, are no recipe: an alias in an alias in an alias is a bomb.
const MOST: usize = 1_000_000;
const DEEPEST: usize = 200;
/// Bytes of a recipe that anybody wrote by hand, and many more.
const LARGEST: usize = 16 << 20;

/// One node.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Scalar(Scalar),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

/// A scalar as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Without quotes, so that its spelling says its type.
    pub(super) plain: bool,
    /// An explicit tag, such as `!vault` or `!!str`.
    pub(super) tag: Option<String>,
}

/// Which tags are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tags {
    /// Those of YAML itself: EC3 and IM load no others.
    Known,
    /// Any: Ansible has its own.
    Any,
}

impl Node {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Scalar(Scalar { text: text.into(), plain: false, tag: None })
    }

    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::Scalar(Scalar { text: text.into(), plain: true, tag: None })
    }

    pub(super) fn null() -> Self {
        Self::plain("null")
    }

    /// The value of a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().find(|(known, _)| known.is(key)).map(|(_, value)| value),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(entries) => entries.iter_mut().find(|(known, _)| known.is(key)).map(|(_, value)| value),
            Self::Scalar(_) | Self::List(_) => None,
        }
    }

    /// Takes a key out of a map.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        let Self::Map(entries) = self else { return None };
        let at = entries.iter().position(|(known, _)| known.is(key))?;
        Some(entries.remove(at).1)
    }

    fn is(&self, key: &str) -> bool {
        matches!(self, Self::Scalar(scalar) if scalar.text == key)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Scalar(scalar) if scalar::is_text(scalar) => Some(&scalar.text),
            Self::Scalar(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub(super) fn as_number(&self) -> Option<f64> {
        match self.json() {
            serde_json::Value::Number(number) => number.as_f64(),
            _ => None,
        }
    }

    /// Whether Python would take it for false.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Scalar(scalar) => match scalar::resolve(scalar) {
                serde_json::Value::Null => true,
                serde_json::Value::Bool(flag) => !flag,
                serde_json::Value::Number(number) => number.as_f64() == Some(0.0),
                serde_json::Value::String(text) => text.is_empty(),
                serde_json::Value::Array(_) | serde_json::Value::Object(_) => false,
            },
        }
    }

    /// As data.
    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Scalar(scalar) => scalar::resolve(scalar),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, value) in entries {
                    let key = match key.json() {
                        serde_json::Value::String(text) => text,
                        // As Python's json does with keys that are no texts.
                        other => other.to_string(),
                    };
                    map.insert(key, value.json());
                }
                serde_json::Value::Object(map)
            }
        }
    }

    /// From data.
    pub(super) fn of(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::of).collect()),
            serde_json::Value::Object(map) => {
                Self::Map(map.iter().map(|(key, value)| (Self::text(key.as_str()), Self::of(value))).collect())
            }
            plain => Self::plain(plain.to_string()),
        }
    }
}

/// Loads one YAML document.
pub(super) fn load(text: &str, tags: Tags) -> Result<Node, String> {
    if text.len() > LARGEST {
        return Err(format!("larger than {} MiB", LARGEST >> 20));
    }
    let mut loader = Loader { tags, anchors: Vec::new(), nodes: 0, parser: Parser::new_from_str(text) };
    let mut root = None;
    loop {
        match loader.event()? {
            Event::StreamEnd => return Ok(root.unwrap_or_else(Node::null)),
            Event::DocumentStart(_) if root.is_some() => return Err("more than one YAML document".to_owned()),
            Event::DocumentStart(_) => {
                let event = loader.event()?;
                root = Some(loader.node(event, 0)?);
            }
            _ => {}
        }
    }
}

struct Loader<'t> {
    tags: Tags,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
    parser: Parser<'t, StrInput<'t>>,
}

impl<'t> Loader<'t> {
    fn event(&mut self) -> Result<Event<'t>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn tag(&self, tag: Option<std::borrow::Cow<'_, saphyr_parser::Tag>>) -> Result<Option<String>, String> {
        let Some(tag) = tag else { return Ok(None) };
        let tag = tag.into_owned();
        let core = tag.handle == "tag:yaml.org,2002:";
        if self.tags == Tags::Known && !core && tag.suffix != "!" && !(tag.handle.is_empty() && tag.suffix.is_empty()) {
            return Err(format!("an unknown tag `{}{}`", tag.handle, tag.suffix));
        }
        Ok(Some(if core { format!("!!{}", tag.suffix) } else { format!("{}{}", tag.handle, tag.suffix) }))
    }

    fn node(&mut self, event: Event<'t>, depth: usize) -> Result<Node, String> {
        self.nodes += 1;
        if self.nodes > MOST || depth > DEEPEST {
            return Err("too large, or too deep".to_owned());
        }
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar =
                    Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain, tag: self.tag(tag)? };
                (anchor, Node::Scalar(scalar))
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag)?;
                let mut items = Vec::new();
                loop {
                    match self.event()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                (anchor, Node::List(items))
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag)?;
                let mut entries = Vec::new();
                loop {
                    match self.event()? {
                        Event::MappingEnd => break,
                        event => {
                            let key = self.node(event, depth + 1)?;
                            if !matches!(key, Node::Scalar(_)) {
                                return Err("a key that is a list or a map".to_owned());
                            }
                            let event = self.event()?;
                            let value = self.node(event, depth + 1)?;
                            entries.push((key, value));
                        }
                    }
                }
                (anchor, Node::Map(flatten(entries)?))
            }
            Event::Alias(anchor) => {
                let found = self.anchors.iter().rev().find(|(known, _)| *known == anchor).map(|(_, node)| node.clone());
                let node = found.ok_or("an alias of nothing")?;
                self.nodes += size(&node);
                return Ok(node);
            }
            _ => return Err("not a node".to_owned()),
        };
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }
}

fn size(node: &Node) -> usize {
    match node {
        Node::Scalar(_) => 1,
        Node::List(items) => 1 + items.iter().map(size).sum::<usize>(),
        Node::Map(entries) => 1 + entries.iter().map(|(_, value)| 1 + size(value)).sum::<usize>(),
    }
}

/// `<<` brings the entries of other maps, before its own; of a key said twice the last stands.
fn flatten(entries: Vec<(Node, Node)>) -> Result<Vec<(Node, Node)>, String> {
    let is_merge = |key: &Node| matches!(key, Node::Scalar(Scalar { text, plain: true, tag: None }) if text == "<<");
    let mut brought = Vec::new();
    let mut own = Vec::new();
    for (key, value) in entries {
        if !is_merge(&key) {
            own.push((key, value));
            continue;
        }
        match value {
            Node::Map(inner) => brought.extend(inner),
            Node::List(maps) => {
                for map in maps.into_iter().rev() {
                    let Node::Map(inner) = map else { return Err("`<<` needs a map".to_owned()) };
                    brought.extend(inner);
                }
            }
            Node::Scalar(_) => return Err("`<<` needs a map".to_owned()),
        }
    }
    let mut flat: indexmap::IndexMap<String, (Node, Node)> = indexmap::IndexMap::new();
    for (key, value) in brought.into_iter().chain(own) {
        flat.insert(key.json().to_string(), (key, value));
    }
    Ok(flat.into_values().collect())
}

/// Joins two values as EC3 does: lists one after the other, maps key by key, and of other things one stands. With
/// `me_last` what is there comes after what is added, and stands.
pub(super) fn merge(me: &Node, other: &Node, me_last: bool) -> Node {
    match (me, other) {
        _ if me.json() == other.json() => me.clone(),
        (Node::List(me), Node::List(other)) => {
            let (first, second) = if me_last { (other, me) } else { (me, other) };
            Node::List(first.iter().chain(second).cloned().collect())
        }
        (Node::Map(me), Node::Map(other)) => {
            let found = |entries: &[(Node, Node)], key: &Node| {
                entries.iter().find(|(known, _)| known.json() == key.json()).map(|(_, value)| value.clone())
            };
            let mut all: Vec<(Node, Node)> = other
                .iter()
                .map(|(key, value)| {
                    let value = found(me, key).map_or_else(|| value.clone(), |mine| merge(&mine, value, me_last));
                    (key.clone(), value)
                })
                .collect();
            all.extend(me.iter().filter(|(key, _)| found(other, key).is_none()).cloned());
            Node::Map(all)
        }
        _ if me_last => me.clone(),
        _ => other.clone(),
    }
}

/// Writes a node so that PyYAML, and Ansible, read the same again.
pub(super) fn dump(node: &Node) -> String {
    let mut out = String::new();
    block(&mut out, node, 0);
    out
}

fn block(out: &mut String, node: &Node, indent: usize) {
    match node {
        Node::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}- ", "");
                nested(out, item, indent + 2, true);
            }
        }
        Node::Map(entries) if !entries.is_empty() => {
            for (at, (key, value)) in entries.iter().enumerate() {
                let pad = if at == 0 && out.ends_with("- ") { 0 } else { indent };
                let _ = write!(out, "{:pad$}{}:", "", scalar::inline(key));
                let scalar = matches!(value, Node::Scalar(_)) || leaf(value);
                if scalar {
                    out.push(' ');
                }
                nested(out, value, if scalar { indent + 2 } else { indent }, false);
            }
        }
        leaf => {
            let _ = writeln!(out, "{}", scalar::inline(leaf));
        }
    }
}

fn leaf(node: &Node) -> bool {
    match node {
        Node::Scalar(_) => true,
        Node::List(items) => items.is_empty(),
        Node::Map(entries) => entries.is_empty(),
    }
}

/// What follows `- ` or `key:`.
fn nested(out: &mut String, node: &Node, indent: usize, in_list: bool) {
    match node {
        Node::Scalar(scalar) if scalar::is_page(scalar) => {
            out.push_str(if scalar.text.ends_with('\n') { "|\n" } else { "|-\n" });
            for line in scalar.text.strip_suffix('\n').unwrap_or(&scalar.text).split('\n') {
                let indent = if line.is_empty() { 0 } else { indent };
                let _ = writeln!(out, "{:indent$}{line}", "");
            }
        }
        node if leaf(node) => {
            let _ = writeln!(out, "{}", scalar::inline(node));
        }
        Node::Map(_) if in_list => block(out, node, indent),
        _ => {
            out.push('\n');
            block(out, node, if in_list { indent } else { indent + 2 });
        }
    }
}
