//! Contextualization on real machines: a document with two systems, its recipes run by Ansible on the front-end, and
//! what is then on the machines. A worker added later is configured alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use marea::bootstrap::plan::{self as bootstrap, BundleIndex, Piece, script};
use marea::bundle::{digest, manifest, python};
use marea::contextualize::{self, Listener, Outcome, plan::Plan};
use marea::model::cluster::RecipeUse;
use marea::model::machine::{Machine, Role};
use marea::provider::Provider as _;
use marea::provider::local::MachineSpec;
use marea::radl;
use marea::recipe::embedded;
use marea::remote::{Access, Connection, Host};

use super::site::{Site, site};

/// The document. Every recipe leaves a trace of when it ran, in nanoseconds, and `base` of how often.
fn document(late: &str, extra: &str) -> String {
    format!(
        "system front ( cpu.count = 1 and memory.size = 1 GiB and net_interface.0.dns_name = 'front.example.org' )
system wn ( cpu.count = 1 and memory.size = 1 GiB and ec3_max_instances = 2 and vault.password = 'geheim-4711'
    and disk.0.applications contains ( name = 'tool' and version = '7' and preinstalled = 'yes' ) )
deploy front 1
configure base (
@begin
- tasks:
  - name: who am I
    copy:
      dest: /root/who
      content: \"{{{{ IM_NODE_HOSTNAME }}}} {{{{ IM_NODE_NUM }}}} {{{{ IM_NODE_PRIVATE_IP }}}} {{{{ IM_MASTER_FQDN }}}} {{{{ IM_MASTER_PRIVATE_IP }}}} {{{{ IM_TOOL_VERSION | default('-') }}}}\\n\"
      mode: 0640
  - shell: sleep 2; echo ran >> /root/count; date +%s%N > /root/base-ended
@end
)
configure main (
@begin
- gather_facts: no
  tasks:
  - shell: date +%s%N > /root/main-began
@end
)
configure late (
@begin
{late}
@end
)
{extra}contextualize 600 (
    system front configure base
    system wn configure base
    system front configure main step 2
    system wn configure late step 3
)
"
    )
}

const LATE: &str = "- tasks:\n  - shell: date +%s%N > /root/late-began\n  - debug: msg='the word is geheim-4711'";

/// The tar of Ansible, made once and kept.
fn bundle() -> (PathBuf, BundleIndex) {
    let manifest = manifest::Manifest::read("bundle.toml", manifest::BUILT_IN).unwrap();
    let packages = manifest.python.iter().find(|one| one.name == "ansible").unwrap();
    let key = digest::of(serde_json::to_string(packages).unwrap());
    let folder = PathBuf::from("/var/cache/marea/test").join(format!("ansible-{}", &key[..12]));
    let tar = folder.join("bin/ansible.tar");
    if !tar.exists() {
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        let work = folder.join("work");
        std::fs::create_dir_all(&work).unwrap();
        let new = python::build(packages, &work).unwrap();
        std::fs::rename(new, &tar).unwrap();
        std::fs::remove_dir_all(work).unwrap();
    }
    let (sha256, size) = digest::of_file(&tar).unwrap();
    let piece = Piece {
        path: "bin/ansible.tar".into(),
        sha256,
        size,
        reference: String::new(),
        version: packages.version.clone(),
    };
    let programs = BTreeMap::from([("ansible.tar".to_owned(), piece)]);
    (folder, BundleIndex { programs, ..BundleIndex::default() })
}

#[derive(Default)]
struct Heard(Mutex<Vec<(String, String)>>);

impl Listener for Heard {
    fn begins(&self, machine: &str, what: &str) {
        self.0.lock().unwrap().push((machine.to_owned(), format!("== {what}")));
    }

    fn line(&self, machine: &str, line: &str) {
        self.0.lock().unwrap().push((machine.to_owned(), line.to_owned()));
    }
}

impl Heard {
    fn of(&self, machine: &str) -> String {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(name, _)| name == machine).map(|(_, line)| format!("{line}\n")).collect()
    }
}

struct World {
    site: Site,
    specs: Vec<MachineSpec>,
    front_end: Arc<Connection>,
    access: Access,
    /// What bootstrap would have remembered.
    done: BTreeMap<String, String>,
}

impl World {
    fn machines(&self, count: usize) -> Vec<Machine> {
        let shape = || serde_json::from_value(serde_json::json!({})).unwrap_or_default();
        let made = self.specs.iter().take(count).map(|spec| Machine {
            name: spec.name.clone(),
            pool: if spec.name == "front" { "front" } else { "wn" }.to_owned(),
            role: if spec.name == "front" { Role::FrontEnd } else { Role::Worker },
            address: spec.address.to_string(),
            port: 22,
            user: "root".to_owned(),
            pod_cidr: String::new(),
            shape: shape(),
        });
        made.collect()
    }

    fn plan(&self, text: &str, count: usize) -> Plan {
        let files = [("cluster.radl".to_owned(), text.to_owned())];
        let loaded = radl::load(&files);
        assert!(!loaded.has_errors(), "{}", loaded.human(false));
        contextualize::plan::plan(&loaded.context, &self.machines(count), "cluster")
    }

    /// Configures whoever is new or changed, as bootstrap does.
    async fn run(&mut self, text: &str, count: usize, heard: &Heard) -> Outcome {
        let plan = self.plan(text, count);
        let new = plan.machines.iter().filter(|one| self.done.get(&one.machine.name) != Some(&one.digest));
        let wanted: Vec<&str> = new.map(|one| one.machine.name.as_str()).collect();
        let outcome = contextualize::run(&plan, &wanted, &self.front_end, &self.access, heard).await;
        for (name, result) in &outcome {
            if let Ok(digest) = result {
                self.done.insert(name.clone(), digest.clone());
            }
        }
        outcome
    }

    fn says(&self, machine: &str, command: &str) -> String {
        let spec = self.specs.iter().find(|spec| spec.name == machine).unwrap();
        self.site.says(spec, command)
    }

    fn when(&self, machine: &str, file: &str) -> u128 {
        self.says(machine, &format!("cat /root/{file}")).parse().unwrap()
    }
}

async fn world() -> Option<World> {
    let site = site("mareatg", 8)?;
    let (folder, index) = bundle();
    let spec = |name, host| MachineSpec { bundle: Some(folder.clone()), ..site.spec(name, host) };
    let specs = vec![spec("front", 10), spec("wn-1", 11), spec("wn-2", 12)];
    site.local.create_all(specs.clone()).await.unwrap();
    futures::future::try_join(site.local.power_on("front"), site.local.power_on("wn-1")).await.unwrap();
    let access = Access {
        key: Some(site.local.ssh_key()),
        known_hosts: site.local.known_hosts(),
        control: PathBuf::from("/run/mareatc"),
        accept_new: false,
    };
    let address = specs[0].address.to_string();
    let host = Host { name: "front".into(), address, port: 22, user: "root".into() };
    let front_end = Connection::wait(&host, &access, Duration::from_mins(1)).await.unwrap();
    let world = World { site, specs, front_end: Arc::new(front_end), access, done: BTreeMap::new() };
    // Ansible comes by its recipe, from the bundle.
    let files = [("cluster.radl".to_owned(), document(LATE, ""))];
    let mut spec = radl::load(&files).spec.unwrap();
    spec.front_end.recipes = vec![RecipeUse { name: "ansible".into(), version: None, parameters: BTreeMap::new() }];
    spec.pools[0].recipes.clear();
    let plan = bootstrap::plan(&spec, &world.machines(2), &embedded::sources(), &index).unwrap();
    for step in &plan.hosts[0].steps {
        let outcome =
            world.front_end.run(&script::whole(step, &step.script, None), Duration::from_mins(3)).await.unwrap();
        assert_eq!(outcome.code, 0, "{}: {outcome:?}", step.key);
    }
    Some(world)
}

#[tokio::test(flavor = "multi_thread")]
async fn playbooks_configure_machines_step_by_step_and_each_once() {
    let Some(mut world) = world().await else { return };
    let heard = Heard::default();
    let outcome = world.run(&document(LATE, ""), 2, &heard).await;
    assert!(outcome.len() == 2 && outcome.values().all(Result::is_ok), "{outcome:?}\n{:?}", heard.0);
    // What is on the machines.
    assert_eq!(world.says("front", "cat /root/who"), "front 0 10.78.8.10 front.example.org 10.78.8.10 -");
    assert_eq!(world.says("wn-1", "cat /root/who"), "wn-1 0 10.78.8.11 front.example.org 10.78.8.10 7");
    assert_eq!(world.says("wn-1", "stat -c %a /root/who"), "640", "0640 is octal to Ansible");
    assert_eq!(
        world.says("wn-1", "ls /root/main-began 2>&1 || true"),
        "ls: cannot access '/root/main-began': No such file or directory"
    );
    // All ended a step before any began the next.
    let base_ended = world.when("front", "base-ended").max(world.when("wn-1", "base-ended"));
    assert!(world.when("front", "main-began") > base_ended);
    assert!(world.when("wn-1", "late-began") > world.when("front", "main-began"));
    // Output by machine, without what is secret.
    assert!(heard.of("wn-1").contains("TASK [who am I]") && heard.of("wn-1").contains("the word is <secret>"));
    assert!(!format!("{:?}", heard.0).contains("geheim"));
    // Nothing of a password stays behind.
    assert_eq!(world.says("front", "ls -A /run/marea-secret"), "");

    // Again: nothing to do.
    assert!(world.run(&document(LATE, ""), 2, &heard).await.is_empty());
    // A worker that is added is configured alone.
    world.site.local.power_on("wn-2").await.unwrap();
    world.says("wn-2", "true");
    let outcome = world.run(&document(LATE, ""), 3, &heard).await;
    assert_eq!(outcome.keys().collect::<Vec<_>>(), ["wn-2"]);
    assert!(outcome["wn-2"].is_ok(), "{outcome:?}");
    assert_eq!(world.says("wn-2", "cut -d' ' -f1,2 /root/who"), "wn-2 1");
    for machine in ["front", "wn-1", "wn-2"] {
        assert_eq!(world.says(machine, "cat /root/count"), "ran", "{machine} was configured once");
    }

    // A machine that fails drops its later steps; the others go on.
    let bad = "configure bad (\n@begin\n- tasks:\n  - shell: echo no room; exit 7\n    when: IM_NODE_HOSTNAME == 'wn-1'\n@end\n)\n";
    let text = document(LATE, bad).replace("system wn configure base\n", "system wn configure bad\n");
    world.says("wn-1", "rm /root/late-began");
    world.says("wn-2", "rm /root/late-began");
    let outcome = world.run(&text, 3, &heard).await;
    let error = outcome["wn-1"].as_ref().unwrap_err().to_string();
    assert!(error.contains("step 1, `bad`, failed with exit code 2") && error.contains("no room"), "{error}");
    assert!(outcome["wn-2"].is_ok(), "{outcome:?}");
    assert!(!outcome.contains_key("front"), "it did not change");
    assert_eq!(world.says("wn-1", "ls /root | grep -c late-began || true"), "0");
    world.says("wn-2", "ls /root/late-began");

    // The document's time is over.
    let slow = document("- tasks:\n  - shell: sleep 60", "").replace("contextualize 600", "contextualize 12");
    let outcome = world.run(&slow, 2, &heard).await;
    let error = outcome["wn-1"].as_ref().unwrap_err().to_string();
    assert!(error.contains("within 12 s") || error.contains("12 s of the document are over"), "{error}");

    // An encrypted recipe is opened by the system's password.
    let plain = "- tasks:\n  - copy: {dest: /root/opened, content: yes-it-was}\n";
    let encrypt = format!(
        "cd /run && umask 077 && printf geheim-4711 > pw && cat > plain <<'END'\n{plain}END\nPYTHONPATH=/opt/marea/ansible HOME=/root python3 -m ansible vault encrypt --vault-password-file pw --output - plain; rm pw plain"
    );
    let vault = world.says("front", &encrypt);
    assert!(vault.starts_with("$ANSIBLE_VAULT"), "{vault}");
    let outcome = world.run(&document(&vault, ""), 2, &heard).await;
    assert!(outcome["wn-1"].is_ok(), "{outcome:?}\n{}", heard.of("wn-1"));
    assert_eq!(world.says("wn-1", "cat /root/opened"), "yes-it-was");

    let World { site, front_end, .. } = world;
    drop(front_end);
    site.local.destroy_all().await.unwrap();
    std::fs::remove_dir(&site.settings.state).unwrap();
}
