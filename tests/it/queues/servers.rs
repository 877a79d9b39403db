//! Redis, NATS, RabbitMQ and Prometheus, each the real one.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::*;

/// Says one command to Redis in its own protocol.
fn redis(port: u16, password: Option<&str>, words: &[&str]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut said = String::new();
    let mut say = |words: &[&str]| {
        let mut text = format!("*{}\r\n", words.len());
        for word in words {
            text.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = [0u8; 4096];
        let count = stream.read(&mut answer).unwrap();
        said = String::from_utf8_lossy(&answer[..count]).into_owned();
        assert!(!said.starts_with('-'), "{words:?}: {said}");
    };
    if let Some(password) = password {
        say(&["AUTH", password]);
    }
    say(words);
    said
}

async fn redis_server(program: &Path, folder: &Path, port: u16, password: &str) -> Server {
    let server = Server::start(
        Command::new(program)
            .args([
                "--bind",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--appendonly",
                "yes",
                "--appendfsync",
                "always",
            ])
            .args(["--requirepass", password, "--dir"])
            .arg(folder),
    );
    until("redis", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    // It answers nothing else while it loads its file.
    tokio::time::sleep(Duration::from_millis(300)).await;
    server
}

/// A Redis for other tests, with a folder and a port of its own.
pub struct Redis {
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
    server: Server,
}

impl Redis {
    pub async fn start() -> Option<Self> {
        let program = program(&["/usr/bin/redis-server"], "redis-server")?;
        let (folder, port) = (tempfile::tempdir().unwrap(), port());
        let server = redis_server(&program, folder.path(), port, "hunter2").await;
        std::fs::write(folder.path().join("password"), "hunter2").unwrap();
        Some(Self { program, folder, port, server })
    }

    pub fn say(&self, words: &[&str]) {
        redis(self.port, Some("hunter2"), words);
    }

    pub fn kill(&mut self) {
        self.server.kill();
    }

    pub async fn restart(&mut self) {
        self.server = redis_server(&self.program, self.folder.path(), self.port, "hunter2").await;
    }

    /// Its list `jobs` as a queue, whose pods ask for this.
    pub fn source(&self, requests: &str) -> marea::config::queues::Source {
        let secret = self.folder.path().join("password");
        let text = format!(
            "[[queue]]\nname = \"jobs\"\nkind = \"redis-list\"\nkey = \"jobs\"\nurl = \"redis://127.0.0.1:{}\"\n\
             password_file = \"{}\"\nevery = \"100ms\"\nmax_age = \"600ms\"\n[queue.pod]\n\
             labels = {{ app = \"x\" }}\nrequests = {requests}\n",
            self.port,
            secret.display()
        );
        source(&text)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_list_and_a_stream_are_read_lost_and_back() {
    let Some(program) = program(&["/usr/bin/redis-server"], "redis-server") else { return };
    let (folder, port, password) = (tempfile::tempdir().unwrap(), port(), "hunter2");
    let secret = folder.path().join("password");
    std::fs::write(&secret, format!("{password}\n")).unwrap();
    let mut server = redis_server(&program, folder.path(), port, password).await;
    let place = format!("url = \"redis://127.0.0.1:{port}/0\"\npassword_file = \"{}\"\n", secret.display());
    let mut list =
        Watched::start(&format!("[[queue]]\nname = \"l\"\nkind = \"redis-list\"\nkey = \"jobs\"\n{place}{POD}")).await;
    assert_eq!(list.waits(0).await.in_flight, None, "there is no such list yet, so it is empty");
    let say = |words: &[&str]| redis(port, Some(password), words);
    say(&["RPUSH", "jobs", "a", "b", "c"]);
    list.waits(3).await;
    say(&["LPOP", "jobs"]);
    list.waits(2).await;

    say(&["XGROUP", "CREATE", "orders", "workers", "$", "MKSTREAM"]);
    let mut stream = Watched::start(&format!(
        "[[queue]]\nname = \"s\"\nkind = \"redis-stream\"\nkey = \"orders\"\ngroup = \"workers\"\n{place}{POD}"
    ))
    .await;
    assert_eq!(stream.waits(0).await.in_flight, Some(0));
    for _ in 0..4 {
        say(&["XADD", "orders", "*", "file", "x"]);
    }
    stream.waits(4).await;
    say(&["XREADGROUP", "GROUP", "workers", "me", "COUNT", "1", "STREAMS", "orders", ">"]);
    assert_eq!(stream.waits(3).await.in_flight, Some(1), "one was taken and is not acknowledged");

    server.kill();
    let reason = list.is_lost().await;
    assert!(reason.contains("cannot be reached") && !reason.contains(password), "{reason}");
    stream.is_lost().await;
    let _server = redis_server(&program, folder.path(), port, password).await;
    list.waits(2).await;
    assert_eq!(stream.waits(3).await.in_flight, Some(1));

    // What is no list, a password that is wrong, a group that is not there: refused, each in its own words.
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "guess").unwrap();
    let bad = place.replace(&secret.display().to_string(), &wrong.display().to_string());
    for (entry, words) in [
        (format!("kind = \"redis-list\"\nkey = \"orders\"\n{place}"), "WRONGTYPE"),
        (format!("kind = \"redis-list\"\nkey = \"jobs\"\n{bad}"), "refused"),
        (format!("kind = \"redis-stream\"\nkey = \"orders\"\ngroup = \"nobody\"\n{place}"), "no group `nobody`"),
    ] {
        let mut queue = Watched::start(&format!("[[queue]]\nname = \"q\"\n{entry}{POD}")).await;
        let reason = queue.is_lost().await;
        assert!(reason.contains(words) && !reason.contains("guess"), "{reason} should say {words}");
    }
}

/// Says one line to NATS and waits for its answer.
struct Nats(TcpStream);

impl Nats {
    fn open(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB inbox 1\r\n").unwrap();
        Self(stream)
    }

    fn ask(&mut self, subject: &str, body: &Value) -> String {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.0.write_all(format!("PUB {subject} inbox {}\r\n{body}\r\n", body.len()).as_bytes()).unwrap();
        let mut said = String::new();
        let mut part = [0u8; 8192];
        while !said.contains("MSG ") || !said.ends_with("\r\n") {
            let count = self.0.read(&mut part).unwrap();
            assert!(count > 0, "NATS hung up: {said}");
            said.push_str(&String::from_utf8_lossy(&part[..count]));
        }
        assert!(!said.contains("\"error\""), "{subject}: {said}");
        said
    }
}

async fn nats_server(program: &Path, folder: &Path, port: u16, monitor: u16) -> Server {
    let server = Server::start(
        Command::new(program)
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-m", &monitor.to_string(), "-js", "-sd"])
            .arg(folder),
    );
    for port in [port, monitor] {
        until("nats-server", async || TcpStream::connect(("127.0.0.1", port)).is_ok()).await;
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jetstream_consumer_is_read_lost_and_back() {
    let Some(program) = program(&["/usr/sbin/nats-server", "/usr/bin/nats-server"], "nats-server") else { return };
    let (folder, port, monitor) = (tempfile::tempdir().unwrap(), port(), port());
    let mut server = nats_server(&program, folder.path(), port, monitor).await;
    let mut nats = Nats::open(port);
    nats.ask("$JS.API.STREAM.CREATE.JOBS", &json!({"name": "JOBS", "subjects": ["jobs.>"], "storage": "file"}));
    let consumer = json!({"stream_name": "JOBS", "config": {"durable_name": "w", "ack_policy": "explicit"}});
    nats.ask("$JS.API.CONSUMER.DURABLE.CREATE.JOBS.w", &consumer);
    let entry = |more: &str| {
        format!(
            "[[queue]]\nname = \"n\"\nkind = \"nats-jetstream\"\nurl = \"http://127.0.0.1:{monitor}\"\nstream = \"JOBS\"\n{more}{POD}"
        )
    };
    let mut queue = Watched::start(&entry("consumer = \"w\"\n")).await;
    queue.waits(0).await;
    for _ in 0..3 {
        nats.ask("jobs.one", &json!({"file": "x"}));
    }
    queue.waits(3).await;
    // One is taken and not acknowledged.
    nats.ask("$JS.API.CONSUMER.MSG.NEXT.JOBS.w", &json!(1));
    assert_eq!(queue.waits(2).await.in_flight, Some(1));
    // Without a consumer the stream's own messages are what waits.
    Watched::start(&entry("")).await.waits(3).await;
    let reason = Watched::start(&entry("consumer = \"nobody\"\n")).await.is_lost().await;
    assert!(reason.contains("no consumer `nobody`"), "{reason}");

    server.kill();
    let reason = queue.is_lost().await;
    assert!(reason.contains("cannot be reached"), "{reason}");
    let _server = nats_server(&program, folder.path(), port, monitor).await;
    queue.sees("three that are not done", |one| one.waiting + one.in_flight.unwrap_or(0) == 3).await;
}

struct Rabbit {
    folder: tempfile::TempDir,
    port: u16,
    manage: u16,
    distribution: u16,
    /// Of epmd, the daemon that knows Erlang's nodes by name.
    names: u16,
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        // It was started by RabbitMQ, and outlives it.
        // It does not go before it has noticed that the nodes it knows are gone.
        for _ in 0..50 {
            let kill = Command::new("epmd").args(["-port", &self.names.to_string(), "-kill"]).output();
            let gone = |said: std::process::Output| {
                let said = [said.stdout, said.stderr].concat();
                ["Killed", "Cannot connect"].iter().any(|word| String::from_utf8_lossy(&said).contains(word))
            };
            if kill.is_ok_and(gone) {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Rabbit {
    fn start(&self) -> Server {
        let folder = self.folder.path();
        let conf = folder.join("rabbitmq.conf");
        let text = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
             default_user = marea\ndefault_pass = hunter2\ncollect_statistics_interval = 1000\nlog.console = false\n",
            self.port, self.manage
        );
        std::fs::write(&conf, text).unwrap();
        std::fs::write(folder.join("plugins"), "[rabbitmq_management].\n").unwrap();
        // A cookie in a home of its own, a node name and ports of its own: another RabbitMQ is not touched.
        Server::start(
            Command::new("/usr/lib/rabbitmq/bin/rabbitmq-server")
                .env("HOME", folder)
                .env("RABBITMQ_NODENAME", format!("marea{}@localhost", self.port))
                .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
                .env("RABBITMQ_CONFIG_FILE", &conf)
                .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
                .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
                .env("RABBITMQ_LOG_BASE", folder.join("log"))
                .env("RABBITMQ_PID_FILE", folder.join("pid"))
                .env("RABBITMQ_CONF_ENV_FILE", folder.join("none"))
                .env("ERL_EPMD_PORT", self.names.to_string())
                .env("ERL_EPMD_ADDRESS", "127.0.0.1")
                .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1"),
        )
    }

    /// Says something to the management port.
    async fn ask(&self, method: reqwest::Method, path: &str, body: Value) -> Option<Value> {
        let url = format!("http://127.0.0.1:{}/api/{path}", self.manage);
        let client = reqwest::Client::new();
        let request = client.request(method, url).basic_auth("marea", Some("hunter2")).json(&body);
        let response = request.send().await.ok()?.error_for_status().ok()?;
        Some(response.json().await.unwrap_or(Value::Null))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rabbitmq_queue_is_read_lost_and_back() {
    if program(&["/usr/lib/rabbitmq/bin/rabbitmq-server"], "rabbitmq-server").is_none() {
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let rabbit = Rabbit { folder, port: port(), manage: port(), distribution: port(), names: port() };
    let secret = rabbit.folder.path().join("password");
    std::fs::write(&secret, "hunter2\n").unwrap();
    let mut server = rabbit.start();
    let up = async || rabbit.ask(reqwest::Method::GET, "overview", Value::Null).await.is_some();
    until("rabbitmq-server", up).await;
    let durable = json!({"durable": true});
    rabbit.ask(reqwest::Method::PUT, "queues/%2F/jobs", durable).await.unwrap();
    let entry = format!(
        "[[queue]]\nname = \"r\"\nkind = \"rabbitmq\"\nurl = \"http://127.0.0.1:{}\"\nqueue = \"jobs\"\nusername = \"marea\"\npassword_file = \"{}\"\n",
        rabbit.manage,
        secret.display()
    );
    let mut queue = Watched::start(&format!("{entry}{POD}")).await;
    queue.waits(0).await;
    for _ in 0..3 {
        let message = json!({"properties": {"delivery_mode": 2}, "routing_key": "jobs", "payload": "x", "payload_encoding": "string"});
        rabbit.ask(reqwest::Method::POST, "exchanges/%2F/amq.default/publish", message).await.unwrap();
    }
    queue.waits(3).await;
    let take = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    rabbit.ask(reqwest::Method::POST, "queues/%2F/jobs/get", take).await.unwrap();
    assert_eq!(queue.waits(2).await.in_flight, Some(0));
    let other = entry.replace("queue = \"jobs\"", "queue = \"nothing\"");
    let reason = Watched::start(&format!("{other}{POD}")).await.is_lost().await;
    assert!(reason.contains("404"), "{reason}");

    server.kill();
    queue.is_lost().await;
    let _server = rabbit.start();
    until("rabbitmq-server again", up).await;
    queue.waits(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_query_is_read_lost_and_back() {
    let Some(program) = program(&["/usr/bin/prometheus"], "prometheus") else { return };
    let (folder, port) = (tempfile::tempdir().unwrap(), port());
    // What it scrapes: a page that says how long a line of people is.
    let length = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(3));
    let page = length.clone();
    let app = axum::Router::new().route(
        "/metrics",
        axum::routing::get(async move || {
            format!("people{{line=\"a\"}} {}\n", page.load(std::sync::atomic::Ordering::Relaxed))
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let page = tokio::spawn(async move { axum::serve(listener, app).await });
    let config = folder.path().join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n- job_name: x\n  scrape_interval: 300ms\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let start = || {
        Server::start(
            Command::new(&program)
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}")),
        )
    };
    let up = async || TcpStream::connect(("127.0.0.1", port)).is_ok();
    let mut server = start();
    until("prometheus", up).await;
    let entry = |query: &str| {
        format!(
            "[[queue]]\nname = \"p\"\nkind = \"prometheus\"\nurl = \"http://127.0.0.1:{port}\"\nquery = '{query}'\n{POD}"
        )
    };
    let mut queue = Watched::start(&entry("sum(people)")).await;
    queue.waits(3).await;
    length.store(5, std::sync::atomic::Ordering::Relaxed);
    queue.waits(5).await;
    for (query, words) in [("sum(nobody)", "no result"), ("sum(", "400"), ("people[5m]", "matrix")] {
        let reason = Watched::start(&entry(query)).await.is_lost().await;
        assert!(reason.contains(words), "{query}: {reason} should say {words}");
    }
    server.kill();
    let reason = queue.is_lost().await;
    assert!(reason.contains("cannot be reached"), "{reason}");
    let _server = start();
    until("prometheus again", up).await;
    queue.waits(5).await;
    page.abort();
}
