//! A recipe: a TOML file that installs one thing on machines, as ordered steps that each know whether
//! they are done. Reading is strict: what is not known is an error with its line, never ignored.

pub mod embedded;
pub mod merge;
pub mod template;

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::diagnostic::{Diagnostic, Severity, Span};

/// Where a step runs, or which machines get an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum On {
    /// Only the front-end.
    FrontEnd,
    /// Every worker.
    Worker,
    /// Every machine.
    #[default]
    All,
}

/// One installable thing, as its file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name, which is also its file's stem.
    pub name: Spanned<String>,
    /// One line for people.
    pub summary: String,
    /// Recipes that must come first.
    #[serde(default)]
    pub requires: Vec<Spanned<String>>,
    /// What can be set, with defaults.
    #[serde(default)]
    pub parameters: BTreeMap<String, Parameter>,
    /// Programs taken from the bundle.
    #[serde(default, rename = "artifact")]
    pub artifacts: Vec<Artifact>,
    /// Container images taken from the bundle.
    #[serde(default, rename = "image")]
    pub images: Vec<Image>,
    /// What is done, in order.
    #[serde(default, rename = "step")]
    pub steps: Vec<Step>,
    /// A script that undoes what the steps did beyond their files and programs, which go by themselves. `marea destroy`
    /// runs it on machines that are not its own; it may be run again, and on a machine that got half of the steps.
    #[serde(default)]
    pub remove: Spannable,
}

/// Something that a document may set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its value when nothing is set; its type is the parameter's type. None: must be given.
    #[serde(default)]
    pub default: Option<Value>,
    /// What it is for.
    pub help: String,
    /// Never shown: not in plans, not in logs.
    #[serde(default)]
    pub secret: bool,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl Value {
    /// The name of its type, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "true or false",
            Self::Number(_) => "a whole number",
            Self::Text(_) => "a text",
        }
    }

    /// Reads `text` as a value of the same type as this one.
    pub fn read_alike(&self, text: &str) -> Option<Self> {
        match self {
            Self::Flag(_) => text.parse().ok().map(Self::Flag),
            Self::Number(_) => text.parse().ok().map(Self::Number),
            Self::Text(_) => Some(Self::Text(text.to_owned())),
        }
    }
}

/// A program from the bundle and where it is linked on the machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Its name in the bundle.
    pub name: Spanned<String>,
    /// Absolute path on the machine.
    pub path: String,
    /// Which machines get it.
    #[serde(default)]
    pub on: On,
}

/// An image from the bundle.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its name in the bundle.
    pub name: Spanned<String>,
    /// Which machines get it.
    #[serde(default)]
    pub on: On,
}

/// One thing done on a machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its name, unique in the recipe.
    pub name: Spanned<String>,
    /// Which machines.
    #[serde(default)]
    pub on: On,
    /// Files written before `run`.
    #[serde(default)]
    pub files: Vec<File>,
    /// Images imported before `run`, by name; each must be among the recipe's images.
    #[serde(default)]
    pub images: Vec<Spanned<String>>,
    /// A script whose success proves that the step is done.
    #[serde(default)]
    pub unless: Spannable,
    /// The script; it may be run again at any time.
    #[serde(default)]
    pub run: Spannable,
    /// A script run on the front-end just before this step; what it prints (a join token, say) is found
    /// by `run` in the file `$MAREA_FETCHED`, which is readable by root only and removed afterwards.
    #[serde(default)]
    pub fetch: Spannable,
    /// `front-end`, or `front-end/STEP`: wait until the front-end has done its part of this recipe, or that step.
    #[serde(default)]
    pub after: Option<Spanned<String>>,
    /// A step that is done stays done, even when its text changes.
    #[serde(default)]
    pub once: bool,
    /// How long `run` may take, in seconds.
    #[serde(default = "default_timeout")]
    pub timeout: u64,
}

/// A script with its place in the file, or nothing.
pub type Spannable = Option<Spanned<String>>;

const fn default_timeout() -> u64 {
    120
}

/// A file that a step writes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Absolute path on the machine.
    pub path: Spanned<String>,
    /// Its text, a template.
    #[serde(default)]
    pub content: Option<String>,
    /// Name of a template file beside the recipe, instead of `content`.
    #[serde(default)]
    pub template: Option<Spanned<String>>,
    /// Octal permissions.
    #[serde(default = "default_mode")]
    pub mode: String,
}

fn default_mode() -> String {
    "0644".to_owned()
}

/// A finding in a recipe file or in what a document asks of recipes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File it is in; `None` when it is in the document that asks for recipes.
    pub file: Option<String>,
    /// Line in that file, from 1; 0 when it has no place.
    pub line: usize,
    /// What is wrong.
    pub diagnostic: Diagnostic,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:{}: ", self.line)?;
        }
        let d = &self.diagnostic;
        write!(f, "error[{}]: {}", d.code, d.message)?;
        if d.help.is_empty() { Ok(()) } else { write!(f, "\n  help: {}", d.help) }
    }
}

/// The texts that recipes are read from: `NAME.toml` and the templates beside them, by file name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources(pub BTreeMap<String, String>);

impl Sources {
    /// Makes a finding in `file` at `span`.
    pub fn finding(
        &self,
        file: &str,
        span: std::ops::Range<usize>,
        code: &'static str,
        message: String,
        help: &str,
    ) -> Finding {
        let text = self.0.get(file).map_or("", String::as_str);
        let line = 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count();
        Finding {
            file: Some(file.to_owned()),
            line,
            diagnostic: diagnostic(code, Span { start: span.start, end: span.end }, message, help),
        }
    }

    /// Reads one recipe and checks what can be seen in it alone.
    pub fn read(&self, name: &str) -> Result<Recipe, Vec<Finding>> {
        let file = format!("{name}.toml");
        let text = self.0.get(&file).map_or("", String::as_str);
        let recipe: Recipe = toml::from_str(text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            vec![self.finding(
                &file,
                span,
                "C0001",
                error.message().to_owned(),
                "docs/recipes.md lists what a recipe may hold",
            )]
        })?;
        let findings = self.check(&file, name, &recipe);
        if findings.is_empty() { Ok(recipe) } else { Err(findings) }
    }

    fn check(&self, file: &str, name: &str, recipe: &Recipe) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut say = |span, code, message, help: &str| found.push(self.finding(file, span, code, message, help));
        if recipe.name.get_ref() != name {
            say(
                recipe.name.span(),
                "C0002",
                format!("recipe `{}` stands in {file}", recipe.name.get_ref()),
                "name and file must agree",
            );
        }
        let mut seen = std::collections::BTreeSet::new();
        for step in &recipe.steps {
            let title = step.name.get_ref();
            if !seen.insert(title.clone()) {
                say(
                    step.name.span(),
                    "C0003",
                    format!("two steps are named `{title}`"),
                    "give each step a name of its own",
                );
            }
            if step.files.is_empty() && step.images.is_empty() && step.run.is_none() {
                say(
                    step.name.span(),
                    "C0004",
                    format!("step `{title}` does nothing"),
                    "give it `run`, `files` or `images`",
                );
            }
            for image in &step.images {
                if !recipe.images.iter().any(|i| i.name.get_ref() == image.get_ref()) {
                    say(
                        image.span(),
                        "C0005",
                        format!("image `{}` is not among the recipe's images", image.get_ref()),
                        "add an [[image]] of that name",
                    );
                }
            }
            for f in &step.files {
                if f.content.is_some() == f.template.is_some() {
                    say(
                        f.path.span(),
                        "C0006",
                        format!("file {} needs either `content` or `template`", f.path.get_ref()),
                        "give exactly one of them",
                    );
                }
                if !f.path.get_ref().starts_with('/') {
                    say(
                        f.path.span(),
                        "C0007",
                        format!("file path `{}` is not absolute", f.path.get_ref()),
                        "begin it with /",
                    );
                }
                if u32::from_str_radix(&f.mode, 8).is_err() {
                    say(f.path.span(), "C0008", format!("mode `{}` is not octal", f.mode), "write it as \"0644\"");
                }
                if let Some(t) = &f.template
                    && !self.0.contains_key(t.get_ref())
                {
                    say(
                        t.span(),
                        "C0009",
                        format!("there is no template file `{}`", t.get_ref()),
                        "it must lie beside the recipe",
                    );
                }
            }
            if let Some(after) = &step.after {
                let good = after.get_ref() == "front-end"
                    || after.get_ref().strip_prefix("front-end/").is_some_and(|s| {
                        recipe.steps.iter().any(|o| o.name.get_ref() == s && o.on != On::Worker && o.name != step.name)
                    });
                if !good {
                    say(
                        after.span(),
                        "C0010",
                        format!("`after = \"{}\"` names no step of the front-end", after.get_ref()),
                        "write \"front-end\" or \"front-end/STEP NAME\"",
                    );
                }
                if step.on != On::Worker {
                    say(
                        after.span(),
                        "C0011",
                        format!("step `{title}` would wait for itself"),
                        "`after` is for steps with on = \"worker\"",
                    );
                }
            }
        }
        found
    }
}

/// A diagnostic that is an error.
pub(crate) fn diagnostic(code: &'static str, span: Span, message: String, help: &str) -> Diagnostic {
    Diagnostic { code, severity: Severity::Error, span, message, label: String::new(), help: help.to_owned() }
}
