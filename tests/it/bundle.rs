//! The bundle against a real server on loopback: good, corrupted, broken off, missing.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::get;

const PROGRAM: &[u8] = b"#!/bin/sh\necho a program that came over the wire, long enough to be broken in the middle\n";

/// How many requests came, and how many of them asked to go on in the middle.
#[derive(Default)]
struct Seen {
    all: AtomicUsize,
    resumed: AtomicUsize,
}

async fn good(State(seen): State<Arc<Seen>>, headers: HeaderMap) -> Response<Body> {
    seen.all.fetch_add(1, Ordering::SeqCst);
    let from: usize = headers
        .get("range")
        .and_then(|r| r.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .unwrap_or(0);
    if from > 0 {
        seen.resumed.fetch_add(1, Ordering::SeqCst);
        return Response::builder().status(StatusCode::PARTIAL_CONTENT).body(Body::from(&PROGRAM[from..])).unwrap();
    }
    Response::new(Body::from(PROGRAM))
}

/// Promises everything and breaks off after twenty bytes, the first time.
async fn breaks_off(state: State<Arc<Seen>>, headers: HeaderMap) -> Response<Body> {
    if state.all.load(Ordering::SeqCst) == 0 {
        state.all.fetch_add(1, Ordering::SeqCst);
        let pieces = futures::stream::unfold(0, |turn| async move {
            if turn == 0 {
                return Some((Ok(axum::body::Bytes::from(&PROGRAM[..20])), 1));
            }
            // Time for the first bytes to leave.
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
            Some((Err(std::io::Error::other("cut")), 2))
        });
        return Response::new(Body::from_stream(pieces));
    }
    good(state, headers).await
}

async fn corrupted() -> Vec<u8> {
    let mut bytes = PROGRAM.to_vec();
    bytes[40] ^= 1;
    bytes
}

async fn serve() -> (String, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let app = Router::new()
        .route("/good", get(good))
        .route("/breaks", get(breaks_off))
        .route("/corrupted", get(corrupted))
        .with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address, seen)
}

async fn build(folder: &Path, url: &str, sha256: &str) -> Output {
    let manifest = folder.join("list.toml");
    std::fs::write(
        &manifest,
        format!("[[program]]\nname = \"tool\"\nversion = \"1\"\nurl = \"{url}\"\nsha256 = \"{sha256}\"\n\n[[image]]\nname = \"tool\"\nversion = \"1\"\nreference = \"marea.local/tool:1\"\nprograms = {{ \"usr/bin/tool\" = \"tool\" }}\n"),
    )
    .unwrap();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_marea"));
    command.arg("--bundle").arg(folder.join("bundle")).args(["bundle", "build", "--manifest"]).arg(&manifest);
    for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.output().await.unwrap()
}

fn pinned() -> String {
    marea::bundle::digest::of(PROGRAM)
}

#[tokio::test]
async fn a_good_download_is_kept_and_not_fetched_again() {
    let (server, seen) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let out = build(folder.path(), &format!("{server}/good"), &pinned()).await;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let image = folder.path().join("bundle/images/tool.tar");
    let first = std::fs::read(&image).unwrap();
    assert_eq!(std::fs::read(folder.path().join("bundle/bin/tool")).unwrap(), PROGRAM);
    assert!(build(folder.path(), &format!("{server}/good"), &pinned()).await.status.success());
    assert_eq!(seen.all.load(Ordering::SeqCst), 1, "the second run fetches nothing");
    // Made anew, the image has the same bytes.
    std::fs::remove_file(&image).unwrap();
    assert!(build(folder.path(), &format!("{server}/good"), &pinned()).await.status.success());
    assert!(std::fs::read(&image).unwrap() == first, "the same files give the same image");
}

#[tokio::test]
async fn a_corrupted_download_is_thrown_away() {
    let (server, _) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let out = build(folder.path(), &format!("{server}/corrupted"), &pinned()).await;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("wrong checksum") && text.contains(&pinned()), "{text}");
    assert!(!folder.path().join("bundle/bin/tool").exists());
    let left = std::fs::read_dir(folder.path().join("bundle/work")).unwrap().count();
    assert_eq!(left, 0, "nothing of it is kept");
}

#[tokio::test]
async fn a_download_that_breaks_off_is_resumed() {
    let (server, seen) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let out = build(folder.path(), &format!("{server}/breaks"), &pinned()).await;
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(seen.resumed.load(Ordering::SeqCst), 1, "the second request asks for the rest");
}

#[tokio::test]
async fn what_is_missing_or_unreachable_is_named() {
    let (server, _) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    for url in [format!("{server}/nothing"), "http://127.0.0.1:9/x".to_owned()] {
        let out = build(folder.path(), &url, &pinned()).await;
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && text.contains(&url), "{text}");
    }
    let out = build(folder.path(), "http://127.0.0.1:9/x", "12").await;
    assert_eq!(out.status.code(), Some(2), "a checksum that is none is wrong use");
}

#[tokio::test]
async fn verify_finds_a_changed_piece() {
    let (server, _) = serve().await;
    let folder = tempfile::tempdir().unwrap();
    assert!(build(folder.path(), &format!("{server}/good"), &pinned()).await.status.success());
    let verify = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_marea"));
        command.arg("--bundle").arg(folder.path().join("bundle")).args(["bundle", "verify"]).output().unwrap()
    };
    assert!(verify().status.success());
    std::fs::write(folder.path().join("bundle/bin/tool"), "other").unwrap();
    let out = verify();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stdout).contains("bin/tool"));
}

#[test]
fn a_part_of_marea_is_taken_from_beside_it_and_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::copy(env!("CARGO_BIN_EXE_marea"), path("marea")).unwrap();
    std::fs::write(
        path("list.toml"),
        "[[program]]\nname = \"part\"\nversion = \"@VERSION@\"\nbeside = true\n\n[[image]]\nname = \"part\"\nversion = \"1\"\nreference = \"marea.local/part:@VERSION@\"\nprograms = { \"usr/bin/part\" = \"part\" }\n",
    )
    .unwrap();
    let build = || {
        let mut command = std::process::Command::new(path("marea"));
        command.arg("--bundle").arg(path("bundle")).args(["bundle", "build", "--manifest"]).arg(path("list.toml"));
        command.output().unwrap()
    };
    let missing = build();
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(1) && text.contains("part is not there"), "{text}");
    let mut images = Vec::new();
    for text in ["one", "one", "two"] {
        std::fs::write(path("part"), text).unwrap();
        assert!(build().status.success());
        assert_eq!(std::fs::read_to_string(path("bundle/bin/part")).unwrap(), text);
        images.push(std::fs::read(path("bundle/images/part.tar")).unwrap());
    }
    assert!(images[0] == images[1] && images[1] != images[2]);
    let index = std::fs::read_to_string(path("bundle/index.txt")).unwrap();
    assert!(index.contains(&format!("marea.local/part:{}", env!("CARGO_PKG_VERSION"))), "{index}");
}
