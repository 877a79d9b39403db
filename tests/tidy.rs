//! Tidy: what holds the house up is checked here, so that it needs no memory and no review.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    clippy::unused_self,
    clippy::zombie_processes,
    clippy::needless_for_each,
    unreachable_pub,
    reason = "a test program: it may fail and speak"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// Floor of each top module; `module::part` overrides for a part that stands elsewhere.
const FLOORS: &[(&str, u8)] = &[
    ("model", 0),
    ("diagnostic", 0),
    ("radl", 1),
    ("scheduling", 1),
    ("schedule", 1),
    ("autoscaler", 2),
    ("recipe", 2),
    ("functions", 2),
    ("clock", 3),
    ("remote", 3),
    ("simulate", 3),
    ("config", 3),
    ("bootstrap::plan", 3),
    ("functions::settings", 3),
    ("contextualize::plan", 3),
    ("provider", 4),
    ("kubernetes", 4),
    ("store", 4),
    ("metrics", 4),
    ("bundle", 4),
    ("s3", 4),
    ("functions::figures", 4),
    ("functions::machine", 4),
    ("functions::objects", 4),
    ("functions::store", 4),
    ("contextualize", 4),
    ("standin", 5),
    ("executor", 5),
    ("queue", 5),
    ("bootstrap", 5),
    ("http", 5),
    ("supervisor", 5),
    ("functions::gateway", 5),
    ("daemon", 6),
    ("cli", 7),
    ("main", 8),
    ("bin", 8),
    ("lib", 8),
];

/// Modules above floor 2 that are as pure as those below.
const PURE: &[&str] = &["simulate"];

/// What floors 0 to 2 may not name: they do no I/O and read no clock.
const IMPURE: &[&str] = &[
    "tokio",
    "kube::",
    "k8s_openapi",
    "reqwest",
    "openssh",
    "rusqlite",
    "axum",
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::io",
    "std::time::Instant",
    "SystemTime",
    "crate::clock",
    "rand::",
];

fn sources() -> BTreeMap<String, (PathBuf, String)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let module = path.strip_prefix("src").unwrap().with_extension("");
                let module = module.to_string_lossy().replace('/', "::");
                let text = fs::read_to_string(&path).unwrap();
                found.insert(module, (path, text));
            }
        }
    }
    found
}

fn floor(module: &str) -> Option<u8> {
    let mut best: Option<(usize, u8)> = None;
    for (name, floor) in FLOORS {
        let inside = module == *name || module.starts_with(&format!("{name}::"));
        if inside && best.is_none_or(|(length, _)| name.len() > length) {
            best = Some((name.len(), *floor));
        }
    }
    best.map(|(_, floor)| floor)
}

/// The code of a file without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or(text);
    text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every `crate::…` path a file names, groups unfolded one level.
fn imports(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let end = group.find("};").unwrap_or(group.len());
            paths.extend(group[..end].split([',', '{', '}']).map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()));
        } else {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
            paths.push(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    paths
}

#[test]
fn every_file_has_a_floor_and_imports_go_down() {
    let mut wrong = Vec::new();
    for (module, (path, text)) in &sources() {
        if module == "lib" || module == "main" {
            continue;
        }
        let Some(mine) = floor(module) else {
            wrong.push(format!("{}: no floor in tests/tidy.rs", path.display()));
            continue;
        };
        let folder = module.split("::").next().unwrap();
        for import in imports(&code(text)) {
            let own = import == folder || import.starts_with(&format!("{folder}::"));
            let theirs = floor(&import).unwrap_or(99);
            // The clock stands beside whom it tells the time: everything above the pure floors may read it.
            let clock = import.starts_with("clock") && mine >= 3;
            if !own && !clock && theirs >= mine {
                wrong.push(format!("{}: floor {mine} imports `{import}` of floor {theirs}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a text like `a::{b, c::{self, d}}` unfolds to.
fn unfold(text: &str) -> Vec<String> {
    let Some((front, rest)) = text.split_once('{') else {
        return vec![text.trim().to_owned()];
    };
    let inner = rest.strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                found.extend(unfold(part).into_iter().map(|part| format!("{}{part}", front.trim())));
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

/// The files that a file uses, but for those that it is in and those that are in it.
fn uses(module: &str, text: &str, all: &BTreeMap<String, (PathBuf, String)>) -> BTreeSet<String> {
    let code = code(text);
    let mut found = BTreeSet::new();
    for statement in code.split("use ").skip(1).filter_map(|rest| rest.split_once(';')) {
        for path in unfold(&statement.0.split_whitespace().collect::<Vec<_>>().join(" ")) {
            let mut at: Vec<&str> = module.split("::").collect();
            let mut words = path.split("::").peekable();
            match words.peek() {
                Some(&"crate") => at.clear(),
                Some(&("super" | "self")) => {}
                _ => continue,
            }
            for word in words {
                match word {
                    "crate" | "self" => {}
                    "super" => drop(at.pop()),
                    word => at.push(word),
                }
            }
            while !at.is_empty() && !all.contains_key(&at.join("::")) {
                at.pop();
            }
            let other = at.join("::");
            let within = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}::"));
            if !other.is_empty() && !within(module, &other) && !within(&other, module) {
                found.insert(other);
            }
        }
    }
    found
}

/// The shortest way from a file back to itself.
fn circle<'a>(graph: &'a BTreeMap<&str, BTreeSet<String>>, first: &'a str) -> Option<Vec<&'a str>> {
    let mut ways: VecDeque<Vec<&str>> = VecDeque::from([vec![first]]);
    let mut met: BTreeSet<&str> = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in graph.get(way[way.len() - 1]).into_iter().flatten() {
            let longer = [&way[..], &[next.as_str()]].concat();
            if next == first {
                return Some(longer);
            }
            if met.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

#[test]
fn files_use_each_other_in_no_circle() {
    assert_eq!(unfold("a::{b, c::{self, d}}"), ["a::b", "a::c::self", "a::c::d"]);
    let all = sources();
    let graph: BTreeMap<&str, BTreeSet<String>> =
        all.iter().map(|(module, (_, text))| (module.as_str(), uses(module, text, &all))).collect();
    assert!(
        graph["autoscaler::step"].contains("autoscaler::fold"),
        "imports are seen: {:?}",
        graph["autoscaler::step"]
    );
    let shortest = graph.keys().filter_map(|name| circle(&graph, name)).min_by_key(Vec::len);
    assert_eq!(shortest.map(|way| way.join(" uses ")), None, "put what two of them share in a file below both");
}

#[test]
fn the_lower_floors_do_no_io() {
    let mut wrong = Vec::new();
    for (module, (path, text)) in &sources() {
        let pure = PURE.iter().any(|name| module == name || module.starts_with(&format!("{name}::")));
        if pure || floor(module).is_some_and(|f| f <= 2) {
            let code = code(text);
            wrong.extend(
                IMPURE.iter().filter(|w| code.contains(**w)).map(|w| format!("{}: names `{w}`", path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_small_and_open_by_defining_their_word() {
    let mut wrong = Vec::new();
    for (path, text) in sources().values() {
        let lines = text.lines().count();
        if lines > 500 {
            wrong.push(format!("{}: {lines} lines, 500 at most", path.display()));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{}: does not open with //!", path.display()));
        }
        if path.ends_with("mod.rs") {
            wrong.push(format!("{}: no mod.rs here", path.display()));
        }
        for word in ["utils", "common", "manager", "helper"] {
            if path.file_stem().is_some_and(|s| s == word) {
                wrong.push(format!("{}: `{word}` says nothing", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paths_quoted_in_the_docs_exist() {
    let mut wrong = Vec::new();
    let mut pages: Vec<PathBuf> = fs::read_dir("docs").unwrap().map(|e| e.unwrap().path()).collect();
    pages.push(PathBuf::from("README.md"));
    for page in pages.iter().filter(|p| p.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(page).unwrap();
        for quoted in text.split('`').skip(1).step_by(2) {
            let ours =
                ["src/", "recipes/", "radl/", "systemd/", "tests/", "docs/"].iter().any(|top| quoted.starts_with(top));
            let plain = quoted.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
            if ours && plain && !Path::new(quoted).exists() {
                wrong.push(format!("{}: `{quoted}` does not exist", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
