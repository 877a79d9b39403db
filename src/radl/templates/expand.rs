//! What recipes ask of the document: `ec3_append` puts another recipe's plays in, `ec3_prio` orders plays, and a
//! variable that is `ec3_file`, `ec3_xpath` or `ec3_jpath` becomes what that names.

use super::path;
use crate::diagnostic::Span;
use crate::radl::content::{Content, Part, Plays};
use crate::radl::report::Report;
use crate::radl::yaml::Node;

pub(super) fn expand(
    content: &mut Content<'_>,
    file: &dyn Fn(&str) -> Option<String>,
    compat: bool,
    report: &mut Report,
) {
    let recipes: Vec<(String, Span)> = content
        .parts
        .values()
        .filter_map(|part| match part {
            Part::Recipe(recipe) => Some((recipe.id.clone().into_owned(), recipe.span)),
            Part::Thing(_) | Part::Context(_) | Part::Order(_) => None,
        })
        .collect();
    for (id, span) in &recipes {
        match appended(content, id, &mut Vec::new(), compat) {
            Ok(Some(plays)) => set(content, id, plays),
            Ok(None) => {}
            Err(message) => {
                fault(*span, message, "`ec3_append: NAME` names a `configure` that holds a list of plays", report);
            }
        }
    }
    for (id, span) in &recipes {
        if let Err(message) = order(content, id) {
            fault(*span, message, "give every play of the recipe a number as `ec3_prio`, or none of them", report);
        }
    }
    // A path into a recipe sees it with its variables filled in.
    for second in [false, true] {
        for (id, span) in &recipes {
            variables(content, id, *span, file, second, report);
        }
    }
}

fn fault(span: Span, message: String, help: &str, report: &mut Report) {
    report.error("R0084", span, message, "in this recipe", help);
}

fn plays<'c>(content: &'c Content<'_>, id: &str) -> Option<&'c [Node]> {
    match &content.recipe(id)?.body {
        Plays::Data(Node::List(plays)) => Some(plays),
        Plays::Data(_) | Plays::Text(_) | Plays::Reference | Plays::Nothing => None,
    }
}

fn set(content: &mut Content<'_>, id: &str, plays: Vec<Node>) {
    if let Some(recipe) = content.recipe_mut(id) {
        recipe.body = Plays::Data(Node::List(plays));
    }
}

/// A recipe's plays with those that it appends. EC3 takes another recipe as it is at the time; here an appended recipe
/// has its own appended first.
fn appended(content: &Content<'_>, id: &str, way: &mut Vec<String>, compat: bool) -> Result<Option<Vec<Node>>, String> {
    let Some(own) = plays(content, id) else { return Ok(None) };
    if !own.iter().any(|play| play.get("ec3_append").is_some()) {
        return Ok(Some(own.to_vec()));
    }
    if way.iter().any(|known| known == id) {
        return Err(format!("recipe `{id}` appends itself"));
    }
    way.push(id.to_owned());
    let mut all = Vec::new();
    for play in own {
        let Some(name) = play.get("ec3_append") else {
            all.push(play.clone());
            continue;
        };
        let name = name.as_text().unwrap_or("");
        let there =
            if compat { plays(content, name).map(<[Node]>::to_vec) } else { appended(content, name, way, compat)? };
        all.extend(there.ok_or_else(|| format!("there is no recipe `{name}` to append, or it is no list of plays"))?);
    }
    way.pop();
    Ok(Some(all))
}

/// Orders plays by `ec3_prio`; one without it has its place in the list as its number.
fn order(content: &mut Content<'_>, id: &str) -> Result<(), String> {
    let Some(own) = plays(content, id).filter(|own| own.iter().any(|play| play.get("ec3_prio").is_some())) else {
        return Ok(());
    };
    let mut ranked = Vec::new();
    for (at, play) in own.iter().enumerate() {
        if !matches!(play, Node::Map(_)) {
            return Err("a recipe with `ec3_prio` holds something that is no play".to_owned());
        }
        let number = match play.get("ec3_prio") {
            Some(number) => number.as_number().ok_or("`ec3_prio` must be a number")?,
            #[expect(clippy::cast_precision_loss, reason = "no recipe has 2^53 plays")]
            None => at as f64,
        };
        let mut play = play.clone();
        play.take("ec3_prio");
        ranked.push((number, play));
    }
    ranked.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    set(content, id, ranked.into_iter().map(|(_, play)| play).collect());
    Ok(())
}

fn variables(
    content: &mut Content<'_>,
    id: &str,
    span: Span,
    file: &dyn Fn(&str) -> Option<String>,
    second: bool,
    report: &mut Report,
) {
    let Some(mut own) = plays(content, id).map(<[Node]>::to_vec) else { return };
    let mut changed = false;
    for play in &mut own {
        let Some(Node::Map(vars)) = play.get_mut("vars") else { continue };
        for (name, value) in vars {
            let ask = |word: &str| value.get(word).and_then(Node::as_text).filter(|text| !text.is_empty());
            let found = if let Some(path) = ask("ec3_file") {
                let text = file(path).ok_or_else(|| format!("there is no file `{path}` beside the templates"));
                text.map(|text| Node::text(quiet(&text)))
            } else if let Some(path) = ask("ec3_xpath").filter(|path| second || !into_recipe(path)) {
                path::text(content, path).map(|text| Node::text(quiet(&text)))
            } else if let Some(path) = ask("ec3_jpath").filter(|path| second || !into_recipe(path)) {
                path::data(content, path).map(|data| Node::of(&data))
            } else {
                continue;
            };
            let credentials = ["ec3_xpath", "ec3_jpath"].into_iter().any(|word| ask(word) == Some(CREDENTIALS));
            match found {
                Err(_) if credentials => {
                    report.warning(
                        "R0089",
                        span,
                        "the credentials that a variable asks for are left out",
                        "an empty text in their place",
                        "no secret is put into a document: give the recipe its credentials in another way",
                    );
                    *value = Node::text("");
                    changed = true;
                }
                Ok(found) => {
                    *value = found;
                    changed = true;
                }
                Err(message) => {
                    let name = name.as_text().unwrap_or("");
                    let help =
                        "a path is /CLASS/ID, /CLASS/ID/FEATURE or /CLASS/*, of something that the templates declare";
                    fault(span, format!("variable `{name}`: {message}"), help, report);
                    // Once is enough.
                    *value = Node::null();
                    changed = true;
                }
            }
        }
    }
    if changed {
        set(content, id, own);
    }
}

/// Where EC3 puts all of its user's credentials.
const CREDENTIALS: &str = "/system/front/auth";

fn into_recipe(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    parts.len() < 3 || parts.get(1) == Some(&"configure")
}

/// Braces would be Jinja's.
fn quiet(text: &str) -> String {
    text.replace('{', "\\x7b").replace('}', "\\x7d")
}
