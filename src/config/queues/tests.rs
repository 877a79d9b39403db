//! What a `[[queue]]` may say, and what each mistake gets.

use super::*;

const LIST: &str = r#"
[[queue]]
name = "thumbs"
kind = "redis-list"
url = "redis://127.0.0.1:6379/2"
key = "thumbs"
messages_per_pod = 4
limit = 9
[queue.pod]
namespace = "work"
labels = { app = "thumbs" }
requests = { cpu = "500m", memory = "256Mi", "nvidia.com/gpu" = "1" }
node_selector = { disk = "ssd" }
tolerations = [{ key = "gpu", operator = "Exists", effect = "NoSchedule" }]
"#;

fn read(text: &str) -> Result<Vec<Source>, ConfigError> {
    Loaded::parse("m.toml", text).and_then(|loaded| loaded.declared_queues())
}

#[test]
fn a_queue_says_what_its_pods_are() {
    let source = read(LIST).unwrap().remove(0);
    assert_eq!(
        source.place,
        Place::RedisList { url: "redis://127.0.0.1:6379/2".into(), key: "thumbs".into(), access: Access::default() }
    );
    assert_eq!((source.every, source.max_age), (EVERY, MAX_AGE));
    let unit = source.template.unit;
    assert_eq!((unit.messages, source.template.limit), (4, Some(9)));
    assert_eq!((unit.requests.cpu_milli, unit.requests.memory, unit.requests.pods), (500, 256 << 20, 1));
    assert_eq!(unit.requests.extended["nvidia.com/gpu"], 1);
    assert_eq!(
        unit.tolerations,
        [Toleration { key: "gpu".into(), exists: true, value: String::new(), effect: Some(Effect::NoSchedule) }]
    );
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let kueue = "[[queue]]\nname = \"k\"\nkind = \"kueue\"\n";
    let replaced = |from: &str, to: &str| {
        assert!(LIST.contains(from), "{from}");
        LIST.replace(from, to)
    };
    for (text, words) in [
        (replaced("key = \"thumbs\"\n", ""), "`key` is missing"),
        (replaced("\nkey =", "\nquery = \"up\"\nkey ="), "`query` is no key of this kind"),
        (replaced("redis://127", "http://127"), "must begin with redis://"),
        (replaced("redis://127", "redis://me:secret@127"), "password_file"),
        (replaced("limit = 9", "limit = 0"), "`limit` is 0"),
        (replaced("limit = 9", "max_age = \"1s\""), "longer than `every`"),
        (replaced("limit = 9", "every = \"1ms\""), "at least 100ms"),
        (replaced("{ app = \"thumbs\" }", "{}"), "`labels` is empty"),
        (replaced("\"256Mi\"", "\"lots\""), "memory"),
        (replaced("limit = 9", "password_file = \"/nonexistent/p\""), "there is no file"),
        (replaced("limit = 9", "password_env = \"MAREA_NO_SUCH\""), "the environment has no MAREA_NO_SUCH"),
        (replaced("limit = 9", "username = \"u\""), "wants `password_file`"),
        (replaced("limit = 9", "token_env = \"PATH\""), "`token_env` is no key"),
        (replaced("name = \"thumbs\"", "name = \"a b\""), "a name is letters"),
        (format!("{LIST}{LIST}"), "two of this name"),
        (format!("{kueue}limit = 1\n"), "`limit` is no key of this kind"),
        (format!("{kueue}max_age = \"3s\"\n"), "at least 10 s"),
        (kueue.replace("kueue", "kafka"), "kafka"),
    ] {
        let error = read(&text).unwrap_err();
        assert!(error.message.contains(words) && error.line > 0, "{error} should say {words}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    assert_eq!(read(kueue).unwrap()[0].place, Place::Kueue { namespace: None, ahead_of_quota: false });
}

#[test]
fn the_gateway_is_found_where_the_cluster_has_one_unless_the_config_names_it() {
    let loaded = Loaded::parse("m.toml", "").unwrap();
    let pool = |recipe: &str| crate::model::cluster::Pool {
        recipes: vec![crate::model::cluster::RecipeUse {
            name: recipe.to_owned(),
            version: None,
            parameters: BTreeMap::new(),
        }],
        name: String::new(),
        min: 1,
        max: 1,
        cpus: 2,
        memory: 1 << 31,
        extended: BTreeMap::new(),
        labels: BTreeMap::new(),
        taints: vec![],
    };
    let spec = |recipe: &str| ClusterSpec { name: "c".into(), front_end: pool(recipe), pools: vec![] };
    let machines = [Machine {
        name: "front".into(),
        pool: "front".into(),
        role: Role::FrontEnd,
        address: "192.0.2.7".into(),
        port: 22,
        user: "root".into(),
        pod_cidr: "10.244.0.0/24".into(),
        shape: crate::model::node::Shape::default(),
    }];
    assert_eq!(loaded.queues(&spec("kubernetes"), &machines).unwrap(), []);
    let found = loaded.queues(&spec("functions"), &machines).unwrap();
    let Place::Gateway { url, access } = &found[0].place else { panic!("{found:?}") };
    assert_eq!(url, "http://192.0.2.7:30301");
    assert!(matches!(&access.secret, Some(Secret::Kubernetes { name, .. }) if name == "daemon"));
    let own = "[[queue]]\nname = \"functions\"\nkind = \"gateway\"\nurl = \"https://gateway.example\"\n";
    let loaded = Loaded::parse("m.toml", own).unwrap();
    let named = loaded.queues(&spec("functions"), &machines).unwrap();
    assert_eq!(named.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["functions"]);
}
