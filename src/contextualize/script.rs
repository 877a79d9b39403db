//! Scripts: what is run on the front-end for Ansible, and on machines to let it in. Everything that varies goes in as a
//! here-document, so that nothing is quoted and no secret stands in an argument.

use super::plan::{HOME, Run};
use crate::model::context::{Recipe, Requirement, RequirementKind};

/// Where the recipe `ansible` unpacks it.
const SITE: &str = "/opt/marea/ansible";

/// Ansible with its own home and nothing of the administrator's.
fn environment() -> String {
    format!(
        "export PYTHONPATH={SITE} ANSIBLE_CONFIG={HOME}/ansible.cfg HOME=/root LC_ALL=C.UTF-8 PYTHONUNBUFFERED=1 ANSIBLE_NOCOLOR=1\n"
    )
}

/// A file as a here-document whose end is in no line of it.
fn file(path: &str, text: &str) -> String {
    let mut end = "MAREA-END".to_owned();
    while text.contains(&end) {
        end.push('-');
    }
    format!("cat > {path} <<'{end}'\n{}\n{end}\n", text.trim_end_matches('\n'))
}

/// A word between quotes.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whole before it begins, and with nothing on its input: the channel is not Ansible's to read.
fn whole(body: &str) -> String {
    format!("{{\nset -euo pipefail\numask 077\n{}{body}exit 0\n}} </dev/null 2>&1\n", environment())
}

pub(super) fn prepare(inventory: &str, known_hosts: &str) -> String {
    let config = format!(
        "[defaults]\ninventory = {HOME}/inventory.json\nprivate_key_file = {HOME}/id_ed25519\nroles_path = {HOME}/roles\ncollections_path = {HOME}/collections\nretry_files_enabled = False\nlocalhost_warning = False\n[ssh_connection]\npipelining = True\nssh_args = -o UserKnownHostsFile={HOME}/known_hosts -o StrictHostKeyChecking=yes -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=/run/marea-ansible/%C\n"
    );
    whole(&format!(
        "mkdir -p {HOME}/roles {HOME}/collections /run/marea-ansible\n[ -d {SITE}/ansible ] || {{ echo 'the recipe `ansible` did not run here'; exit 1; }}\ncommand -v python3 >/dev/null || {{ echo 'this machine lacks python3 (on Debian: apt-get install python3)'; exit 1; }}\n[ -f {HOME}/id_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -C marea-ansible -f {HOME}/id_ed25519\n{}{}{}cat {HOME}/id_ed25519.pub\n",
        file(&format!("{HOME}/ansible.cfg"), &config),
        file(&format!("{HOME}/inventory.json"), inventory),
        file(&format!("{HOME}/known_hosts"), known_hosts),
    ))
}

/// The name that a role is installed under: `SOURCE|NAME`, or the last part of its source.
fn name(requirement: &Requirement) -> (&str, &str) {
    let (source, name) = requirement.source.rsplit_once('|').unwrap_or((&requirement.source, ""));
    let source = source.trim_end_matches('|');
    let name =
        if name.is_empty() { source.rsplit('/').next().unwrap_or(source).trim_end_matches(".git") } else { name };
    (source, name)
}

/// Where it lies once it is there.
pub(super) fn place(requirement: &Requirement) -> String {
    let (_, name) = name(requirement);
    match requirement.kind {
        RequirementKind::Role => format!("{HOME}/roles/{name}"),
        RequirementKind::Collection => format!("{HOME}/collections/ansible_collections/{}", name.replace('.', "/")),
    }
}

pub(super) fn fetch(requirement: &Requirement) -> String {
    let (source, name) = name(requirement);
    let (kind, entry) = match requirement.kind {
        RequirementKind::Role => {
            ("role", serde_json::json!([{"src": source, "name": name, "version": requirement.version}]))
        }
        RequirementKind::Collection => (
            "collection",
            serde_json::json!({"collections": [{"name": source, "version": requirement.version.as_deref().unwrap_or("*")}]}),
        ),
    };
    let folder = match requirement.kind {
        RequirementKind::Role => "roles",
        RequirementKind::Collection => "collections",
    };
    whole(&format!(
        "[ -d {} ] && exit 0\n{}python3 -m ansible galaxy {kind} install -p {HOME}/{folder} -r {HOME}/wanted.yml\n",
        quote(&place(requirement)),
        file(&format!("{HOME}/wanted.yml"), &entry.to_string()),
    ))
}

/// Lets the front-end's key in.
pub(super) fn admit(user: &str, key: &str) -> String {
    let user = quote(user);
    format!(
        "{{\nset -eu\ncommand -v python3 >/dev/null || {{ echo 'this machine lacks python3 (on Debian: apt-get install python3)'; exit 1; }}\nhome=$(getent passwd {user} | cut -d: -f6)\ngroup=$(id -gn {user})\ninstall -d -m 0700 -o {user} -g \"$group\" \"$home/.ssh\"\nfile=$home/.ssh/authorized_keys\ntouch \"$file\"\nchown {user}:\"$group\" \"$file\"\nchmod 0600 \"$file\"\nkey={}\ngrep -qxF \"$key\" \"$file\" || printf '%s\\n' \"$key\" >> \"$file\"\nexit 0\n}} </dev/null 2>&1\n",
        quote(key)
    )
}

/// Gives plays of an opened vault their hosts, as the document's own were given theirs.
const HOSTS: &str = "import json, sys, yaml\nplays = yaml.safe_load(sys.stdin)\nfor play in plays:\n    if not {'hosts', 'import_playbook'} & set(play):\n        play['hosts'] = 'all'\njson.dump(plays, sys.stdout)\n";

/// One recipe on one machine. What is secret lies in memory, for as long as it runs.
pub(super) fn play(run: &Run, machine: &str, vault: Option<&str>) -> String {
    let mut body = "mkdir -p -m 0700 /run/marea-secret\nwork=$(mktemp -d /run/marea-secret/XXXXXXXX)\ntrap 'rm -rf \"$work\"' EXIT\n".to_owned();
    let mut password = "";
    if let Some(vault) = vault {
        body.push_str(&file("\"$work/password\"", vault));
        password = "--vault-password-file \"$work/password\" ";
    }
    match &run.recipe {
        Recipe::Playbook(text) => body.push_str(&file("\"$work/play.yml\"", text)),
        Recipe::Vault(_) if vault.is_none() => {
            return whole("echo 'this recipe is encrypted: the system needs its vault.password'\nexit 3\n");
        }
        Recipe::Vault(text) => {
            body.push_str(&file("\"$work/vault\"", text));
            body.push_str(&file("\"$work/hosts.py\"", HOSTS));
            body.push_str(&format!(
                "python3 -m ansible vault decrypt {password}--output \"$work/open\" \"$work/vault\"\npython3 \"$work/hosts.py\" < \"$work/open\" > \"$work/play.yml\"\n"
            ));
        }
    }
    // The script ends by its exit code, and the trap by it.
    body.push_str(&format!(
        "python3 -m ansible playbook {password}--limit {} \"$work/play.yml\" || exit $?\n",
        quote(machine)
    ));
    whole(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requirement(kind: RequirementKind, source: &str) -> Requirement {
        Requirement { kind, source: source.into(), version: Some("1".into()), pool: "wn".into() }
    }

    #[test]
    fn roles_have_their_place() {
        for (kind, source, want) in [
            (RequirementKind::Role, "grycap.nfs", "roles/grycap.nfs"),
            (RequirementKind::Role, "git+https://example.org/x/role.git|mine", "roles/mine"),
            (RequirementKind::Role, "https://example.org/x/role.git||mine", "roles/mine"),
            (RequirementKind::Role, "https://example.org/x/role.git", "roles/role"),
            (RequirementKind::Collection, "community.general", "collections/ansible_collections/community/general"),
        ] {
            assert_eq!(place(&requirement(kind, source)), format!("{HOME}/{want}"));
        }
    }

    #[test]
    fn no_text_ends_its_own_file() {
        assert_eq!(file("f", "MAREA-END\n"), "cat > f <<'MAREA-END-'\nMAREA-END\nMAREA-END-\n");
    }

    #[test]
    fn a_password_is_in_no_argument() {
        let run = Run { step: 1, name: "x".into(), recipe: Recipe::Vault("$ANSIBLE_VAULT".into()) };
        let text = play(&run, "wn-1", Some("geheim"));
        let line = text.lines().find(|line| line.contains("geheim"));
        assert_eq!(line, Some("geheim"), "alone on a line of a here-document");
        assert!(play(&run, "wn-1", None).contains("exit 3"));
    }
}
