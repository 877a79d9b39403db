//! Merging: what a document asks for becomes an ordered list of recipes with every parameter set.
//! A recipe comes after all that it requires; a cycle, an unknown name or a value of the wrong type is a finding.

use std::collections::BTreeMap;

use super::{Finding, Recipe, Sources, Value, diagnostic};
use crate::diagnostic::Span;
use crate::model::cluster::RecipeUse;

/// A recipe with its parameters set.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The recipe.
    pub recipe: Recipe,
    /// Every parameter's value.
    pub parameters: BTreeMap<String, Value>,
}

/// Orders the recipes that `uses` need, requirements first, else in the order asked for.
pub fn resolve(sources: &Sources, uses: &[RecipeUse]) -> Result<Vec<Resolved>, Vec<Finding>> {
    let mut walk = Walk { sources, uses, done: Vec::new(), path: Vec::new(), findings: Vec::new() };
    for one in uses {
        walk.visit(&one.name, None);
    }
    if walk.findings.is_empty() { Ok(walk.done) } else { Err(walk.findings) }
}

struct Walk<'a> {
    sources: &'a Sources,
    uses: &'a [RecipeUse],
    done: Vec<Resolved>,
    path: Vec<String>,
    findings: Vec<Finding>,
}

impl Walk<'_> {
    /// `from` is the file and place that asked; a document's own place is its parser's business.
    fn visit(&mut self, name: &str, from: Option<(&str, std::ops::Range<usize>)>) {
        if self.done.iter().any(|r| r.recipe.name.get_ref() == name) {
            return;
        }
        let say = |sources: &Sources, code, message: String, help: &str| match from.clone() {
            Some((file, span)) => sources.finding(file, span, code, message, help),
            None => asked(code, message, help),
        };
        if let Some(start) = self.path.iter().position(|p| p == name) {
            let circle = self.path.get(start..).unwrap_or_default().join(" -> ");
            self.findings.push(say(
                self.sources,
                "C0020",
                format!("recipes require each other in a circle: {circle} -> {name}"),
                "take one `requires` out",
            ));
            return;
        }
        if !self.sources.0.contains_key(&format!("{name}.toml")) {
            let known: Vec<_> = self.sources.0.keys().filter_map(|f| f.strip_suffix(".toml")).collect();
            let help = format!("known recipes: {}; --recipes DIR adds your own", known.join(", "));
            self.findings.push(say(self.sources, "C0021", format!("there is no recipe `{name}`"), &help));
            return;
        }
        let recipe = match self.sources.read(name) {
            Ok(recipe) => recipe,
            Err(findings) => return self.findings.extend(findings),
        };
        self.path.push(name.to_owned());
        let file = format!("{name}.toml");
        for required in &recipe.requires {
            self.visit(required.get_ref(), Some((&file, required.span())));
        }
        self.path.pop();
        match parameters(&recipe, self.uses.iter().find(|u| u.name == name)) {
            Ok(parameters) => self.done.push(Resolved { recipe, parameters }),
            Err(findings) => self.findings.extend(findings),
        }
    }
}

fn asked(code: &'static str, message: String, help: &str) -> Finding {
    Finding { file: None, line: 0, diagnostic: diagnostic(code, Span { start: 0, end: 0 }, message, help) }
}

fn parameters(recipe: &Recipe, asks: Option<&RecipeUse>) -> Result<BTreeMap<String, Value>, Vec<Finding>> {
    let name = recipe.name.get_ref();
    let mut given: BTreeMap<&str, &str> = BTreeMap::new();
    if let Some(asks) = asks {
        given.extend(asks.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        if let Some(version) = &asks.version {
            given.insert("version", version);
        }
    }
    let mut findings = Vec::new();
    let mut values = BTreeMap::new();
    for (key, text) in &given {
        let Some(parameter) = recipe.parameters.get(*key) else {
            let known: Vec<_> = recipe.parameters.keys().map(String::as_str).collect();
            findings.push(asked(
                "C0022",
                format!("recipe `{name}` has no parameter `{key}`"),
                &format!("it has: {}", known.join(", ")),
            ));
            continue;
        };
        let like = parameter.default.clone().unwrap_or(Value::Text(String::new()));
        match like.read_alike(text) {
            Some(value) => drop(values.insert((*key).to_owned(), value)),
            None => findings.push(asked(
                "C0023",
                format!("parameter `{key}` of recipe `{name}` must be {}", like.kind()),
                &parameter.help,
            )),
        }
    }
    for (key, parameter) in &recipe.parameters {
        if given.contains_key(key.as_str()) {
            continue;
        }
        match &parameter.default {
            Some(value) => drop(values.insert(key.clone(), value.clone())),
            None => {
                findings.push(asked("C0024", format!("recipe `{name}` needs the parameter `{key}`"), &parameter.help));
            }
        }
    }
    if findings.is_empty() { Ok(values) } else { Err(findings) }
}
