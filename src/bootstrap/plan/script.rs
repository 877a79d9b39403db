//! Scripts: the pieces of bash that steps are made of. Every piece can be run again, and can be cut off at
//! any point: files appear whole (written beside, then renamed) and a step is marked done only after it.

use sha2::{Digest, Sha256};

use super::PlannedStep;
use crate::model::machine::Role;

/// Where a machine keeps the digest of each step that it has done.
pub const DONE_FOLDER: &str = "/var/lib/marea/done";

/// Where a machine keeps whose it is.
pub(in crate::bootstrap) const OWNER: &str = "/var/lib/marea/owner";

/// One at a time: the step of a bootstrap that was killed goes on here without it, and whoever comes next waits for
/// its end instead of meeting it half-way.
const TURN: &str = "exec 9>/run/marea-step.lock; flock -w 600 9";

/// A script for a machine that nobody here is root on: what is Marea's own lies in the folder `.marea` of its user's
/// home, where every script begins. Only a link's target must be told from where.
pub(in crate::bootstrap) fn at_home(text: &str) -> String {
    let text = text.replace("/var/lib/marea", ".marea").replace("/run/marea-", ".marea/");
    format!("mkdir -p -m 0700 .marea\n{}", text.replace("ln -sfn .marea/", "ln -sfn \"$HOME\"/.marea/"))
}

/// A program's link into the bundle.
pub(in crate::bootstrap) struct Link {
    pub(in crate::bootstrap) target: String,
    pub(in crate::bootstrap) path: String,
    pub(in crate::bootstrap) sha256: String,
}

/// A link, not a copy: it costs no disk and no time, and the bundle is read-only on the machine.
pub(in crate::bootstrap) fn link(links: &[Link]) -> String {
    let mut text = String::new();
    for l in links {
        let folder = l.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        text.push_str(&format!(
            "mkdir -p {} && ln -sfn {} {}  # sha256 {}\n",
            quote(folder),
            quote(&l.target),
            quote(&l.path),
            l.sha256
        ));
    }
    text
}

pub(in crate::bootstrap) fn linked(links: &[Link]) -> String {
    links.iter().map(|l| format!("[ {} -ef {} ]\n", quote(&l.path), quote(&l.target))).collect()
}

pub(in crate::bootstrap) fn write_file(path: &str, mode: &str, text: &str) -> String {
    let end = format!("MAREA-{}", &hex(text)[..12]);
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let (path, new) = (quote(path), quote(&format!("{path}.marea-new")));
    let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    format!(
        "mkdir -p {}\n( umask 077; cat > {new} <<'{end}'\n{text}{newline}{end}\n)\nchmod {mode} {new} && mv {new} {path}\n",
        quote(folder)
    )
}

pub(in crate::bootstrap) fn file_is(path: &str, text: &str) -> String {
    let newline = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    format!("echo {}'  '{} | sha256sum -c --status\n", hex(&format!("{text}{newline}")), quote(path))
}

pub(in crate::bootstrap) fn import(path: &str, sha256: &str) -> String {
    format!("ctr -n k8s.io images import {} >/dev/null  # sha256 {sha256}\n", quote(path))
}

pub(in crate::bootstrap) fn imported(reference: &str) -> String {
    format!("grep -qxF {} <<<\"$MAREA_IMAGES\"\n", quote(reference))
}

/// The whole text of a step: it is parsed to its end before it begins (a connection that is cut while the
/// text is on its way runs nothing), reads nothing from the channel, and marks the step when it is through.
pub fn whole(step: &PlannedStep, body: &str, fetched: Option<&str>) -> String {
    let fetched = fetched.map_or_else(String::new, |text| {
        format!(
            "mkdir -p -m 0700 /run/marea-secret\nMAREA_FETCHED=$(mktemp /run/marea-secret/XXXXXXXX)\ntrap 'rm -f \"$MAREA_FETCHED\"' EXIT\ncat > \"$MAREA_FETCHED\" <<'MAREA-FETCHED'\n{}\nMAREA-FETCHED\n",
            text.trim_end()
        )
    });
    let marker = quote(&marker(&step.key));
    format!(
        "{{\nset -euo pipefail\numask 022\n{TURN}\nexport PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n{fetched}{body}\nmkdir -p {DONE_FOLDER}\necho {} > {marker}.new && mv {marker}.new {marker}\nexit 0\n}} </dev/null 2>&1\n",
        step.digest
    )
}

/// One script that answers, for all `steps`, which are to do: one line a step, and `end` after the last.
pub fn survey(steps: &[PlannedStep]) -> String {
    let mut text = format!(
        "{{\n# A step that is not done is an answer, not the end.\nset +e\n{TURN}\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         MAREA_IMAGES=$(ctr -n k8s.io images ls -q 2>/dev/null)\n\
         marea_step() {{ # KEY MARKER DIGEST ONCE CHECK\n\
         \x20 if [ \"$4\" = 0 ] && [ \"$(cat \"$2\" 2>/dev/null)\" != \"$3\" ]; then echo \"todo $1\"; return; fi\n\
         \x20 # Not in an `if`: bash switches -e off in there, and only the last line would count.\n\
         \x20 (eval \"$5\") >/dev/null 2>&1; rc=$?\n\
         \x20 if [ $rc = 0 ]; then echo \"done $1\"; else echo \"todo $1\"; fi; }}\n"
    );
    for step in steps {
        // `once` without a check would never be done, so it falls back on its marker.
        let once = u8::from(step.once && !step.check.trim().is_empty());
        let check = format!("set -euo pipefail\n{}", step.check);
        text.push_str(&format!(
            "marea_step {} {} {} {once} {}\n",
            quote(&step.key),
            quote(&marker(&step.key)),
            step.digest,
            quote(&check)
        ));
    }
    text.push_str("echo end\nexit 0\n} </dev/null\n");
    text
}

/// Undoes one recipe: its own script, then its files and links.
pub(in crate::bootstrap) fn undo(script: &str, paths: &[String]) -> String {
    let paths: Vec<String> = paths.iter().map(|p| quote(p)).collect();
    let files = if paths.is_empty() { String::new() } else { format!("rm -f {}\n", paths.join(" ")) };
    // What is not there any more must not keep the rest from going.
    format!("(\n{script}\n) || true\n{files}")
}

/// Takes a machine out of the cluster for good: what each recipe undoes, then what is Marea's own.
pub(in crate::bootstrap) fn removal<'a>(undone: impl Iterator<Item = &'a str>) -> String {
    let body: String = undone.collect();
    format!(
        "{{\n# What is gone already is no failure.\nset +e\n{TURN}\n\
         export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         systemctl disable -q --now marea\n\
         rm -rf /etc/systemd/system/marea.service /usr/local/bin/marea /usr/local/lib/marea\n{body}\
         systemctl daemon-reload\nrm -rf /etc/marea/marea.toml /var/lib/marea /run/marea-secret /run/marea-step.lock\nrmdir --ignore-fail-on-non-empty /etc/marea\nexit 0\n}} </dev/null 2>&1\n"
    )
}

/// Asks a machine, before anything is changed on it, whether it is free or this cluster's already: it prints
/// `used REASON` when it is neither. A free machine is marked with `owner`, so that no other cluster takes it.
pub(in crate::bootstrap) fn claim(owner: &str, becomes_node: bool) -> String {
    // What a node may not have beside it, a machine that becomes none may well have.
    let left_alone = if becomes_node { "" } else { " && false" };
    format!(
        r#"{{
set +e
owner=$(cat {OWNER} 2>/dev/null)
if [ "$owner" = {owner} ]; then exit 0; fi
if [ -n "$owner" ]; then echo "used it belongs to another cluster of Marea (if that one is gone: rm {OWNER} there)"; exit 0; fi
# Made by a Marea that left no such mark.
if [ ! -d {DONE_FOLDER} ]{left_alone}; then
  for service in kubelet containerd docker k3s k3s-agent rke2-server rke2-agent crio snap.microk8s.daemon-kubelite; do
    systemctl is-active -q $service 2>/dev/null && echo "used the service $service runs on it"
  done
  for file in admin.conf kubelet.conf; do
    [ -e /etc/kubernetes/$file ] && echo "used it has /etc/kubernetes/$file: it is a node of another cluster, or was"
  done
  for port in 6443 10250 2379; do
    ss -Hltn "sport = :$port" 2>/dev/null | grep -q . && echo "used something listens on port $port"
  done
fi > /run/marea-used
cat /run/marea-used
if [ ! -s /run/marea-used ]; then mkdir -p /var/lib/marea && echo {owner} > {OWNER}.new && mv {OWNER}.new {OWNER}; fi
rm -f /run/marea-used
exit 0
}} </dev/null
"#
    )
}

fn marker(key: &str) -> String {
    let name: String =
        key.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' }).collect();
    format!("{DONE_FOLDER}/{name}")
}

/// A word that bash reads as exactly `text`.
pub fn quote(text: &str) -> String {
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-:@=,+".contains(c)) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The role as people read it.
pub(in crate::bootstrap) fn role(role: Role) -> &'static str {
    match role {
        Role::FrontEnd => "front-end",
        Role::Worker => "worker",
    }
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        assert_eq!(quote("/a/b-c"), "/a/b-c");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn an_image_is_found_however_long_the_list_is() {
        let check = imported("image-0");
        let text = format!("set -euo pipefail\nMAREA_IMAGES=$(printf '%s\\n' image-{{0..20000}})\n{check}");
        let status = std::process::Command::new("bash").args(["-c", &text]).status().unwrap();
        assert!(status.success(), "{status}");
    }
}
