//! The gateway's stream, by a server that speaks as CONTRACT and `functions::gateway` do: a FAKE gateway, for the
//! faults that a real one has seldom. The real one is tested with the functions.

use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use super::*;

type Streams = Arc<Mutex<Vec<UnboundedSender<Result<Bytes, std::io::Error>>>>>;

/// FAKE: says what it is told to say, to whoever knows the token.
async fn speak(State(streams): State<Streams>, headers: HeaderMap) -> Response {
    if headers.get("authorization").is_none_or(|value| value != "Bearer sesame") {
        return (StatusCode::UNAUTHORIZED, "who are you?").into_response();
    }
    let (sender, mut receiver) = mpsc::unbounded_channel();
    streams.lock().unwrap().push(sender);
    let body = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
    Body::from_stream(body).into_response()
}

async fn serve(address: &str, streams: Streams) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let app = axum::Router::new().route("/marea/queue", axum::routing::get(speak)).with_state(streams);
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    (address, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

async fn heard(streams: &Streams) {
    until("a listener", async || !streams.lock().unwrap().is_empty()).await;
}

fn say(streams: &Streams, text: &str) {
    for stream in streams.lock().unwrap().iter() {
        let _ = stream.send(Ok(Bytes::copy_from_slice(text.as_bytes())));
    }
}

fn line(waiting: u64) -> String {
    let service: Value = json!({"waiting": waiting, "in_flight": 1, "limit": 9, "requests": {"cpu": "500m"},
        "node_selector": {}, "tolerations": [], "labels": {"oscar_service": "thumb"}, "held": null});
    format!("{}\n", json!({"at": "2026-01-01T00:00:00Z", "services": {"thumb": service}}))
}

/// A shorter age than a config may have, for a gateway that speaks when it is told to.
async fn watched(config: &str) -> Watched {
    let api = FakeApi::start().await;
    Watched::on(config, api.client(), api, Some(Duration::from_millis(2500)))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_stream_is_heard_lost_and_back() {
    let streams = Streams::default();
    let (address, server) = serve("127.0.0.1:0", streams.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "sesame\n").unwrap();
    let config = format!(
        "[[queue]]\nname = \"g\"\nkind = \"gateway\"\nurl = \"http://{address}\"\ntoken_file = \"{}\"\n",
        token.display()
    );
    let mut queue = watched(&config).await;
    heard(&streams).await;
    // Lines come in pieces and several at once.
    let text = line(3);
    say(&streams, &text[..20]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    say(&streams, &text[20..]);
    let backlog = queue.waits(3).await;
    assert_eq!((backlog.in_flight, backlog.limit, backlog.service.as_str()), (Some(1), Some(9), "thumb"));
    say(&streams, &format!("{}{}{}", line(4), line(5), line(6)));
    queue.waits(6).await;

    // Its stream is cut: it begins again at once, and nothing is lost by that.
    streams.lock().unwrap().clear();
    heard(&streams).await;
    say(&streams, &line(7));
    queue.waits(7).await;

    // It is gone: the queue is lost, and back with it.
    server.abort();
    streams.lock().unwrap().clear();
    let reason = queue.is_lost().await;
    assert!(!reason.contains("sesame"), "{reason}");
    let (_, server) = serve(&address.to_string(), streams.clone()).await;
    heard(&streams).await;
    say(&streams, &line(7));
    queue.waits(7).await;

    // It does not know us.
    std::fs::write(&token, "open\n").unwrap();
    let mut stranger = watched(&config).await;
    let reason = stranger.is_lost().await;
    assert!(reason.contains("401") && !reason.contains("open\n"), "{reason}");
    // It speaks nonsense.
    std::fs::write(&token, "sesame\n").unwrap();
    let mut puzzled = watched(&config).await;
    let streams_then = streams.clone();
    let babble = tokio::spawn(async move {
        loop {
            say(&streams_then, "{\"services\": 1}\n");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let reason = puzzled.is_lost().await;
    assert!(reason.contains("no depth of a queue"), "{reason}");
    babble.abort();
    server.abort();
}
