//! A template: text with `{{ }}` in it, rendered strictly. A name that is not set is an error with its
//! line, because an empty string in a configuration file is found out much later and elsewhere.

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

/// Why a template did not render.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: line {line}: {reason}")]
pub struct TemplateError {
    /// Which text.
    pub name: String,
    /// Line in it, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// Renders `text` with `context`.
pub fn render(name: &str, text: &str, context: &impl Serialize) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // Blocks on lines of their own leave no line behind, and the last newline stays: configuration files want it.
    let whitespace = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(whitespace.unwrap_or_default());
    environment.render_named_str(name, text, minijinja::value::Serde(context)).map_err(|error| TemplateError {
        name: name.to_owned(),
        line: error.line().unwrap_or(1),
        reason: error.detail().map_or_else(|| error.to_string(), |d| format!("{}: {d}", error.kind())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn an_unset_name_is_an_error_with_its_line() {
        let context = BTreeMap::from([("a", "1")]);
        assert_eq!(render("t", "x {{ a }}\n", &context).unwrap(), "x 1\n");
        let error = render("t", "fine\n{{ b }}\n", &context).unwrap_err();
        assert_eq!((error.line, error.name.as_str()), (2, "t"));
    }
}
