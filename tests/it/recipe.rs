//! Recipes as their readers get them: strict reading, merging, and the plan that comes of them.

use std::collections::BTreeMap;

use marea::bootstrap::plan::script::{survey, whole};
use marea::bootstrap::plan::{BundleIndex, Piece, Plan, PlanError, PlannedStep, plan};
use marea::config::Loaded;
use marea::model::cluster::{ClusterSpec, Pool, RecipeUse};
use marea::model::machine::{Machine, Role};
use marea::recipe::merge::resolve;
use marea::recipe::{Sources, embedded};

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

fn uses(names: &[&str]) -> Vec<RecipeUse> {
    names.iter().map(|n| RecipeUse { name: (*n).to_owned(), version: None, parameters: BTreeMap::new() }).collect()
}

fn with(name: &str, key: &str, value: &str) -> Vec<RecipeUse> {
    let parameters = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    vec![RecipeUse { name: name.to_owned(), version: None, parameters }]
}

fn pool(name: &str, max: u32, recipes: Vec<RecipeUse>) -> Pool {
    Pool {
        name: name.to_owned(),
        min: 0,
        max,
        cpus: 1,
        memory: 1 << 30,
        extended: BTreeMap::new(),
        labels: BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]),
        taints: Vec::new(),
        recipes,
    }
}

fn cluster(recipes: &[&str]) -> (ClusterSpec, Vec<Machine>) {
    let front_end = Pool { min: 1, ..pool("front", 1, uses(recipes)) };
    let spec = ClusterSpec {
        name: "test".to_owned(),
        front_end,
        pools: vec![pool("small", 2, uses(recipes)), pool("large", 1, uses(recipes))],
    };
    let machines = Loaded::default().machines(&spec).unwrap();
    (spec, machines)
}

/// A bundle that holds whatever the recipes in this program name.
fn bundle() -> BundleIndex {
    let sources = embedded::sources();
    let mut index = BundleIndex::default();
    for name in sources.0.keys().filter_map(|f| f.strip_suffix(".toml")) {
        let recipe = sources.read(name).unwrap();
        let piece = |folder: &str, name: &str| Piece {
            path: format!("{folder}/{name}"),
            sha256: "0".repeat(64),
            size: 1,
            reference: String::new(),
            version: String::new(),
        };
        for a in &recipe.artifacts {
            index.programs.insert(a.name.get_ref().clone(), piece("bin", a.name.get_ref()));
        }
        for i in &recipe.images {
            index.images.insert(i.name.get_ref().clone(), piece("images", i.name.get_ref()));
        }
    }
    index
}

fn made(recipes: &[&str]) -> Plan {
    let (spec, machines) = cluster(recipes);
    plan(&spec, &machines, &embedded::sources(), &bundle()).unwrap()
}

#[test]
fn an_unknown_key_is_an_error_with_file_and_line() {
    let s = sources(&[("a.toml", "name = \"a\"\nsummary = \"x\"\nwhatever = 1\n")]);
    let findings = resolve(&s, &uses(&["a"])).unwrap_err();
    let text = findings[0].to_string();
    assert!(text.starts_with("a.toml:3: error[C0001]") && text.contains("whatever"), "{text}");
}

#[test]
fn requirements_come_first_and_only_once() {
    let s = sources(&[
        ("a.toml", "name = \"a\"\nsummary = \"x\"\nrequires = [\"b\", \"c\"]\n"),
        ("b.toml", "name = \"b\"\nsummary = \"x\"\nrequires = [\"c\"]\n"),
        ("c.toml", "name = \"c\"\nsummary = \"x\"\n"),
    ]);
    let order: Vec<_> =
        resolve(&s, &uses(&["a", "b"])).unwrap().iter().map(|r| r.recipe.name.get_ref().clone()).collect();
    assert_eq!(order, ["c", "b", "a"]);
}

#[test]
fn a_cycle_is_named_in_full_at_the_line_that_closes_it() {
    let s = sources(&[
        ("a.toml", "name = \"a\"\nsummary = \"x\"\nrequires = [\"b\"]\n"),
        ("b.toml", "name = \"b\"\nsummary = \"x\"\n\nrequires = [\"a\"]\n"),
    ]);
    let text = resolve(&s, &uses(&["a"])).unwrap_err()[0].to_string();
    assert!(text.starts_with("b.toml:4:") && text.contains("a -> b -> a"), "{text}");
}

#[test]
fn what_a_document_asks_wrongly_is_said() {
    let recipe = "name = \"a\"\nsummary = \"x\"\n[parameters.count]\ndefault = 3\nhelp = \"how many\"\n[parameters.key]\nhelp = \"no default\"\n";
    let s = sources(&[("a.toml", recipe)]);
    let codes =
        |uses: &[RecipeUse]| -> Vec<_> { resolve(&s, uses).unwrap_err().iter().map(|f| f.diagnostic.code).collect() };
    assert_eq!(codes(&uses(&["nothing"])), ["C0021"]);
    assert_eq!(codes(&with("a", "cuont", "4")), ["C0022", "C0024"], "unknown, and one missing");
    assert_eq!(codes(&with("a", "count", "many")), ["C0023", "C0024"], "wrong type");
    assert!(resolve(&s, &with("a", "key", "v")).is_ok());
}

#[test]
fn steps_that_cannot_work_are_refused_when_read() {
    let step = |body: &str| {
        let s = sources(&[("a.toml", &format!("name = \"a\"\nsummary = \"x\"\n[[step]]\nname = \"s\"\n{body}"))]);
        s.read("a").map(drop).map_err(|f| f[0].diagnostic.code)
    };
    assert_eq!(step("run = \"true\"\n"), Ok(()));
    assert_eq!(step(""), Err("C0004"));
    assert_eq!(step("images = [\"i\"]\n"), Err("C0005"));
    assert_eq!(step("files = [{ path = \"/a\" }]\n"), Err("C0006"));
    assert_eq!(step("files = [{ path = \"a\", content = \"\" }]\n"), Err("C0007"));
    assert_eq!(step("files = [{ path = \"/a\", content = \"\", mode = \"rw\" }]\n"), Err("C0008"));
    assert_eq!(step("files = [{ path = \"/a\", template = \"t.j2\" }]\n"), Err("C0009"));
    assert_eq!(step("on = \"worker\"\nrun = \"true\"\nafter = \"front-end/none\"\n"), Err("C0010"));
    assert_eq!(step("run = \"true\"\nafter = \"front-end\"\n"), Err("C0011"));
}

#[test]
fn every_machine_has_its_own_range_and_a_route_to_each_other_one() {
    let plan = made(&["kubernetes"]);
    assert_eq!(plan.hosts[0].machine.role, Role::FrontEnd);
    for host in &plan.hosts {
        let text: String = host.steps.iter().map(|s| s.script.as_str()).collect();
        for other in &plan.hosts {
            let route = format!("route {} {}\n", other.machine.pod_cidr, other.machine.address);
            assert_eq!(
                text.contains(&route),
                other.machine.name != host.machine.name,
                "{} -> {}",
                host.machine.name,
                other.machine.name
            );
        }
    }
}

#[test]
fn workers_join_after_the_front_end_with_a_token_of_their_own() {
    let plan = made(&["kubernetes"]);
    let front = &plan.hosts[0];
    for host in &plan.hosts[1..] {
        let join = host.steps.iter().find(|s| s.key == "kubernetes/kubeadm join").unwrap();
        assert!(!join.after.is_empty() && join.after.iter().all(|k| front.steps.iter().any(|s| &s.key == k)));
        assert!(join.fetch.as_deref().unwrap().contains(&host.machine.name));
        assert!(!host.steps.iter().any(|s| s.key.contains("kubeadm init")));
        assert!(join.script.contains(&format!("marea/pool={},disk=ssd", host.machine.pool)));
    }
    assert!(!front.steps.iter().any(|s| s.key.contains("join")));
}

#[test]
fn the_same_input_gives_the_same_plan_and_another_input_another() {
    let (one, two) = (made(&["kubernetes"]), made(&["kubernetes"]));
    assert_eq!(one.to_string(), two.to_string());
    let (mut spec, machines) = cluster(&["kubernetes"]);
    spec.pools[0].recipes = with("kubernetes", "max_pods", "20");
    spec.pools[0].recipes[0].parameters = BTreeMap::from([("pod_range".to_owned(), "10.9.0.0/16".to_owned())]);
    let three = plan(&spec, &machines, &embedded::sources(), &bundle()).unwrap();
    let changed: Vec<bool> = one.hosts.iter().zip(&three.hosts).map(|(a, b)| a.digest() != b.digest()).collect();
    assert_eq!(changed, [false, true, true, false], "only the pool that was changed");
}

#[test]
fn a_secret_stands_in_no_plan_and_in_what_is_sent() {
    let recipe = "name = \"a\"\nsummary = \"x\"\n[parameters.password]\nhelp = \"p\"\nsecret = true\n[[step]]\nname = \"s\"\nrun = \"echo {{ parameters.password }}\"\n";
    let s = sources(&[("a.toml", recipe)]);
    let (mut spec, machines) = cluster(&[]);
    let make = |spec: &ClusterSpec| plan(spec, &machines, &s, &BundleIndex::default()).unwrap();
    spec.front_end.recipes = with("a", "password", "hunter2");
    let plan = make(&spec);
    assert!(!plan.to_string().contains("hunter2") && !format!("{plan:?}").contains("hunter2"));
    assert!(plan.to_string().contains("<secret a.password>"));
    assert!(plan.secrets.reveal(&plan.hosts[0].steps[0].script).contains("echo hunter2"));
    assert!(!plan.secrets.hide("it said hunter2").contains("hunter2"));
    spec.front_end.recipes = with("a", "password", "hunter3");
    assert_ne!(plan.hosts[0].digest(), make(&spec).hosts[0].digest(), "another secret is another step");
}

#[test]
fn what_the_bundle_lacks_or_holds_in_another_version_is_said_before_anything_runs() {
    let (spec, machines) = cluster(&["kubernetes"]);
    let mut lacking = bundle();
    lacking.programs.remove("kubelet");
    let error = plan(&spec, &machines, &embedded::sources(), &lacking).unwrap_err();
    assert!(matches!(&error, PlanError::Missing { name, .. } if name == "kubelet"), "{error}");
    let mut other = bundle();
    other.programs.get_mut("kubelet").unwrap().version = "v1.0.0".to_owned();
    let error = plan(&spec, &machines, &embedded::sources(), &other).unwrap_err();
    assert!(matches!(&error, PlanError::Version { held, .. } if held == "v1.0.0"), "{error}");
}

#[test]
fn each_line_of_a_check_counts_and_no_step_hides_the_next() {
    let step = |key: &str, check: &str| PlannedStep {
        key: key.to_owned(),
        script: String::new(),
        check: check.to_owned(),
        digest: "d".to_owned(),
        once: true,
        fetch: None,
        after: Vec::new(),
        timeout: 1,
    };
    let answer = |check: &str| {
        // The lock of the machine is left out: it stands on a line of its own.
        let steps = [step("a/s", check), step("a/next", "true")];
        let text: String = survey(&steps).lines().filter(|l| !l.contains("flock")).map(|l| format!("{l}\n")).collect();
        // As on a machine, where the shell ends at the first command that fails.
        let out = std::process::Command::new("bash").args(["-ec", &text]).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let after = "done a/next\nend\n";
    assert_eq!(answer("true\ntrue\n"), format!("done a/s\n{after}"));
    assert_eq!(answer("false\ntrue\n"), format!("todo a/s\n{after}"));
    assert_eq!(answer("true\nfalse\n"), format!("todo a/s\n{after}"));
    assert_eq!(answer("false | true\ntrue\n"), format!("todo a/s\n{after}"));
    assert_eq!(answer("exit 3\n"), format!("todo a/s\n{after}"));
}

#[test]
fn functions_take_a_store_of_ours_or_another_or_none() {
    let (mut spec, machines) = cluster(&["functions"]);
    let mut make = |parameters: &[(&str, &str)]| {
        let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        spec.front_end.recipes = vec![RecipeUse { name: "functions".to_owned(), version: None, parameters }];
        plan(&spec, &machines, &embedded::sources(), &bundle()).unwrap()
    };
    let script = |plan: &Plan| {
        let steps = &plan.hosts[0].steps;
        steps.iter().filter(|s| s.key.starts_with("functions/")).map(|s| s.script.clone()).collect::<String>()
    };
    let ours = script(&make(&[]));
    assert!(ours.contains("there is no MinIO") && ours.contains("path: minio/accessKey"), "{ours}");
    let none = script(&make(&[("storage", "none")]));
    assert!(!none.contains("minio/accessKey") && none.contains("kind = \"none\""), "{none}");
    let external = make(&[
        ("storage", "external"),
        ("endpoint", "https://s3.example.org"),
        ("access_key", "tide-reader"),
        ("secret_key", "tide-secret"),
    ]);
    assert!(script(&external).contains("https://s3.example.org"));
    let shown = external.to_string();
    assert!(!shown.contains("tide-reader") && !shown.contains("tide-secret"), "{shown}");
    assert!(external.secrets.reveal(&script(&external)).contains("secretKey: 'tide-secret'"));
    // A worker gets the image that its pods take the supervisor from, and nothing else.
    let worker: Vec<_> = external.hosts[1].steps.iter().filter(|s| s.key.starts_with("functions/")).collect();
    assert_eq!(worker.iter().map(|s| s.key.as_str()).collect::<Vec<_>>(), ["functions/image of Marea"]);
}

#[test]
fn minio_stays_on_the_front_end() {
    let plan = made(&["minio"]);
    let here = |host: usize| plan.hosts[host].steps.iter().any(|s| s.key.starts_with("minio/"));
    assert!(here(0) && !here(1));
    let script: String = plan.hosts[0].steps.iter().map(|s| s.script.as_str()).collect();
    assert!(script.contains("nodeSelector: {node-role.kubernetes.io/control-plane: \"\"}"));
    assert!(script.contains("MINIO_NOTIFY_WEBHOOK_QUEUE_DIR_marea"));
}

#[test]
fn each_service_of_oscars_gets_a_folder_for_what_waits() {
    let (mut spec, machines) = cluster(&[]);
    spec.front_end.recipes = uses(&["minio"]);
    spec.front_end.recipes.extend(with("oscar", "services", "tide, wave"));
    let plan = plan(&spec, &machines, &embedded::sources(), &bundle()).unwrap();
    let script: String = plan.hosts[0].steps.iter().map(|s| s.script.as_str()).collect();
    for part in ["QUEUE_DIR_tide, value: \"/var/lib/minio/queue-tide\"", "QUEUE_DIR_wave,", "name: oscar-pvc"] {
        assert!(script.contains(part), "{part}");
    }
}

#[test]
fn machines_that_are_no_nodes_get_udocker_at_home_and_the_gateway_knows_them() {
    let mut desk = pool("desk", 2, uses(&["udocker"]));
    desk.recipes[0].parameters.insert("archives".to_owned(), "img:1=/srv/img.tar".to_owned());
    let spec = ClusterSpec {
        name: "test".to_owned(),
        front_end: Pool { min: 1, ..pool("front", 1, uses(&["kubernetes", "minio", "functions"])) },
        pools: vec![pool("small", 1, uses(&["kubernetes"])), desk],
    };
    let mut machines = Loaded::default().machines(&spec).unwrap();
    machines.iter_mut().find(|machine| machine.name == "desk-2").unwrap().user = "tide".to_owned();
    let plan = plan(&spec, &machines, &embedded::sources(), &bundle()).unwrap();
    let host = |name: &str| plan.hosts.iter().find(|host| host.machine.name == name).unwrap();
    let script = |name: &str| -> String {
        host(name).steps.iter().map(|step| host(name).placed(&whole(step, &step.script, Some("key")))).collect()
    };
    let front = script("front");
    for part in [
        "name = \"desk-1\"",
        "name = \"desk-2\"",
        "user = \"marea\"",
        "user = \"tide\"",
        "\"marea/pool\" = \"desk\"",
        "path: ssh-key",
        "create secret generic ssh",
    ] {
        assert!(front.contains(part), "{part}: {front}");
    }
    assert!(!script("small-1").contains("desk-1") && !front.contains("via 10.77.0.12"), "they are in no pod network");
    // As root the user is made; as an ordinary user nothing of the system's is touched.
    let (root, home) = (script("desk-1"), script("desk-2"));
    assert!(root.contains("useradd") && root.contains("/var/lib/marea/udocker/runc"), "{root}");
    for part in ["useradd", "/var/lib", "/run/", "ctr ", "chown"] {
        assert!(!home.contains(part), "{part}: {home}");
    }
    assert!(home.contains("img:1=/srv/img.tar"));
    for text in
        [&front, &root, &home, &host("desk-2").removal(), &host("desk-2").placed(&survey(&host("desk-2").steps))]
    {
        let mut bash = std::process::Command::new("bash");
        let status = bash.arg("-n").arg("-c").arg(text).status().unwrap();
        assert!(status.success(), "{text}");
    }
    // A cluster without such machines has nothing of it.
    let without = made(&["kubernetes", "minio", "functions"]);
    assert!(without.hosts.iter().all(|host| host.steps.iter().all(|step| !step.script.contains("ssh"))));
}
