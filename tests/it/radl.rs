//! RADL from outside: golden findings and specs, round trips, rubbish of every kind, and linear work.
//! `MAREA_BLESS=1 cargo test --test it radl` writes the golden files again: read the difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use marea::diagnostic::Severity;
use marea::radl::dialect::Dialect;
use marea::radl::{self, syntax::Document};
use proptest::prelude::*;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn fixtures(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join("tests/radl").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "radl"))
        .collect();
    found.sort();
    assert!(!found.is_empty());
    found
}

fn known(name: &str) -> bool {
    ["containerd", "kubernetes", "k", "x"].contains(&name)
}

/// Compares with the golden file, or writes it.
fn golden(fixture: &Path, got: &str) -> Result<(), String> {
    let file = fixture.with_extension("txt");
    if std::env::var_os("MAREA_BLESS").is_some() {
        fs::write(&file, got).unwrap();
        return Ok(());
    }
    let want = fs::read_to_string(&file).unwrap_or_default();
    if want == got { Ok(()) } else { Err(format!("{}: wanted\n{want}\ngot\n{got}", file.display())) }
}

/// The fixture as `load` takes it, under a path that is the same everywhere.
fn read(fixture: &Path) -> (String, String) {
    let name = fixture.file_name().unwrap().to_str().unwrap().to_owned();
    (name, fs::read_to_string(fixture).unwrap())
}

fn all_pass(results: Vec<Result<(), String>>) {
    let wrong: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn errors_look_as_they_should() {
    let check = |path: &PathBuf| {
        let file = read(path);
        let (name, text) = file.clone();
        let files = [file];
        let loaded = radl::load_with(&files, &known);
        if !loaded.has_errors() || loaded.spec.is_some() {
            return Err(format!("{name} has no error"));
        }
        let human = loaded.human(false);
        for found in loaded.located() {
            let place = format!("{name}:{}:{}", found.line, found.column);
            if !human.contains(&place)
                || !human.contains(found.code)
                || found.help.is_empty()
                || !human.contains("help: ")
            {
                return Err(format!("{name}: {place} {} is not shown whole in\n{human}", found.code));
            }
            // A caret stands under the line that is shown.
            let line = text.lines().nth(found.line - 1).unwrap_or("");
            if line.len() < 100 && !(human.contains(line.trim()) && human.contains('^')) {
                return Err(format!("{name}: line {} is not shown in\n{human}", found.line));
            }
        }
        golden(path, &human)
    };
    all_pass(fixtures("err").iter().map(check).collect());
}

#[test]
fn good_files_give_their_cluster() {
    let check = |path: &PathBuf| {
        let files = [read(path)];
        let loaded = radl::load(&files);
        let Some(spec) = &loaded.spec else { return Err(format!("{}:\n{}", files[0].0, loaded.human(false))) };
        let text =
            if loaded.dialect == Dialect::Im { radl::print(&radl::parse(&files[0].1).0) } else { loaded.im_text() };
        let spec = serde_json::to_string_pretty(spec).unwrap();
        golden(path, &format!("{text}\n---\n{spec}\n---\n{}", loaded.human(false)))
    };
    all_pass(fixtures("ok").iter().map(check).collect());
}

/// Each known quirk of the old parsers: what is said of it, and what --compat makes of it.
#[test]
fn quirks_are_named() {
    let check = |path: &PathBuf| {
        let files = [read(path)];
        // Whether it makes a cluster is not the question here.
        let of_cluster = |code: &str| ["R0060", "R0061", "R0062"].contains(&code);
        let mut strict = radl::load(&files);
        strict.diagnostics.retain(|found| !of_cluster(found.code));
        let input = radl::Input { files: &files, compat: true, ..radl::Input::default() };
        let mut compat = radl::load_as(&input, &|_| true);
        compat.diagnostics.retain(|found| !of_cluster(found.code));
        let read = if compat.faulty() { String::new() } else { compat.im_text() };
        let text = format!("{}--- with --compat\n{}{read}", strict.human(false), compat.human(false));
        golden(path, &text)
    };
    assert_eq!(fixtures("quirk").len(), 17, "section by section");
    all_pass(fixtures("quirk").iter().map(check).collect());
}

#[test]
fn formatting_loses_nothing() {
    for path in fixtures("ok").iter().chain(&fixtures("quirk")) {
        let text = fs::read_to_string(path).unwrap();
        let dialect = Dialect::of(&text);
        let laid = radl::format(&text, dialect);
        assert_eq!(radl::format(&laid, dialect), laid, "{}: once is enough", path.display());
        let comments = |text: &str| text.matches('#').count();
        assert_eq!(comments(&laid), comments(&text), "{}:\n{laid}", path.display());
        let ((before, first), (after, found)) = (radl::parse_in(&text, dialect), radl::parse_in(&laid, dialect));
        if first.iter().all(|one| one.severity != Severity::Error) {
            assert!(found.iter().all(|one| one.severity != Severity::Error), "{}:\n{laid}", path.display());
            assert_eq!(bare(&before), bare(&after), "{}:\n{laid}", path.display());
        }
    }
}

#[test]
fn shipped_files_have_no_finding() {
    for name in ["elastic-local", "elastic-machines"] {
        let file = root().join("radl").join(name).with_extension("radl");
        let files = [read(&file)];
        let loaded = radl::load_with(&files, &known);
        assert_eq!(loaded.human(false), "");
        let spec = loaded.spec.unwrap();
        assert_eq!(spec.name, name);
        assert!(spec.pools.iter().all(|pool| pool.recipes.len() == 2 && pool.max > pool.min));
    }
}

#[test]
fn several_files_are_one_document() {
    let files = [
        (
            "a/front.radl".to_owned(),
            "system front ( cpu.count = 2 and memory.size = 4 GiB )\ndeploy front 1".to_owned(),
        ),
        ("b/wn.radl".to_owned(), "description d\nsystem wn ( cpu.count = 1 and memory.size = 1 GiB )".to_owned()),
        ("c.radl".to_owned(), "\n  deploy wn 3\n".to_owned()),
    ];
    let loaded = radl::load(&files);
    assert_eq!(loaded.human(false), "");
    let spec = loaded.spec.unwrap();
    assert_eq!((spec.name.as_str(), spec.pools[0].max), ("d", 3));
    assert_eq!(
        radl::load(&files[..1]).spec.unwrap().name,
        "front",
        "without a description, the file names the cluster"
    );
    // A finding says its own file.
    let loaded = radl::load(&files[1..]);
    let found = loaded.located();
    assert_eq!((found[0].file, found[0].line, found[0].column, found[0].code), ("b/wn.radl", 2, 8, "R0060"));
    let files = [files[0].clone(), ("c.radl".to_owned(), "\n  deploy wm 3\n".to_owned())];
    let loaded = radl::load(&files);
    let found = loaded.located();
    assert_eq!((found[0].file, found[0].line, found[0].column, found[0].end_column), ("c.radl", 2, 10, 12));
}

/// A document without its spans, for comparison.
fn bare(document: &Document<'_>) -> serde_json::Value {
    fn forget(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.remove("span");
                fields.values_mut().for_each(forget);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(document).unwrap();
    forget(&mut value);
    value
}

#[test]
fn printing_loses_nothing() {
    for path in fixtures("ok") {
        let text = fs::read_to_string(&path).unwrap();
        let dialect = Dialect::of(&text);
        let (document, _) = radl::parse_in(&text, dialect);
        let printed = radl::print(&document);
        let (again, found) = radl::parse_in(&printed, dialect);
        assert!(found.is_empty(), "{}: {printed}\n{found:?}", path.display());
        assert_eq!(bare(&document), bare(&again), "{}", path.display());
        assert_eq!(radl::print(&again), printed, "canonical text is its own print");
    }
}

/// Everything that is done with a text, with the promises that hold for any.
fn survive(text: &str) {
    let (document, found) = radl::parse(text);
    for one in &found {
        assert!(one.span.start <= one.span.end && one.span.end <= text.len(), "{one:?}");
        assert!(text.is_char_boundary(one.span.start) && text.is_char_boundary(one.span.end), "{one:?}");
        assert!(!one.help.is_empty() && !one.label.is_empty() && !one.message.contains('\n'), "{one:?}");
    }
    assert!(
        !document.broken || found.iter().any(|one| one.severity == Severity::Error),
        "what is passed over is reported"
    );
    if found.is_empty() {
        let printed = radl::print(&document);
        let (again, found) = radl::parse(&printed);
        assert!(found.is_empty(), "{printed}\n{found:?}");
        assert_eq!(bare(&document), bare(&again));
    }
    let _ = radl::check(&document);
    let _ = radl::lower(&document, "any");
    let files = [("any.radl".to_owned(), text.to_owned())];
    let loaded = radl::load_with(&files, &known);
    let _ = (loaded.human(false), loaded.located(), loaded.im_text(), loaded.im_json(), loaded.origins());
    for dialect in [Dialect::Im, Dialect::Ec3] {
        for compat in [false, true] {
            let input = radl::Input { files: &files, dialect: Some(dialect), compat, ..radl::Input::default() };
            let loaded = radl::load_as(&input, &known);
            let _ = (loaded.human(false), loaded.im_text(), loaded.ec3_text());
        }
        let laid = radl::format(text, dialect);
        let (before, found) = radl::parse_in(text, dialect);
        if found.is_empty() {
            assert_eq!(bare(&before), bare(&radl::parse_in(&laid, dialect).0), "{text}\n{laid}");
        }
    }
}

fn soup() -> impl Strategy<Value = String> {
    let words = proptest::sample::select(vec![
        "network",
        "ansible",
        "system",
        "configure",
        "contextualize",
        "deploy",
        "description",
        "soft",
        "and",
        "contains",
        "step",
        "with",
        "option",
        "front",
        "wn",
        "cpu.count",
        "memory.size",
        "name",
        "disk.0.applications",
        "net_interface.1.connection",
        "ec3_max_instances",
        "gpu.count",
        "kubernetes.node_labels",
        "kubernetes.node_taints",
        "GiB",
        "e5",
        "(",
        ")",
        "(",
        ")",
        "[",
        "]",
        ",",
        "=",
        "=",
        "<",
        "<=",
        ">",
        ">=",
        "!=",
        "==",
        "1",
        "2.5",
        "-5",
        "99999999999999999999",
        "'a=b,c'",
        "'x:NoSchedule'",
        "'random(3)'",
        "'it\\'s'",
        "'",
        "\"q\"",
        "\"",
        "@begin\n- x\n@end",
        "@begin",
        "@end",
        "\n @end",
        "@input.x@",
        "#c\n",
        "\n",
        "$",
        "é",
        "\u{a0}",
        "\\",
    ]);
    let gap = proptest::sample::select(vec![" ", " ", " ", "\n", ""]);
    proptest::collection::vec((words, gap), 0..60)
        .prop_map(|parts| parts.into_iter().flat_map(|(word, gap)| [word, gap]).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_soup_of_tokens_is_survived(text in soup()) {
        survive(&text);
    }

    #[test]
    fn any_text_is_survived(text in "\\PC{0,80}") {
        survive(&text);
    }

    #[test]
    fn a_good_text_cut_anywhere_is_survived(at in 0_usize..3000) {
        let text = fs::read_to_string(root().join("tests/radl/ok/all-sentences.radl")).unwrap();
        let at = (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        survive(&text[..at]);
    }
}

/// Work grows as the text does: ten times the text is about ten times the steps, whatever is in it.
#[test]
fn work_is_linear() {
    let good = fs::read_to_string(root().join("tests/radl/ok/all-sentences.radl")).unwrap();
    for piece in [
        "(",
        ")",
        "system a (",
        "system a ( b contains (",
        "a contains (",
        "'",
        "\\'",
        "\\'\n",
        "'\n",
        "\"",
        "\"\n",
        "@begin\n",
        "@begin ",
        "\n @end",
        "@end",
        "[",
        "x = [",
        "$",
        "!",
        "-",
        "and ",
        "soft ",
        "é",
        "deploy a ",
        "contextualize (",
        "system a ( x = '\n' y ) ",
        "configure a ( @begin\n",
        "'a' '\n",
        "#",
        "\n",
        "option ",
        "x ",
        &good,
    ] {
        for (before, dialect) in
            [("", Dialect::Im), ("system s ( ", Dialect::Im), ("", Dialect::Ec3), ("system s ( ", Dialect::Ec3)]
        {
            let text = |times: usize| format!("{before}{}", piece.repeat(times));
            let (few, many) = (radl::steps(&text(200), dialect), radl::steps(&text(2000), dialect));
            assert!(many <= few * 11, "{piece:?} after {before:?}: {few} steps became {many}");
            assert!(many <= 8 * text(2000).len() as u64 + 100, "{piece:?} after {before:?}: {many} steps");
        }
    }
}

#[test]
fn a_megabyte_of_rubbish_is_survived() {
    for piece in
        ["(", "a contains (", "soft 1 (", "system a ( b contains (", "'\n", "\\'", "$ ", "@begin ", "deploy ", ") "]
    {
        let text = format!("system s ( {}", piece.repeat(if piece == "(" { 1 << 20 } else { (1 << 16) / piece.len() }));
        let (_, found) = radl::parse(&text);
        assert!(!found.is_empty() && found.len() < 1000, "{piece:?}: {} findings", found.len());
    }
}

/// Whoever reads it, however it is read: a megabyte of anything ends, and soon. Something quadratic would take hours.
#[test]
fn a_megabyte_is_read_in_every_way() {
    let pieces = [
        "(",
        "system a ( ",
        "'\\' ",
        "'\\\n",
        "\\'",
        "@begin\n",
        "a contains (",
        "soft 1 ( x = 1 ) and ",
        "x contains 'y' and ",
        "include a ( template = 'b' )\n",
        "system a configure b step 1 ",
        "- x: &a [*a]\n",
        "deploy a 1\n",
        "\n(",
        "[",
        "é",
        "{",
    ];
    for piece in pieces {
        for before in ["", "system s ( ", "contextualize ( ", "configure c (\n@begin\n"] {
            let mut text = format!("{before}{}", piece.repeat((1 << 20) / piece.len()));
            if before.starts_with("configure") {
                text.push_str("\n@end\n)\n");
            }
            for dialect in [Dialect::Im, Dialect::Ec3] {
                let _ = radl::parse_in(&text, dialect);
                let _ = radl::canonical(&text, dialect, true);
            }
            let _ = Dialect::of(&text);
        }
    }
    let many: Vec<String> = (0..40_000).map(|n| format!("x contains 'y{n}' and soft {n} ( z = {n} )")).collect();
    let text = format!(
        "system a ( {} )\ncontextualize ( {} )\n",
        many.join(" and "),
        "system a configure b step 1 ".repeat(40_000)
    );
    assert!(radl::canonical(&text, Dialect::Ec3, true).is_some());
}

#[test]
fn a_recipe_of_a_hundred_megabytes_is_passed_through() {
    let recipe = "- shell: echo one more line of a recipe\n".repeat(100_000_000 / 40 + 1);
    let text = format!("configure a (\n@begin\n{recipe}@end\n)\n");
    assert!(text.len() > 100_000_000);
    let (document, found) = radl::parse(&text);
    assert!(found.is_empty() && document.sentences.len() == 1);
    assert!(radl::check(&document).is_empty(), "what is that long is Ansible's to look into");
    assert!(radl::parse_in(&text, Dialect::Ec3).1.is_empty());
    assert!(radl::canonical(&text, Dialect::Ec3, true).is_none(), "EC3 would look into it: that is too long");
}

fn codes_in(text: &str) -> BTreeSet<&str> {
    let is_code = |at: usize| {
        text.get(at..at + 5)
            .filter(|code| code.starts_with("R0") && code.bytes().skip(1).all(|byte| byte.is_ascii_digit()))
    };
    text.match_indices("R0").filter_map(|(at, _)| is_code(at)).collect()
}

fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_code_is_explained_and_seen() {
    let mut source = String::new();
    sources(&root().join("src/radl"), &mut source);
    source.push_str(&fs::read_to_string(root().join("src/cli/check.rs")).unwrap());
    let used = codes_in(&source);
    let manual = fs::read_to_string(root().join("docs/radl.md")).unwrap();
    assert_eq!(codes_in(&manual), used, "docs/radl.md lists each code and no other");
    let mut seen = String::new();
    for path in fixtures("err").iter().chain(&fixtures("ok")).chain(&fixtures("quirk")) {
        seen.push_str(&fs::read_to_string(path.with_extension("txt")).unwrap_or_default());
    }
    let seen = codes_in(&seen);
    // An unreadable file and an endless list of findings are no fixtures.
    let unseen: Vec<_> = used.difference(&seen).filter(|code| !["R0000", "R0033"].contains(code)).collect();
    assert!(unseen.is_empty(), "no fixture shows {unseen:?}");
}
