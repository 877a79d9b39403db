//! The HTTP face by itself: a snapshot in, pages out; and the commands' client on a real unix socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use marea::cli::socket::Daemon;
use marea::http::view::View;
use marea::http::{self, Ask, Refusal, Shared};
use marea::metrics::Metrics;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};

fn view() -> View {
    let now = marea::clock::now();
    let view = View {
        version: "0".to_owned(),
        cluster: "lab".to_owned(),
        at: now,
        fresh: true,
        frozen: None,
        journal: None,
        pending_pods: 2,
        machines: Vec::new(),
        queues: Vec::new(),
        turned: Arc::default(),
    };
    view.turned.store(now.as_millisecond(), Ordering::Relaxed);
    view
}

/// Asks over TCP as any client would: the status line's code and the body.
async fn get(address: std::net::SocketAddr, request: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\nHost: marea\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    (code, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn health_says_what_is_wrong_and_the_port_takes_no_orders() {
    let (sender, receiver) = watch::channel(Arc::new(view()));
    let (asks, _questions) = mpsc::channel(1);
    let shared = Shared { view: receiver, asks, metrics: Metrics::new().unwrap() };
    let listener = http::tcp("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = http::tcp(address).await.unwrap_err().to_string();
    assert!(taken.contains(&address.to_string()) && taken.contains("listen"), "{taken}");
    tokio::spawn(async move { axum::serve(listener, http::public(shared)).await });

    assert_eq!(get(address, "GET /healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(address, "GET /readyz").await.0, 200);
    let (code, body) = get(address, "GET /status").await;
    let status: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((code, &status["pending_pods"], &status["cluster"]), (200, &2.into(), &"lab".into()));
    assert!(get(address, "GET /metrics").await.1.contains("marea_pending_pods "));

    let mut lost = view();
    lost.frozen = Some("connection refused".to_owned());
    sender.send_replace(Arc::new(lost));
    assert_eq!(get(address, "GET /healthz").await.0, 200, "a lost watch is not the daemon's illness");
    assert_eq!(get(address, "GET /readyz").await, (503, "connection refused\n".to_owned()));

    let mut full = view();
    full.journal = Some("disk is full".to_owned());
    sender.send_replace(Arc::new(full));
    let (code, body) = get(address, "GET /healthz").await;
    assert!(code == 503 && body.contains("disk is full"), "{code} {body}");

    let stuck = view();
    stuck.turned.fetch_sub(3_600_000, Ordering::Relaxed);
    sender.send_replace(Arc::new(stuck));
    assert_eq!(get(address, "GET /healthz").await.0, 503);

    assert_eq!(get(address, "POST /v1/machines/wn-1/on").await.0, 404);
    assert_eq!(get(address, "GET /v1/why/node/wn-1").await.0, 404);
}

#[tokio::test]
async fn the_socket_is_ours_alone_and_carries_orders() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let error = Daemon::find(directory.path()).unwrap_err().to_string();
    assert!(error.contains("marea run"), "{error}");

    // Left behind by one that was killed: nobody listens. It is replaced.
    drop(http::unix(directory.path()).unwrap());
    let error = Daemon::find(directory.path()).unwrap().get::<Value>("/status").await.unwrap_err().to_string();
    assert!(error.contains("no daemon answers"), "{error}");

    let (_sender, receiver) = watch::channel(Arc::new(view()));
    let (asks, mut questions) = mpsc::channel(1);
    let shared = Shared { view: receiver, asks, metrics: Metrics::new().unwrap() };
    let socket = http::unix(directory.path()).unwrap();
    let mode = std::fs::metadata(directory.path().join(http::SOCKET)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    tokio::spawn(async move { axum::serve(socket, http::private(shared)).await });
    tokio::spawn(async move {
        while let Some(ask) = questions.recv().await {
            match ask {
                Ask::Machine { name, request, reply } if name == "wn-1" => {
                    reply.send(Ok(format!("{name} {request:?}"))).unwrap();
                }
                Ask::Machine { name, reply, .. } => {
                    reply.send(Err(Refusal::NoSuchMachine(format!("no machine `{name}`")))).unwrap();
                }
                Ask::WhyPod { id, reply } => {
                    let why = marea::autoscaler::Why { text: id.to_string(), ..marea::autoscaler::Why::default() };
                    reply.send(why).unwrap();
                }
                Ask::WhyQueue { name, reply } => {
                    reply.send(marea::autoscaler::Why { text: name, ..marea::autoscaler::Why::default() }).unwrap();
                }
                Ask::WhyNode { reply, .. } => drop(reply),
            }
        }
    });

    let daemon = Daemon::find(directory.path()).unwrap();
    let view: View = daemon.get("/status").await.unwrap();
    assert_eq!(view.cluster, "lab");
    let done: Value = daemon.post("/v1/machines/wn-1/disable").await.unwrap();
    assert_eq!(done["done"], "wn-1 Disable");
    let why: marea::autoscaler::Why = daemon.get("/v1/why/pod/ns/name").await.unwrap();
    assert_eq!(why.text, "ns/name");
    let why: marea::autoscaler::Why = daemon.get("/v1/why/queue/uploads").await.unwrap();
    assert_eq!(why.text, "uploads");
    for (path, reason) in
        [("/v1/machines/wn-9/on", "no machine `wn-9`"), ("/v1/machines/wn-1/explode", "no order `explode`")]
    {
        let error = daemon.post::<Value>(path).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let error = daemon.get::<Value>("/v1/why/node/x").await.unwrap_err().to_string();
    assert!(error.contains("stopping"), "{error}");
}
