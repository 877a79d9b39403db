//! A machine that is no node: no container runtime, no root, an ordinary user and SSH. Its side of a run is one
//! program (`marea-udocker`), which starts runs that go on by themselves, named after their Jobs, and tells of them.
//! A connection that breaks changes nothing about a run: it is asked for again by its name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use crate::remote::{Access, Connection, Host, Outcome, RemoteError};

pub mod files;

/// Three of the machine's heartbeats.
const SILENCE: Duration = Duration::from_secs(15);
/// Between two tries to reach it: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// The exit code of a machine that takes no more runs.
const CLOSED: i32 = 75;

/// What a machine tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Report {
    /// The kernel's number of this boot.
    pub boot: String,
    /// It takes no more runs until the next boot.
    pub closed: bool,
    /// The runs that it holds, by their Jobs' names.
    pub runs: BTreeMap<String, RunFact>,
}

/// One run, as its machine tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RunFact {
    /// Its function.
    pub service: String,
    /// Its event.
    pub event: String,
    /// Which attempt it is.
    pub attempt: u32,
    /// When it began, in seconds.
    pub started: Option<i64>,
    /// The CPU that it asked for, in thousandths of a core.
    #[serde(default)]
    pub cpu_milli: u64,
    /// The memory, in bytes.
    #[serde(default)]
    pub memory: u64,
    /// How far it is.
    #[serde(flatten)]
    pub state: RunState,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RunState {
    /// Its files are there, and it was not begun.
    Ready,
    /// It runs.
    Running,
    /// It ended by itself.
    Ended {
        /// With this exit code.
        code: i32,
    },
    /// It could not be begun.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was begun, it runs no more, and it left no word.
    Lost,
}

/// What is heard of a machine.
#[derive(Debug)]
pub enum Heard {
    /// It cannot be reached.
    Silence(String),
    /// Its word.
    Report(Report),
}

/// What came of starting a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// It runs, or ran: it is known there by its name.
    There,
    /// The machine takes no more, and has not taken this one.
    Closed,
    /// It was not taken, for this reason.
    Refused(String),
}

/// How the machine's side is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// By the ordinary user who connects: the program, below the home.
    Own(String),
    /// By root, who becomes this user.
    As(String),
}

/// Where the machine's side lies below its user's home.
pub const PROGRAM: &str = ".marea/bin/marea-udocker";

impl Side {
    fn words(&self, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned());
        match self {
            Self::Own(program) => ["python3".to_owned(), program.clone()].into_iter().chain(words).collect(),
            Self::As(user) => {
                let command = format!("exec python3 {PROGRAM} {}", words.collect::<Vec<_>>().join(" "));
                ["runuser", "-l", user, "-c", &command].map(str::to_owned).to_vec()
            }
        }
    }
}

/// One machine.
pub struct Machine {
    host: watch::Sender<Host>,
    side: Side,
    access: Access,
    connection: watch::Sender<Option<Arc<Connection>>>,
}

impl Machine {
    /// One that is reached so.
    pub fn new(host: Host, side: Side, access: Access) -> Self {
        Self { host: watch::Sender::new(host), side, access, connection: watch::Sender::new(None) }
    }

    /// It is reached there from the next connection on, at the port as before unless another is said.
    pub fn moved(&self, address: &str, port: Option<u16>) {
        self.host.send_if_modified(|host| {
            let port = port.unwrap_or(host.port);
            let is_new = host.address != address || host.port != port;
            address.clone_into(&mut host.address);
            host.port = port;
            is_new
        });
    }

    /// Where it is reached.
    pub fn address(&self) -> (String, u16) {
        let host = self.host.borrow();
        (host.address.clone(), host.port)
    }

    fn name(&self) -> String {
        self.host.borrow().name.clone()
    }

    /// Connects, and tells all that is heard, until nobody listens.
    pub async fn hear(&self, heard: mpsc::Sender<Heard>) {
        let mut pause = PAUSE.0;
        while !heard.is_closed() {
            let host = self.host.borrow().clone();
            let silence = match Connection::open(&host, &self.access).await {
                Ok(connection) => {
                    pause = PAUSE.0;
                    self.listen(Arc::new(connection), &heard).await
                }
                Err(error) => error.to_string(),
            };
            if heard.send(Heard::Silence(silence)).await.is_err() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Tells what comes over one connection, until it breaks; why it did.
    async fn listen(&self, connection: Arc<Connection>, heard: &mpsc::Sender<Heard>) -> String {
        let (lines, mut inbox) = mpsc::channel(16);
        let argv = self.side.words(&["watch"]);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let told = async {
            // The channel belongs to this: it ends with the connection.
            let lines = lines;
            connection.follow(&argv, SILENCE, &lines).await.to_string()
        };
        let tell = async {
            while let Some(line) = inbox.recv().await {
                match serde_json::from_str(&line) {
                    Ok(report) => {
                        self.connection.send_replace(Some(connection.clone()));
                        if heard.send(Heard::Report(report)).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => tracing::warn!(machine = %self.name(), %error, %line, "no report"),
                }
            }
        };
        let (reason, ()) = futures::join!(told, tell);
        self.connection.send_replace(None);
        reason
    }

    async fn ask(&self, words: &[&str], input: &[u8], limit: u64) -> Result<Outcome, RemoteError> {
        let connection = self.connection.borrow().clone();
        let connection = connection
            .ok_or_else(|| RemoteError::Broken { host: self.name(), reason: "it cannot be reached".to_owned() })?;
        let argv = self.side.words(words);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        connection.ask(input, &argv, Duration::from_secs(limit)).await
    }

    /// Starts a run with these files, unless it is known there by its name. Without files, one that was left ready.
    pub async fn start(&self, job: &str, files: &[u8]) -> Result<Started, RemoteError> {
        let outcome = self.ask(&["start", job], files, 120).await?;
        Ok(match outcome.code {
            0 => Started::There,
            CLOSED => Started::Closed,
            _ => Started::Refused(outcome.last_lines(3).join("; ")),
        })
    }

    /// What a run has written; nothing when there is none of it.
    pub async fn log(&self, job: &str) -> Result<Option<String>, RemoteError> {
        let outcome = self.ask(&["log", job], &[], 60).await?;
        Ok((outcome.code == 0).then_some(outcome.stdout))
    }

    /// Ends a run, if it still runs, and removes all of it.
    pub async fn remove(&self, job: &str) -> Result<(), RemoteError> {
        self.order(&["remove", job]).await
    }

    /// It takes no more runs until its next boot.
    pub async fn close(&self) -> Result<(), RemoteError> {
        self.order(&["close"]).await
    }

    /// It takes runs again.
    pub async fn open(&self) -> Result<(), RemoteError> {
        self.order(&["open"]).await
    }

    async fn order(&self, words: &[&str]) -> Result<(), RemoteError> {
        let outcome = self.ask(words, &[], 60).await?;
        if outcome.code == 0 {
            return Ok(());
        }
        Err(RemoteError::Broken { host: self.name(), reason: outcome.last_lines(3).join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_word_is_read() {
        let line = r#"{"boot": "b", "closed": false, "runs": {
            "cow-1": {"service": "cow", "event": "e", "attempt": 1, "started": 7, "state": "ended", "code": 9},
            "cow-2": {"service": "cow", "event": "e", "attempt": 2, "started": null, "state": "ready"},
            "cow-3": {"service": "cow", "event": "e", "attempt": 1, "started": 8, "state": "failed", "reason": "no"}}}"#;
        let report: Report = serde_json::from_str(line).unwrap();
        assert_eq!(report.runs["cow-1"].state, RunState::Ended { code: 9 });
        assert_eq!((report.runs["cow-2"].started, report.runs["cow-2"].attempt), (None, 2));
        assert_eq!(report.runs["cow-3"].state, RunState::Failed { reason: "no".to_owned() });
        serde_json::from_str::<Report>(r#"{"boot": "b", "closed": false, "runs": {"x": {}}}"#).unwrap_err();
    }
}
