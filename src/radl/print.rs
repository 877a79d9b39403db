//! Printing: a document as canonical text, one feature a line. What was read comes back letter for letter,
//! so that reading the print gives the same document, in either dialect: no line of it ends where EC3's dialect
//! would end a sentence too early.

use std::fmt::{self, Display, Formatter};

use super::syntax::{Aspect, Body, Configure, Contextualize, Document, Feature, Number, Sentence, Text, Value};

/// The canonical text of a document. A value that could not be read is printed as an empty text.
pub fn print(document: &Document<'_>) -> String {
    let parts: Vec<String> = document.sentences.iter().map(ToString::to_string).collect();
    parts.join("\n")
}

impl Display for Sentence<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Sentence::Aspect(Aspect { kind, id, features: None }) => writeln!(f, "{} {}", kind.keyword(), id.text),
            Sentence::Aspect(Aspect { kind, id, features: Some(features) }) => {
                write!(f, "{} {} (", kind.keyword(), id.text)?;
                list(f, features, 1)?;
                writeln!(f, ")")
            }
            Sentence::Configure(Configure { id, body }) => match body {
                Body::Absent => writeln!(f, "configure {}", id.text),
                Body::Empty => writeln!(f, "configure {} ()", id.text),
                // An `@end` that was read indented goes to the start of a line.
                Body::Recipe(recipe) => {
                    let line_feed = if recipe.ends_with('\n') { "" } else { "\n" };
                    writeln!(f, "configure {} (\n@begin{recipe}{line_feed}@end\n)", id.text)
                }
            },
            Sentence::Contextualize(sentence) => context(f, sentence),
            Sentence::Deploy(deploy) => {
                write!(f, "deploy {} {}", deploy.system.text, deploy.count.digits)?;
                match deploy.cloud {
                    Some(cloud) => writeln!(f, " {}", cloud.text),
                    None => writeln!(f),
                }
            }
        }
    }
}

fn context(f: &mut Formatter<'_>, sentence: &Contextualize<'_>) -> fmt::Result {
    write!(f, "contextualize ")?;
    if let Some(seconds) = sentence.max_time {
        write!(f, "{} ", seconds.digits)?;
    }
    writeln!(f, "(")?;
    for option in &sentence.options {
        writeln!(f, "    option {} {} {}", option.name.text, option.comparator.symbol(), option.value)?;
    }
    for item in &sentence.items {
        write!(f, "    system {} configure {}", item.system.text, item.configure.text)?;
        if let Some(step) = item.step {
            write!(f, " step {}", step.digits)?;
        }
        if let Some(tool) = item.tool {
            write!(f, " with {}", tool.text)?;
        }
        writeln!(f)?;
    }
    writeln!(f, ")")
}

fn list(f: &mut Formatter<'_>, features: &[Feature<'_>], depth: usize) -> fmt::Result {
    for (at, feature) in features.iter().enumerate() {
        let and = if at == 0 { "" } else { " and" };
        write!(f, "{and}\n{:1$}", "", depth * 4)?;
        match feature {
            Feature::Constraint { name, comparator, value, .. } => {
                write!(f, "{} {} {value}", name.text, comparator.symbol())?;
            }
            Feature::Contains { name, features } => {
                write!(f, "{} contains (", name.text)?;
                list(f, features, depth + 1)?;
                write!(f, ")")?;
            }
            Feature::Soft { weight, features } => {
                write!(f, "soft {weight} (")?;
                list(f, features, depth + 1)?;
                write!(f, ")")?;
            }
        }
    }
    if features.is_empty() { Ok(()) } else { write!(f, "\n{:1$}", "", (depth - 1) * 4) }
}

impl Display for Value<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Text(text) | Value::Random(text) => write!(f, "{text}"),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Value::Reference(reference) => write!(f, "{} {}", reference.kind.keyword(), reference.id.text),
            Value::Missing => write!(f, "''"),
        }
    }
}

impl Display for Number<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.unit {
            Some(unit) => write!(f, "{} {}", self.digits, unit.text),
            None => write!(f, "{}", self.digits),
        }
    }
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.raw)
    }
}
