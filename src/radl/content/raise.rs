//! Content of IM's dialect in EC3's words: units are powers of 1024 or bytes, lists are sets. What EC3 has no words for
//! is refused by name.

use std::borrow::Cow;

use super::{Amount, Content, Features, Given, Held, Item, Num, Part, Plays};
use crate::radl::dialect::Dialect;
use crate::radl::syntax::{AspectKind, Comparator};

impl Content<'_> {
    /// The same in EC3's dialect.
    pub(in crate::radl) fn raised(mut self) -> Result<Self, String> {
        if self.dialect == Dialect::Ec3 {
            return Ok(self);
        }
        for part in self.parts.values_mut() {
            match part {
                Part::Thing(thing) if thing.kind == AspectKind::Ansible => {
                    return Err(format!("`ansible {}` has no counterpart in EC3's dialect", thing.id));
                }
                Part::Thing(thing) => raise(&mut thing.features)?,
                Part::Recipe(recipe) if recipe.body == Plays::Nothing => {
                    return Err(format!("`configure {} ()` has no counterpart in EC3's dialect", recipe.id));
                }
                Part::Context(context) => {
                    if let Some(line) = context.lines.values().find(|line| line.tool.is_some()) {
                        return Err(format!(
                            "`with` in the item of `{}` has no counterpart in EC3's dialect",
                            line.system
                        ));
                    }
                    if context.lines.is_empty() && context.options.is_empty() {
                        return Err("`contextualize ()` has no counterpart in EC3's dialect".to_owned());
                    }
                }
                Part::Recipe(_) | Part::Order(_) => {}
            }
        }
        self.dialect = Dialect::Ec3;
        Ok(self)
    }
}

fn raise(all: &mut Features<'_>) -> Result<(), String> {
    for (name, held) in &mut all.held {
        match held {
            Held::Range(low, high) => low.iter_mut().chain(high).for_each(|item| number(item)),
            Held::Elements(items) => {
                for item in items.values_mut() {
                    if let Given::Features(inner) = &mut item.value {
                        raise(inner)?;
                    }
                }
            }
            Held::Set(_) => {}
            Held::Plain(item) => match &item.value {
                Given::Random(_) => {
                    return Err(format!("`{name} = 'random(...)'` has no counterpart in EC3's dialect"));
                }
                Given::List(texts) => {
                    let one = |text: &Cow<'_, str>| Item {
                        how: Comparator::Contains,
                        value: Given::Text(Cow::Owned(text.clone().into_owned())),
                        name: Cow::Owned(name.clone().into_owned()),
                        span: item.span,
                    };
                    *held = Held::Set(texts.iter().map(|text| (text.clone().into_owned(), one(text))).collect());
                }
                Given::Number(_) | Given::Text(_) | Given::Features(_) | Given::Reference(..) => {}
            },
        }
    }
    all.softs.values_mut().try_for_each(|soft| raise(&mut soft.features))
}

/// Bytes in the largest of EC3's units that leaves them whole.
fn number(item: &mut Item<'_>) {
    let Given::Number(amount) = &mut item.value else { return };
    if amount.unit.is_empty() || ["ECU", "GCEU", "HRZ"].contains(&amount.unit.to_uppercase().as_str()) {
        return;
    }
    let Some(Num::Whole(bytes)) = amount.value(Dialect::Im) else { return };
    let fits =
        [("G", 1_i128 << 30), ("M", 1 << 20), ("K", 1 << 10)].into_iter().find(|(_, factor)| bytes % factor == 0);
    let (unit, factor) = fits.unwrap_or(("", 1));
    *amount = Amount { digits: Cow::Owned((bytes / factor).to_string()), unit: Cow::Borrowed(unit) };
}
