//! The syntax tree: what a RADL text says, before anybody asks whether it makes sense. Everything that is
//! text is a slice of the source, and everything that a finding may point at has its span.

use std::borrow::Cow;

use serde::Serialize;

use crate::diagnostic::Span;

/// A whole text, or several texts one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Document<'a> {
    /// Its sentences, in order.
    pub sentences: Vec<Sentence<'a>>,
    /// Some of the text could not be read, so what seems to be missing may be there.
    pub broken: bool,
}

/// One sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sentence<'a> {
    /// `network`, `system` and other things with features.
    Aspect(Aspect<'a>),
    /// `configure`.
    Configure(Configure<'a>),
    /// `contextualize`.
    Contextualize(Contextualize<'a>),
    /// `deploy`.
    Deploy(Deploy<'a>),
}

/// Which thing an aspect is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AspectKind {
    /// A network.
    Network,
    /// A node that runs Ansible.
    Ansible,
    /// A kind of machine.
    System,
    /// What the document is for.
    Description,
    /// Templates that belong to it (EC3).
    Include,
    /// A whole infrastructure (EC3).
    Infrastructure,
    /// Some content (EC3).
    File,
    /// Content that is put on a machine (EC3).
    DeployFile,
    /// A script that runs on a machine (EC3).
    DeployScript,
}

impl AspectKind {
    /// Its keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Ansible => "ansible",
            Self::System => "system",
            Self::Description => "description",
            Self::Include => "include",
            Self::Infrastructure => "Infrastructure",
            Self::File => "File",
            Self::DeployFile => "DeployFile",
            Self::DeployScript => "DeployScript",
        }
    }

    /// The classes of aspects that EC3's dialect has; each is a plain word there.
    pub const OF_EC3: [Self; 8] = [
        Self::Network,
        Self::System,
        Self::Include,
        Self::Description,
        Self::Infrastructure,
        Self::File,
        Self::DeployFile,
        Self::DeployScript,
    ];

    /// The class of EC3's dialect with this name.
    pub fn of_ec3(word: &str) -> Option<Self> {
        Self::OF_EC3.into_iter().find(|kind| kind.keyword() == word)
    }
}

/// A word and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Name<'a> {
    /// The word.
    pub text: &'a str,
    /// Where.
    pub span: Span,
}

/// A thing with features.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Aspect<'a> {
    /// Which kind.
    pub kind: AspectKind,
    /// Its id.
    pub id: Name<'a>,
    /// Its features; `None` when it is only named.
    pub features: Option<Vec<Feature<'a>>>,
}

/// One thing that is said of an aspect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Feature<'a> {
    /// `name = value`, and the like.
    Constraint {
        /// Which property.
        name: Name<'a>,
        /// How it is compared.
        comparator: Comparator,
        /// With what.
        value: Value<'a>,
        /// Where the value stands, unit included.
        span: Span,
    },
    /// `name contains (features)`.
    Contains {
        /// Which property.
        name: Name<'a>,
        /// What one of its elements is like.
        features: Vec<Self>,
    },
    /// `soft WEIGHT (features)`: wished for, not needed.
    Soft {
        /// How much it is wished for.
        weight: Number<'a>,
        /// What is wished for.
        features: Vec<Self>,
    },
}

/// How a property is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Comparator {
    /// `=`
    #[serde(rename = "=")]
    Equal,
    /// `<`
    #[serde(rename = "<")]
    Less,
    /// `<=`
    #[serde(rename = "<=")]
    AtMost,
    /// `>`
    #[serde(rename = ">")]
    Greater,
    /// `>=`
    #[serde(rename = ">=")]
    AtLeast,
    /// `contains`, followed by one value (EC3)
    #[serde(rename = "contains")]
    Contains,
}

impl Comparator {
    /// How it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Contains => "contains",
        }
    }
}

/// What a property is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Value<'a> {
    /// A number with or without a unit.
    Number(Number<'a>),
    /// A string.
    Text(Text<'a>),
    /// `[ 'a', 'b' ]`
    List(Vec<Text<'a>>),
    /// `'random(N)'`: any number of N digits.
    Random(Text<'a>),
    /// Another aspect, `system wn` (EC3).
    Reference(Reference<'a>),
    /// Something that could not be read, and was reported.
    Missing,
}

/// Another aspect, named where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reference<'a> {
    /// Its class.
    pub kind: AspectKind,
    /// Its id.
    pub id: Name<'a>,
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Number<'a> {
    /// Digits, perhaps with a point.
    pub digits: &'a str,
    /// The word after it.
    pub unit: Option<Name<'a>>,
    /// Where the digits stand.
    pub span: Span,
}

/// A string as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Text<'a> {
    /// What is between the quotes.
    pub raw: &'a str,
    /// Where, quotes included.
    pub span: Span,
}

impl<'a> Text<'a> {
    /// What it means: `\'` is a quote; no other sequence is special.
    pub fn meaning(&self) -> Cow<'a, str> {
        if self.raw.contains("\\'") { Cow::Owned(self.raw.replace("\\'", "'")) } else { Cow::Borrowed(self.raw) }
    }
}

/// A named piece of Ansible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Configure<'a> {
    /// Its id.
    pub id: Name<'a>,
    /// What follows the id.
    pub body: Body<'a>,
}

/// What a `configure` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Body<'a> {
    /// Nothing: it is only named.
    Absent,
    /// `()`: configure nothing.
    Empty,
    /// Everything between `@begin` and `@end`, the rest of the first line included.
    Recipe(&'a str),
}

/// When which system is configured with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contextualize<'a> {
    /// Where its keyword stands.
    pub span: Span,
    /// Seconds that it may take.
    pub max_time: Option<Number<'a>>,
    /// `option name = value`.
    pub options: Vec<ContextOption<'a>>,
    /// Its items.
    pub items: Vec<ContextItem<'a>>,
}

/// An option of a `contextualize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextOption<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// How it is compared.
    pub comparator: Comparator,
    /// With what.
    pub value: Value<'a>,
}

/// `system S configure C [step N | with TOOL]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContextItem<'a> {
    /// Which system.
    pub system: Name<'a>,
    /// Which `configure`.
    pub configure: Name<'a>,
    /// In which step.
    pub step: Option<Number<'a>>,
    /// By which tool.
    pub tool: Option<Name<'a>>,
}

/// `deploy SYSTEM COUNT [CLOUD]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Deploy<'a> {
    /// Which system.
    pub system: Name<'a>,
    /// How many.
    pub count: Number<'a>,
    /// Where.
    pub cloud: Option<Name<'a>>,
}

impl<'a> Document<'a> {
    /// The aspects of one kind, in order.
    pub fn aspects(&self, kind: AspectKind) -> impl Iterator<Item = &Aspect<'a>> {
        self.sentences.iter().filter_map(move |sentence| match sentence {
            Sentence::Aspect(aspect) if aspect.kind == kind => Some(aspect),
            Sentence::Aspect(_) | Sentence::Configure(_) | Sentence::Contextualize(_) | Sentence::Deploy(_) => None,
        })
    }

    /// The deploys, in order.
    pub fn deploys(&self) -> impl Iterator<Item = &Deploy<'a>> {
        self.sentences.iter().filter_map(|sentence| match sentence {
            Sentence::Deploy(deploy) => Some(deploy),
            Sentence::Aspect(_) | Sentence::Configure(_) | Sentence::Contextualize(_) => None,
        })
    }
}
