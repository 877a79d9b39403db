//! Docs: each example of a config in the pages is one that the program takes, with every key that it names.

use std::path::Path;

use marea::cli::providers;
use marea::config::Loaded;

use crate::bmc::self_signed;

/// The examples of a page, each with the line that it begins at.
fn examples(page: &str) -> Vec<(usize, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```toml" => open = Some((number + 2, String::new())),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, example)) => example.extend([line, "\n"]),
        }
    }
    found
}

#[test]
fn every_example_of_a_config_is_taken_as_it_stands() {
    let mut wrong = Vec::new();
    for (page, least) in
        [("providers.md", 8), ("daemon.md", 1), ("decisions.md", 2), ("queues.md", 7), ("simulate.md", 1)]
    {
        let all = examples(page);
        assert!(all.len() >= least, "{page} has {} examples", all.len());
        for (line, text) in all {
            if let Err(error) = Loaded::parse(page, &text) {
                wrong.push(format!("the example at docs/{page}:{line}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Each provider that switches machines is made of its example, so that the words mean something together, too.
#[tokio::test]
async fn each_provider_is_made_of_its_example() {
    let at = tempfile::tempdir().unwrap();
    // An authority is read when the provider is made.
    let (certificate, _) = self_signed(at.path());
    let mut made = Vec::new();
    for (line, text) in examples("providers.md") {
        let whole = text.starts_with("provider = ") && !text.contains("provider = \"im\"");
        let joined = text.contains("power = {");
        if !whole && !joined {
            continue;
        }
        // What joins several stands beside the settings of the means that it names.
        let before = "provider = \"ipmi\"\n[ipmi]\nuser = \"marea\"\npassword_file = \"/etc/marea/bmc.password\"\n";
        let text = if joined { format!("{before}{text}") } else { text };
        let text = text.replace("/etc/marea/bmc-ca.pem", &certificate.display().to_string());
        let config = Loaded::parse("providers.md", &text).unwrap();
        let provider = providers::declared(&config, at.path())
            .unwrap_or_else(|error| panic!("the example at docs/providers.md:{line}: {error}"));
        made.push((config.config.provider, provider.list().await.unwrap()));
    }
    let names: Vec<String> = made.iter().map(|(provider, _)| format!("{provider:?}").to_lowercase()).collect();
    assert_eq!(names, ["ipmi", "ipmi", "redfish", "wol", "ssh", "command"]);
    assert!(made.iter().all(|(_, machines)| machines.len() == 1), "{made:?}");
}
