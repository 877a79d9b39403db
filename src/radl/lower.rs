//! Lowering: from a checked document to the cluster that it asks for. One system is the front-end, every
//! other is a pool of workers.

use std::collections::BTreeMap;

use super::features::{Features, Property};
use super::report::Report;
use super::syntax::{AspectKind, Comparator, Deploy, Document, Feature, Name};
use super::unit::{self, ONE};
use crate::diagnostic::Span;
use crate::model::cluster::{ClusterSpec, Pool, RecipeUse};

mod context;
mod node;

pub(super) use context::contextualization;

/// The features of one system.
struct System<'a> {
    id: Name<'a>,
    features: Features<'a>,
}

/// Lowers a document. Nothing when there is an error.
pub(super) fn lower(document: &Document<'_>, file_stem: &str, report: &mut Report) -> Option<ClusterSpec> {
    // What is wrong with features was reported by the check.
    let mut silent = Report::default();
    let systems: Vec<System<'_>> = document
        .aspects(AspectKind::System)
        .map(|aspect| System {
            id: aspect.id,
            features: Features::of(aspect.features.as_deref().unwrap_or(&[]), &mut silent),
        })
        .collect();
    let front = front_end(&systems, report)?;
    let mut deploys: BTreeMap<&str, Vec<&Deploy<'_>>> = BTreeMap::new();
    for deploy in document.deploys() {
        deploys.entry(deploy.system.text).or_default().push(deploy);
    }
    let mut front_end = None;
    let mut pools = Vec::new();
    for (at, system) in systems.iter().enumerate() {
        let of_system = deploys.get(system.id.text).map_or(&[][..], Vec::as_slice);
        let pool = pool(system, of_system, at == front, report);
        if at == front { front_end = Some(pool) } else { pools.push(pool) }
    }
    if report.has_errors() {
        return None;
    }
    let name = document.aspects(AspectKind::Description).next().map_or(file_stem, |aspect| aspect.id.text);
    Some(ClusterSpec { name: name.to_owned(), front_end: front_end?, pools })
}

/// Which system is the front-end.
fn front_end(systems: &[System<'_>], report: &mut Report) -> Option<usize> {
    let by_name = systems.iter().position(|system| system.id.text == "front");
    let by_role = || {
        let mut role = systems
            .iter()
            .enumerate()
            .filter(|(_, system)| system.features.text("ec3_node_type").is_some_and(|(text, _)| text.raw == "front"));
        role.next().map(|(at, _)| at)
    };
    let found = by_name.or_else(by_role);
    if found.is_none() {
        let span = systems.first().map_or(Span { start: 0, end: 0 }, |system| system.id.span);
        report.error(
            "R0060",
            span,
            "no system is the front-end",
            if systems.is_empty() { "no system at all" } else { "a worker" },
            "declare `system front ( ... )` and `deploy front 1`, or give one system ec3_node_type = 'front'",
        );
    }
    found
}

fn pool(system: &System<'_>, deploys: &[&Deploy<'_>], front: bool, report: &mut Report) -> Pool {
    let System { id, features } = system;
    let valid = id.text.len() <= 40
        && id.text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && id.text.starts_with(|c: char| c.is_ascii_lowercase())
        && !id.text.ends_with('-');
    if !valid {
        let message = format!("machines cannot be named after `{}`", super::features::short(id.text));
        report.error(
            "R0076",
            id.span,
            message,
            "no host name",
            "use small letters, digits and `-`, 40 at most, with a letter first",
        );
    }
    let (min, max) = if front { only_one(id, deploys, report) } else { how_many(system, deploys, report) };
    let cpus = needed(system, "cpu.count", "2", report);
    let memory = needed(system, "memory.size", "4 GiB", report);
    if let Some((range, span)) = features.number("memory.size").filter(|_| (1..1 << 27).contains(&memory)) {
        let unit = range.written.unit.map_or("", |unit| unit.text);
        let help = format!("is the unit missing? `memory.size = {} MiB`", range.written.digits);
        report.warning("R0073", span, format!("{}{unit} is very little memory", range.written.digits), "bytes", help);
    }
    Pool {
        name: id.text.to_owned(),
        min,
        max,
        cpus: small(cpus, "cpu.count", features, report),
        memory,
        extended: node::devices(features, report),
        labels: node::labels(features, report),
        taints: node::taints(features, report),
        recipes: recipes(features, report),
    }
}

/// The front-end is deployed, and once.
fn only_one(id: &Name<'_>, deploys: &[&Deploy<'_>], report: &mut Report) -> (u32, u32) {
    let fine = matches!(deploys, [deploy] if deploy.count.digits.trim_start_matches('0') == "1");
    if !fine {
        let span = deploys.last().map_or(id.span, |deploy| deploy.count.span);
        let label = if deploys.is_empty() { "never deployed" } else { "not once" };
        report.error(
            "R0061",
            span,
            "the front-end is deployed once",
            label,
            format!("write `deploy {} 1`, once", id.text),
        );
    }
    (1, 1)
}

/// How many machines of a pool are always on, and how many there are.
fn how_many(system: &System<'_>, deploys: &[&Deploy<'_>], report: &mut Report) -> (u32, u32) {
    let System { id, features } = system;
    let deployed =
        deploys.iter().fold(0_u32, |sum, deploy| sum.saturating_add(deploy.count.digits.parse().unwrap_or(u32::MAX)));
    if let [_, .., last] = deploys {
        let message = format!("`{}` is deployed more than once: {deployed} in all", id.text);
        report.warning(
            "R0072",
            last.system.span,
            message,
            "adds to the others",
            "write one `deploy` with the whole count",
        );
    }
    let mut read = |name| {
        features
            .number(name)
            .map(|(range, span)| (small(count(name, range.chosen(), span, report), name, features, report), span))
    };
    let least = read("ec3_min_instances");
    let most = read("ec3_max_instances");
    let min = deployed.max(least.map_or(0, |(least, _)| least));
    let max = most.map_or(min, |(most, _)| most);
    if min > max {
        let span = most.map_or(id.span, |(_, span)| span);
        report.error(
            "R0064",
            span,
            format!("`{}` keeps {min} machines on and has {max}", id.text),
            "fewer than stay on",
            "raise ec3_max_instances, or lower ec3_min_instances or the count of `deploy`",
        );
    } else if max == 0 {
        report.error(
            "R0065",
            most.map_or(id.span, |(_, span)| span),
            format!("pool `{}` has no machine", id.text),
            "how many are there?",
            "say how many machines it has: `ec3_max_instances = 3`",
        );
    }
    (min, max)
}

/// A number that a pool cannot do without. Zero when it is missing, which is reported.
fn needed(system: &System<'_>, name: &str, example: &str, report: &mut Report) -> u64 {
    let Some((range, span)) = system.features.number(name) else {
        // A value of another kind was reported by the check.
        if !system.features.properties.contains_key(name) {
            let message = format!("system `{}` does not say its `{name}`", system.id.text);
            report.error("R0062", system.id.span, message, "incomplete", format!("add `{name} = {example}`"));
        }
        return 0;
    };
    let found = count(name, range.chosen(), span, report);
    if range.chosen() == 0 {
        report.error(
            "R0063",
            span,
            format!("`{name}` is zero"),
            "a machine needs more",
            format!("write `{name} = {example}`"),
        );
    }
    found
}

fn count(name: &str, nano: u128, span: Span, report: &mut Report) -> u64 {
    unit::whole(nano).unwrap_or_else(|| {
        // A fraction of bytes was reported by the check.
        if name != "memory.size" {
            let message = format!("`{name}` is {}, which is no whole number", unit::show(nano));
            report.error(
                "R0063",
                span,
                message,
                "not whole",
                format!("write a whole number, such as {}", (nano / ONE).max(1)),
            );
        }
        0
    })
}

fn small(number: u64, name: &str, features: &Features<'_>, report: &mut Report) -> u32 {
    u32::try_from(number).unwrap_or_else(|_| {
        let span = features.number(name).map_or(Span { start: 0, end: 0 }, |(_, span)| span);
        report.error("R0029", span, "this number is out of range", "too large", "stay below 2^32");
        0
    })
}

/// The applications that are recipes, in the order of the text.
fn recipes(features: &Features<'_>, report: &mut Report) -> Vec<RecipeUse> {
    let mut recipes = Vec::new();
    for (name, inner) in features.elements("disk.0.applications") {
        if name.raw.starts_with("ansible.") {
            // A role or a collection: it is no recipe, but what recipes need.
            continue;
        }
        if inner.text("preinstalled").is_some_and(|(text, _)| text.raw == "yes") {
            continue;
        }
        let version = inner.text("version");
        if let Some((text, how)) = version
            && how != Comparator::Equal
        {
            let help = format!("write `version = '{}'`: a recipe installs one version", text.raw);
            report.error(
                "R0069",
                text.span,
                format!("`version {}` leaves the version open", how.symbol()),
                "not one version",
                help,
            );
        }
        if let Some((Property::Number(_) | Property::List(_) | Property::Elements(_), span)) =
            inner.properties.get("version")
        {
            report.error("R0069", *span, "a version is a text", "not a text", "write `version = '1.2.3'`");
        }
        let parameters =
            inner.properties.iter().filter(|(key, _)| !matches!(**key, "name" | "version" | "preinstalled"));
        let parameters = parameters
            .filter_map(|(key, (property, _))| Some(((*key).to_owned(), Features::written(property)?.into_owned())));
        recipes.push(RecipeUse {
            name: name.meaning().into_owned(),
            version: version.map(|(text, _)| text.meaning().into_owned()),
            parameters: parameters.collect(),
        });
    }
    recipes
}

/// Reports applications that no recipe stands for.
pub(super) fn check_recipes(document: &Document<'_>, known: &dyn Fn(&str) -> bool, report: &mut Report) {
    let mut silent = Report::default();
    for aspect in document.aspects(AspectKind::System) {
        let features: &[Feature<'_>] = aspect.features.as_deref().unwrap_or(&[]);
        for (name, inner) in Features::of(features, &mut silent).elements("disk.0.applications") {
            let meaning = name.meaning();
            let preinstalled = inner.text("preinstalled").is_some_and(|(text, _)| text.raw == "yes");
            if meaning.starts_with("ansible.") || preinstalled || known(&meaning) {
                continue;
            }
            let help = match neighbour(&meaning, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`marea recipe list` lists the recipes; a new one is a TOML file beside them".to_owned(),
            };
            let message = format!("there is no recipe `{}`", super::features::short(&meaning));
            report.error("R0070", name.span, message, "unknown recipe", help);
        }
    }
}

/// A known name one edit away: one letter less, more, other, or two swapped.
fn neighbour(name: &str, known: &dyn Fn(&str) -> bool) -> Option<String> {
    let lower = name.to_lowercase().replace(['_', ' '], "-");
    if !(3..=64).contains(&lower.len()) || !lower.is_ascii() {
        return None;
    }
    if known(&lower) {
        return Some(lower);
    }
    let letters = || ('a'..='z').chain('0'..='9').chain(['-']);
    let at = |edit: &dyn Fn(&str, &str) -> Vec<String>| {
        (0..=lower.len()).flat_map(|at| edit(&lower[..at], &lower[at..])).find(|candidate| known(candidate))
    };
    at(&|left, right| right.get(1..).map(|rest| format!("{left}{rest}")).into_iter().collect())
        .or_else(|| at(&|left, right| letters().map(|letter| format!("{left}{letter}{right}")).collect()))
        .or_else(|| {
            at(&|left, right| {
                right
                    .get(1..)
                    .map(|rest| letters().map(|letter| format!("{left}{letter}{rest}")).collect())
                    .unwrap_or_default()
            })
        })
        .or_else(|| {
            at(&|left, right| match (right.get(..1), right.get(1..2)) {
                (Some(first), Some(second)) => vec![format!("{left}{second}{first}{}", &right[2..])],
                _ => Vec::new(),
            })
        })
}
