//! The real Infrastructure Manager for tests, from PyPI, and a relay before it that is slow, or lies, when told to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::bmc::{Server, venv};

/// A server with a database in a folder: started again there, it knows what it knew.
pub struct ImServer {
    pub port: u16,
    folder: PathBuf,
    python: PathBuf,
    server: Option<Server>,
}

impl ImServer {
    pub fn start(test: &str, folder: &Path) -> Option<Self> {
        let python = venv(test, &["IM==2.0.0"])?.join("bin/python");
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Self { port, folder: folder.to_owned(), python, server: None };
        server.up();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its Python environment.
    pub fn venv(&self) -> &Path {
        self.python.ancestors().nth(2).unwrap()
    }

    /// Starts it, and waits until it answers.
    pub fn up(&mut self) {
        let child = Command::new(&self.python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/im.py"))
            .arg(self.port.to_string())
            .arg(&self.folder)
            .current_dir(&self.folder)
            // Its image has this in a file of Ansible's.
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.join("im.err")).unwrap())
            .spawn()
            .unwrap();
        self.server = Some(Server(child));
        let answers = (0..1200).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        });
        assert!(
            answers,
            "the Infrastructure Manager did not start: {}",
            fs::read_to_string(self.folder.join("im.err")).unwrap()
        );
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        self.server = None;
    }
}

/// What a relay does with requests that begin with `POST`; all others go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Honest = 0,
    /// Hands it on and loses the answer.
    LosesAnswer = 1,
    /// Answers 200 and hands nothing on.
    DoesNothing = 2,
    /// Everything, also questions, is answered by what is no JSON.
    Garbles = 3,
    /// Everything is answered after a minute.
    Sleeps = 4,
}

/// A relay of our own before a server, for what the server itself never does.
pub struct Relay {
    pub url: String,
    mode: Arc<AtomicU8>,
    /// Orders to add and to remove that came by.
    orders: Arc<[AtomicUsize; 2]>,
}

impl Relay {
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mode = Arc::new(AtomicU8::new(Mode::Honest as u8));
        let orders = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (told, counted) = (Arc::clone(&mode), Arc::clone(&orders));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, port, Arc::clone(&told), Arc::clone(&counted)));
            }
        });
        Self { url, mode, orders }
    }

    /// How many orders to add and to remove came by.
    pub fn orders(&self) -> (usize, usize) {
        (self.orders[0].load(Ordering::SeqCst), self.orders[1].load(Ordering::SeqCst))
    }

    pub fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

async fn relay(mut client: TcpStream, port: u16, mode: Arc<AtomicU8>, orders: Arc<[AtomicUsize; 2]>) {
    let mut request = Vec::new();
    let mut piece = vec![0; 65536];
    // One request a connection: its head, and as much body as it announces.
    loop {
        let Ok(count @ 1..) = client.read(&mut piece).await else { return };
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some(head) = text.find("\r\n\r\n") else { continue };
        let length = text[..head]
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if request.len() >= head + 4 + length.unwrap_or(0) {
            break;
        }
    }
    let mode = mode.load(Ordering::SeqCst);
    let is_order = request.starts_with(b"POST");
    for (word, count) in [&b"POST"[..], b"DELETE"].into_iter().zip(&*orders) {
        count.fetch_add(usize::from(request.starts_with(word)), Ordering::SeqCst);
    }
    let answer = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/uri-list\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    if mode == Mode::Sleeps as u8 {
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    if mode == Mode::Garbles as u8 {
        let _ = client.write_all(answer("<html>a portal</html>").as_bytes()).await;
        return;
    }
    if mode == Mode::DoesNothing as u8 && is_order {
        let _ = client.write_all(answer("").as_bytes()).await;
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let text = String::from_utf8_lossy(&request).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let _ = server.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    let _ = server.read_to_end(&mut heard).await;
    if !(mode == Mode::LosesAnswer as u8 && is_order) {
        let _ = client.write_all(&heard).await;
    }
}
