//! Features joined: for each property what is known of it, by the rules of the old parsers, each with its own kinds
//! and its own way with contradictions.

#![expect(clippy::wildcard_enum_match_arm, reason = "of the many kinds of values few need care")]

use std::borrow::Cow;

use indexmap::IndexMap;

use super::{Amount, Clash, Conflict, Num};
use crate::diagnostic::Span;
use crate::radl::dialect::Dialect;
use crate::radl::features::short;
use crate::radl::syntax::{AspectKind, Comparator, Feature, Value};

/// What a property is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::radl) enum Given<'a> {
    Number(Amount<'a>),
    Text(Cow<'a, str>),
    /// `'random(N)'`.
    Random(Cow<'a, str>),
    List(Vec<Cow<'a, str>>),
    Features(Features<'a>),
    Reference(AspectKind, Cow<'a, str>),
}

/// One feature. Two are equal when they say the same, wherever they stand.
#[derive(Debug, Clone)]
pub(in crate::radl) struct Item<'a> {
    pub(in crate::radl) name: Cow<'a, str>,
    pub(in crate::radl) how: Comparator,
    pub(in crate::radl) value: Given<'a>,
    pub(in crate::radl) span: Span,
}

impl PartialEq for Item<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.how == other.how && self.value == other.value
    }
}

/// What is known of a property.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::radl) enum Held<'a> {
    /// A number's least and greatest; boxed, because few of all items are numbers twice.
    Range(Option<Box<Item<'a>>>, Option<Box<Item<'a>>>),
    /// One value.
    Plain(Box<Item<'a>>),
    /// `contains (...)`, by what tells elements apart.
    Elements(IndexMap<String, Item<'a>>),
    /// `contains 'text'`: each once, by what it says.
    Set(IndexMap<String, Item<'a>>),
}

/// What is wished for, and how much.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::radl) struct Soft<'a> {
    /// Digits.
    pub(in crate::radl) weight: Cow<'a, str>,
    pub(in crate::radl) features: Features<'a>,
}

/// All that is known.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::radl) struct Features<'a> {
    pub(in crate::radl) held: IndexMap<Cow<'a, str>, Held<'a>>,
    pub(in crate::radl) softs: IndexMap<String, Soft<'a>>,
}

impl<'a> Item<'a> {
    /// A feature as an item; nothing for `soft` and for what could not be read.
    pub(in crate::radl) fn of(feature: &Feature<'a>, dialect: Dialect) -> Result<Option<Self>, Clash> {
        let (name, how, value, span) = match feature {
            Feature::Constraint { name, comparator, value, span } => {
                let value = match value {
                    Value::Number(number) => Given::Number(Amount {
                        digits: Cow::Borrowed(number.digits),
                        unit: Cow::Borrowed(number.unit.map_or("", |unit| unit.text)),
                    }),
                    Value::Text(text) => Given::Text(text.meaning()),
                    Value::Random(text) => Given::Random(Cow::Borrowed(text.raw)),
                    Value::List(items) => Given::List(items.iter().map(super::super::syntax::Text::meaning).collect()),
                    Value::Reference(reference) => Given::Reference(reference.kind, Cow::Borrowed(reference.id.text)),
                    Value::Missing => return Ok(None),
                };
                (*name, *comparator, value, *span)
            }
            Feature::Contains { name, features } => {
                (*name, Comparator::Contains, Given::Features(Features::of(features, dialect)?), name.span)
            }
            Feature::Soft { .. } => return Ok(None),
        };
        Ok(Some(Self { name: Cow::Borrowed(name.text), how, value, span }))
    }

    fn number(&self, dialect: Dialect) -> Option<Num> {
        match &self.value {
            Given::Number(amount) => amount.value(dialect),
            Given::Text(_) | Given::Random(_) | Given::List(_) | Given::Features(_) | Given::Reference(..) => None,
        }
    }
}

impl<'a> Features<'a> {
    pub(in crate::radl) fn of(features: &[Feature<'a>], dialect: Dialect) -> Result<Self, Clash> {
        let mut all = Self::default();
        for feature in features {
            if let Feature::Soft { weight, features } = feature {
                let soft = Soft { weight: Cow::Borrowed(weight.digits), features: Self::of(features, dialect)? };
                if dialect == Dialect::Ec3 && soft.features.names_aspects() {
                    return Err(Clash::at(weight.span, "what is wished for names another aspect"));
                }
                all.wish(soft, dialect);
            } else if let Some(item) = Item::of(feature, dialect)? {
                all.add(item, Conflict::Error, dialect)?;
            }
        }
        Ok(all)
    }

    /// EC3 keeps softs in a set, and two with the same features are the same to it, whatever they weigh.
    pub(in crate::radl) fn wish(&mut self, soft: Soft<'a>, dialect: Dialect) {
        let key = if dialect == Dialect::Im { self.softs.len().to_string() } else { soft.features.saying() };
        self.softs.entry(key).or_insert(soft);
    }

    /// Adds all of another's features.
    pub(in crate::radl) fn merge(&mut self, other: Self, conflict: Conflict, dialect: Dialect) -> Result<(), Clash> {
        for held in other.held.into_values() {
            match held {
                Held::Range(Some(low), Some(high)) => {
                    let one = low.how == Comparator::Equal && high.how == Comparator::Equal;
                    let same = low.number(dialect) == high.number(dialect);
                    self.add(*low, conflict, dialect)?;
                    if !(one && same) {
                        self.add(*high, conflict, dialect)?;
                    }
                }
                Held::Range(one, other) => {
                    for item in one.into_iter().chain(other) {
                        self.add(*item, conflict, dialect)?;
                    }
                }
                Held::Plain(item) => self.add(*item, conflict, dialect)?,
                Held::Elements(items) => {
                    items.into_values().try_for_each(|item| self.add(item, conflict, dialect))?;
                }
                Held::Set(items) => items.into_values().try_for_each(|item| self.add(item, conflict, dialect))?,
            }
        }
        other.softs.into_values().for_each(|soft| self.wish(soft, dialect));
        Ok(())
    }

    /// Adds one feature to what is known.
    pub(in crate::radl) fn add(&mut self, item: Item<'a>, conflict: Conflict, dialect: Dialect) -> Result<(), Clash> {
        let ec3 = dialect == Dialect::Ec3;
        let ranged = match &item.value {
            // EC3 keeps a number with a point as it keeps a text: one value, without an order.
            Given::Number(amount) => !ec3 || matches!(amount.number(), Num::Whole(_)),
            Given::Text(_) | Given::Random(_) | Given::List(_) | Given::Features(_) | Given::Reference(..) => false,
        };
        if ranged {
            return self.narrow(item, conflict, dialect);
        }
        if item.how == Comparator::Contains {
            return self.contain(item, conflict, dialect);
        }
        if let Given::Reference(_, id) = &item.value {
            match self.held.get(&item.name) {
                Some(Held::Plain(known)) => match &known.value {
                    // The same again.
                    Given::Reference(_, before) if before == id => return Ok(()),
                    Given::Reference(..) => {}
                    Given::Text(text) if text.is_empty() => {}
                    _ => return Err(kinds(&item)),
                },
                Some(Held::Range(..) | Held::Elements(_) | Held::Set(_)) => return Err(kinds(&item)),
                None => {}
            }
            self.held.insert(item.name.clone(), Held::Plain(Box::new(item)));
            return Ok(());
        }
        self.set(item, conflict, ec3)
    }

    /// A text, a list, or in EC3 a number with a point.
    fn set(&mut self, mut item: Item<'a>, conflict: Conflict, ec3: bool) -> Result<(), Clash> {
        let same = match self.held.get(&item.name) {
            None => false,
            Some(Held::Plain(known)) => {
                let same = match (&known.value, &item.value) {
                    (Given::Number(left), Given::Number(right)) => left.number() == right.number(),
                    (left, right) => left == right,
                };
                if !same && conflict == Conflict::Error {
                    let message = format!("`{}` is {}, and {}", short(&item.name), known.value, item.value);
                    return Err(Clash::at(item.span, message));
                }
                same || conflict == Conflict::Me
            }
            Some(Held::Range(..) | Held::Elements(_) | Held::Set(_)) => return Err(kinds(&item)),
        };
        if !same {
            if ec3 {
                item.how = Comparator::Equal;
            }
            self.held.insert(item.name.clone(), Held::Plain(Box::new(item)));
        }
        Ok(())
    }

    /// A number narrows what its property may be.
    fn narrow(&mut self, item: Item<'a>, conflict: Conflict, dialect: Dialect) -> Result<(), Clash> {
        if item.number(dialect).is_none() {
            return Err(Clash::at(item.span, format!("`{}` has a unit that EC3 does not know", short(&item.name))));
        }
        let boxed = Box::new(item.clone());
        let new = match item.how {
            Comparator::Equal => (Some(boxed.clone()), Some(boxed)),
            Comparator::Less | Comparator::AtMost => (None, Some(boxed)),
            Comparator::Greater | Comparator::AtLeast => (Some(boxed), None),
            Comparator::Contains => {
                return Err(Clash::at(item.span, format!("`{}` cannot contain a whole number", short(&item.name))));
            }
        };
        let known = match self.held.get(&item.name) {
            None => (None, None),
            Some(Held::Range(low, high)) => (low.clone(), high.clone()),
            Some(Held::Plain(_) | Held::Elements(_) | Held::Set(_)) => return Err(kinds(&item)),
        };
        let both = intersection(known, new, conflict, dialect).ok_or_else(|| {
            Clash::at(item.span, format!("no number fits all that is said of `{}`", short(&item.name)))
        })?;
        self.held.insert(item.name, Held::Range(both.0, both.1));
        Ok(())
    }

    fn contain(&mut self, item: Item<'a>, conflict: Conflict, dialect: Dialect) -> Result<(), Clash> {
        let key = match &item.value {
            Given::Features(features) => features.key(dialect).ok_or_else(|| {
                Clash::at(item.span, format!("an element of `{}` has a name that is no text", short(&item.name)))
            })?,
            Given::Reference(kind, id) => Some(format!("{} {id}", kind.keyword())),
            Given::Number(_) | Given::Text(_) | Given::Random(_) | Given::List(_) => None,
        };
        // IM knows elements without a name too, and takes all of them for one.
        let key = if dialect == Dialect::Im { Some(key.unwrap_or_default()) } else { key };
        let Some(key) = key else {
            let held = self.held.entry(item.name.clone()).or_insert_with(|| Held::Set(IndexMap::new()));
            let Held::Set(items) = held else { return Err(kinds(&item)) };
            if let Given::Features(features) = &item.value
                && features.names_aspects()
            {
                let message =
                    format!("an element of `{}` names another aspect, and has no name itself", short(&item.name));
                return Err(Clash::at(item.span, message));
            }
            items.entry(item.value.saying()).or_insert(item);
            return Ok(());
        };
        let held = self.held.entry(item.name.clone()).or_insert_with(|| Held::Elements(IndexMap::new()));
        let Held::Elements(items) = held else { return Err(kinds(&item)) };
        match items.get_mut(&key) {
            None => drop(items.insert(key, item)),
            Some(known) => {
                if let (Given::Features(known), Given::Features(new)) = (&mut known.value, item.value) {
                    known.merge(new, conflict, dialect)?;
                }
            }
        }
        Ok(())
    }

    /// What an element is told apart by. `None` when its name can be no key, `Some(None)` when it has none.
    #[expect(clippy::option_option, reason = "a name that is no text is a fault, no name is none")]
    fn key(&self, dialect: Dialect) -> Option<Option<String>> {
        let one = |name: &str| match self.held.get(name) {
            None => Some(None),
            Some(Held::Plain(item)) => match &item.value {
                Given::Text(text) | Given::Random(text) => Some(Some(text.clone().into_owned())),
                Given::Number(amount) => Some(Some(format!("number {}", amount.number().show()))),
                Given::List(_) | Given::Features(_) | Given::Reference(..) => None,
            },
            Some(Held::Range(low, high)) => {
                let (low, high) = (low.as_deref(), high.as_deref());
                let value = |item: Option<&Item<'a>>| item.and_then(|item| item.number(dialect));
                if dialect == Dialect::Ec3 && value(low) != value(high) {
                    return None;
                }
                let number = value(low).or(value(high))?;
                Some(Some(format!("number {}", number.show())))
            }
            Some(Held::Elements(_) | Held::Set(_)) => None,
        };
        match dialect {
            Dialect::Im => one("name"),
            Dialect::Ec3 => match one("id")? {
                Some(id) if !id.is_empty() && id != "number 0" => Some(Some(format!("Features {id}"))),
                _ => Some(one("name")?.map(|name| format!("Features {name}"))),
            },
        }
    }

    /// All that it says, whichever order it was said in, so that equal ones are found without looking at each.
    fn saying(&self) -> String {
        let item = |item: &Item<'a>| format!("{}{}{}", item.name, item.how.symbol(), item.value.saying());
        let mut all: Vec<String> = Vec::new();
        for held in self.held.values() {
            match held {
                Held::Range(low, high) => all.extend(low.iter().chain(high).map(|one| item(one))),
                Held::Plain(one) => all.push(item(one)),
                Held::Elements(items) | Held::Set(items) => all.extend(items.values().map(item)),
            }
        }
        all.extend(self.softs.values().map(|soft| format!("soft{}", soft.features.saying())));
        all.sort_unstable();
        format!("({})", all.join(" and "))
    }

    /// Whether another aspect stands anywhere in it as a value. EC3 cannot keep such features in a set.
    fn names_aspects(&self) -> bool {
        let item = |item: &Item<'a>| match &item.value {
            Given::Reference(..) => true,
            Given::Features(features) => features.names_aspects(),
            Given::Number(_) | Given::Text(_) | Given::Random(_) | Given::List(_) => false,
        };
        let held = self.held.values().any(|held| match held {
            Held::Range(..) => false,
            Held::Plain(one) => item(one),
            Held::Elements(items) | Held::Set(items) => items.values().any(item),
        });
        held || self.softs.values().any(|soft| soft.features.names_aspects())
    }

    /// The aspects that stand here as values.
    pub(in crate::radl) fn references(&self) -> Vec<(AspectKind, Cow<'a, str>, Span)> {
        let mut found = Vec::new();
        let mut look = |item: &Item<'a>| {
            if let Given::Reference(kind, id) = &item.value {
                found.push((*kind, id.clone(), item.span));
            }
        };
        for held in self.held.values() {
            match held {
                Held::Plain(item) => look(item),
                Held::Elements(items) => items.values().for_each(&mut look),
                Held::Range(..) | Held::Set(_) => {}
            }
        }
        found
    }

    /// One text that a property is.
    pub(in crate::radl) fn text(&self, name: &str) -> Option<&str> {
        match self.held.get(name) {
            Some(Held::Plain(item)) => match &item.value {
                Given::Text(text) => Some(text),
                _ => None,
            },
            Some(Held::Range(..) | Held::Elements(_) | Held::Set(_)) | None => None,
        }
    }
}

impl std::fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Given::Number(amount) if amount.unit.is_empty() => write!(f, "{}", amount.digits),
            Given::Number(amount) => write!(f, "{} {}", amount.digits, amount.unit),
            Given::Text(text) | Given::Random(text) => write!(f, "'{}'", short(text)),
            Given::List(items) => write!(f, "['{}']", short(&items.join("', '"))),
            Given::Features(_) => write!(f, "elements"),
            Given::Reference(kind, id) => write!(f, "{} {id}", kind.keyword()),
        }
    }
}

impl Given<'_> {
    /// What it says, in full.
    fn saying(&self) -> String {
        match self {
            Given::Number(amount) => format!("{}{}", amount.number().show(), amount.unit),
            Given::Text(text) | Given::Random(text) => format!("'{text}'"),
            Given::List(items) => format!("['{}']", items.join("','")),
            Given::Features(features) => features.saying(),
            Given::Reference(kind, id) => format!("{} {id}", kind.keyword()),
        }
    }
}

fn kinds(item: &Item<'_>) -> Clash {
    Clash::at(item.span, format!("`{}` is said to be of two kinds", short(&item.name)))
}

type Bounds<'a> = (Option<Box<Item<'a>>>, Option<Box<Item<'a>>>);

/// Two intervals at the same time. The old parsers forget whether an end is itself left out.
fn intersection<'a>(a: Bounds<'a>, b: Bounds<'a>, conflict: Conflict, dialect: Dialect) -> Option<Bounds<'a>> {
    let value = |item: &Option<Box<Item<'a>>>| item.as_ref().and_then(|item| item.number(dialect));
    let (a0, a1, b0, b1) = (value(&a.0), value(&a.1), value(&b.0), value(&b.1));
    let at_most = |left: Option<Num>, right: Option<Num>| match (left, right) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(left), Some(right)) => left.compare(right).is_le(),
    };
    let low_before = at_most(a0, b0);
    let high_before = b1.is_none() || (a1.is_some() && at_most(a1, b1));
    let reaches = a1.is_none() || at_most(b0, a1);
    let meets = b1.is_none() || at_most(a0, b1);
    let low_after = !low_before || a0 == b0;
    if low_before && reaches {
        return Some(if high_before { (b.0, a.1) } else { b });
    }
    if low_after && meets {
        return Some(if high_before { a } else { (a.0, b.1) });
    }
    match conflict {
        Conflict::Error => None,
        Conflict::Other => Some(b),
        Conflict::Me => Some(a),
    }
}
