//! From `configure`, `contextualize` and applications to what Ansible is to do.

use std::collections::BTreeMap;

use crate::model::context::{Contextualization, Item, Password, PoolFacts, Recipe, Requirement, RequirementKind};
use crate::radl::features::{Features, short};
use crate::radl::report::Report;
use crate::radl::syntax::{AspectKind, Body, Document, Feature, Name, Sentence};
use crate::radl::yaml::{self, Node, Scalar};

/// What a document asks of Ansible. What is wrong with it is reported.
pub(in crate::radl) fn contextualization(document: &Document<'_>, report: &mut Report) -> Contextualization {
    let mut all = Contextualization::default();
    facts(document, &mut all);
    let mut bodies: BTreeMap<&str, (Name<'_>, &str)> = BTreeMap::new();
    let mut contexts = false;
    for sentence in &document.sentences {
        match sentence {
            Sentence::Configure(configure) => {
                if let Body::Recipe(text) = configure.body {
                    bodies.insert(configure.id.text, (configure.id, text));
                }
            }
            Sentence::Contextualize(context) => {
                contexts = true;
                let seconds = context.max_time.and_then(|number| number.digits.parse::<f64>().ok());
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "RADL has no negative numbers"
                )]
                let seconds = seconds.map(|seconds| seconds as u64).filter(|seconds| *seconds > 0);
                all.max_time = all.max_time.max(seconds);
                for item in &context.items {
                    if let Some(tool) = item.tool
                        && !tool.text.eq_ignore_ascii_case("ansible")
                    {
                        report.warning(
                            "R0087",
                            tool.span,
                            format!("`{}` is not run: only Ansible configures machines", short(tool.text)),
                            "passed over",
                            "take `with` away to run this recipe by Ansible",
                        );
                        continue;
                    }
                    all.items.push(Item {
                        // As in IM: what names no step runs in the first.
                        step: item.step.and_then(|step| step.digits.parse().ok()).filter(|step| *step > 0).unwrap_or(1),
                        pool: item.system.text.to_owned(),
                        recipe: item.configure.text.to_owned(),
                    });
                }
            }
            Sentence::Aspect(_) | Sentence::Deploy(_) => {}
        }
    }
    // Without a word on it, a system is configured by the recipe of its own name.
    if !contexts {
        for system in document.aspects(AspectKind::System) {
            if bodies.contains_key(system.id.text) {
                let name = system.id.text.to_owned();
                all.items.push(Item { step: 1, pool: name.clone(), recipe: name });
            }
        }
    }
    all.items.retain(|item| bodies.contains_key(item.recipe.as_str()));
    all.items.sort_by_key(|item| item.step);
    for item in &all.items {
        let Some((id, text)) = bodies.get(item.recipe.as_str()) else { continue };
        if all.recipes.contains_key(&item.recipe) {
            continue;
        }
        if text.trim_start().starts_with("$ANSIBLE_VAULT") {
            all.recipes.insert(item.recipe.clone(), Recipe::Vault(format!("{}\n", text.trim())));
            continue;
        }
        match playbook(text) {
            Ok(text) => drop(all.recipes.insert(item.recipe.clone(), Recipe::Playbook(text))),
            Err(message) => report.error(
                "R0088",
                id.span,
                format!("Ansible cannot run `{}`: {message}", short(id.text)),
                "no playbook",
                "write a list of plays: each a map, with `tasks` or `roles`",
            ),
        }
    }
    all
}

/// A recipe as a playbook: a play that names no hosts is for the machines that are configured.
fn playbook(text: &str) -> Result<String, String> {
    let Node::List(mut plays) = yaml::load(text, yaml::Tags::Any)? else {
        return Err("it is no list of plays".to_owned());
    };
    for play in &mut plays {
        let named =
            ["hosts", "import_playbook", "ansible.builtin.import_playbook"].iter().any(|key| play.get(key).is_some());
        let Node::Map(entries) = play else { return Err("one of its plays is no map".to_owned()) };
        if !named {
            let plain = |text: &str| Node::Scalar(Scalar { text: text.to_owned(), plain: true, tag: None });
            entries.insert(0, (plain("hosts"), plain("all")));
        }
    }
    Ok(format!("---\n{}", yaml::dump(&Node::List(plays))))
}

fn facts(document: &Document<'_>, all: &mut Contextualization) {
    let mut silent = Report::silent();
    for system in document.aspects(AspectKind::System) {
        let given: &[Feature<'_>] = system.features.as_deref().unwrap_or(&[]);
        // Few documents have Ansible: most systems say nothing of it.
        let features = Features::of(given, &mut silent);
        let pool = system.id.text.to_owned();
        let text = |name: &str| features.text(name).map(|(text, _)| text.meaning().into_owned());
        let mut facts = PoolFacts {
            dns_name: text("net_interface.0.dns_name"),
            vault: text("vault.password").map(Password),
            ..PoolFacts::default()
        };
        for (name, inner) in features.elements("disk.0.applications") {
            let part = |name: &str| inner.text(name).map_or_else(String::new, |(text, _)| text.meaning().into_owned());
            let name = name.meaning();
            let asked = [
                ("ansible.roles.", RequirementKind::Role),
                ("ansible.modules.", RequirementKind::Role),
                ("ansible.collections.", RequirementKind::Collection),
            ];
            let found = asked.into_iter().find_map(|(prefix, kind)| Some((name.strip_prefix(prefix)?, kind)));
            if let Some((source, kind)) = found {
                let (source, version) = source.split_once(',').unwrap_or((source, ""));
                let version = if version.is_empty() { part("version") } else { version.to_owned() };
                all.requirements.push(Requirement {
                    kind,
                    source: source.to_owned(),
                    version: (!version.is_empty()).then_some(version),
                    pool: pool.clone(),
                });
            } else {
                facts.applications.push((name.into_owned(), part("version"), part("path")));
            }
        }
        all.pools.insert(pool, facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (Contextualization, Vec<&'static str>) {
        let (document, _) = crate::radl::parse(text);
        let mut report = Report::default();
        let all = contextualization(&document, &mut report);
        (all, report.finish().iter().map(|found| found.code).collect())
    }

    #[test]
    fn without_a_word_a_system_runs_its_own_recipe() {
        let (all, found) = of(
            "system front ()\nsystem wn ()\nconfigure wn (\n@begin\n- tasks: []\n@end\n)\nconfigure x (\n@begin\n- roles: [a]\n@end\n)",
        );
        assert!(found.is_empty());
        assert_eq!(all.items, [Item { step: 1, pool: "wn".into(), recipe: "wn".into() }]);
        assert_eq!(all.recipes["wn"], Recipe::Playbook("---\n- hosts: all\n  tasks: []\n".into()));
        assert!(of("system wn ()\nconfigure wn (\n@begin\n- tasks: []\n@end\n)\ncontextualize ()").0.is_empty());
    }

    #[test]
    fn items_are_in_the_order_of_their_steps() {
        let recipe = |name: &str| format!("configure {name} (\n@begin\n- hosts: x\n@end\n)\n");
        let text = format!(
            "system a ()\n{}{}{}contextualize 90 ( system a configure z step 2 system a configure y system a configure v with cloud_init )",
            recipe("z"),
            recipe("y"),
            recipe("v")
        );
        let (all, found) = of(&text);
        assert_eq!(found, ["R0087"]);
        assert_eq!(all.max_time, Some(90));
        assert_eq!(
            all.items.iter().map(|item| (item.step, item.recipe.as_str())).collect::<Vec<_>>(),
            [(1, "y"), (2, "z")]
        );
        assert_eq!(of("system a ()\nconfigure a (\n@begin\nx: y\n@end\n)").1, ["R0088"]);
    }

    #[test]
    fn roles_versions_and_passwords_are_found() {
        let (all, _) = of(
            "system a ( vault.password = 'secret' and disk.0.applications contains (name = 'ansible.roles.x.y,1.2') and disk.0.applications contains (name = 'ansible.collections.c' and version = '3') and disk.0.applications contains (name = 'k8s' and version = '1') )\nconfigure a (\n@begin\n$ANSIBLE_VAULT;1.1;AES256\n3132\n@end\n)",
        );
        assert_eq!(all.requirements.len(), 2);
        assert_eq!((all.requirements[0].source.as_str(), all.requirements[0].version.as_deref()), ("x.y", Some("1.2")));
        assert_eq!(all.requirements[1].kind, RequirementKind::Collection);
        assert_eq!(all.pools["a"].applications, [("k8s".to_owned(), "1".to_owned(), String::new())]);
        assert!(!format!("{all:?}").contains("'secret'") && format!("{all:?}").contains("<secret>"));
        assert!(matches!(all.recipes["a"], Recipe::Vault(_)));
    }
}
