//! Remote: a machine reached over SSH. One multiplexed connection a host, at most eight channels on it at
//! once (sshd refuses the eleventh), one script a channel on standard input, so that nothing secret stands
//! in an argument and nothing has to be quoted twice.

mod forward;
pub mod push;
mod stream;
pub mod user;

use std::path::PathBuf;
use std::time::Duration;

use openssh::{ControlPersist, KnownHosts, Session, SessionBuilder, Stdio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

/// sshd's `MaxSessions` is 10 unless somebody lowered it; two are left for people.
const CHANNELS: usize = 8;

/// Seconds that a connection without a channel lives on.
const IDLE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(900).unwrap();

/// How hosts are reached and trusted.
#[derive(Debug, Clone)]
pub struct Access {
    /// Private key; None leaves it to the agent and to ssh's own defaults.
    pub key: Option<PathBuf>,
    /// Our own file of host keys.
    pub known_hosts: PathBuf,
    /// Folder of control sockets; a socket's path may have 108 bytes, so keep it short.
    pub control: PathBuf,
    /// False: a host that is not in `known_hosts` is refused. True: its key is pinned at first contact.
    pub accept_new: bool,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The machine's name, for messages.
    pub name: String,
    /// Address or name.
    pub address: String,
    /// Port.
    pub port: u16,
    /// User; not root means `sudo -n`.
    pub user: String,
}

/// What a script left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; 124 or 137 mean that its time ran out.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

impl Outcome {
    /// The last `count` lines of all that was printed.
    pub fn last_lines(&self, count: usize) -> Vec<&str> {
        let mut lines: Vec<_> =
            self.stdout.lines().chain(self.stderr.lines()).filter(|l| !l.trim().is_empty()).collect();
        lines.drain(..lines.len().saturating_sub(count));
        lines
    }
}

/// Why a host could not be asked. A script that ran and failed is an [`Outcome`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// No connection.
    #[error("no SSH to `{host}` at {address}: {reason}")]
    Connect {
        /// The machine.
        host: String,
        /// Where it was sought.
        address: String,
        /// What ssh said.
        reason: String,
    },
    /// The connection broke while a script ran.
    #[error("the connection to `{host}` broke: {reason}")]
    Broken {
        /// The machine.
        host: String,
        /// What was seen.
        reason: String,
    },
    /// A file of our own could not be read or made.
    #[error("{path}: {source}")]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// An open connection.
pub struct Connection {
    /// Whom it reaches.
    pub host: Host,
    session: Session,
    channels: Semaphore,
    /// The words before a program that is to be run as root.
    root: &'static [&'static str],
}

impl Connection {
    /// Connects once. The host's key must be the pinned one, or is pinned now if `accept_new` says so.
    pub async fn open(host: &Host, access: &Access) -> Result<Self, RemoteError> {
        std::fs::create_dir_all(&access.control)
            .map_err(|source| RemoteError::Local { path: access.control.clone(), source })?;
        let mut builder = SessionBuilder::default();
        builder
            .user(host.user.clone())
            .port(host.port)
            // ssh's own word for it is accept-new: a host that is known already must show the same key.
            .known_hosts_check(if access.accept_new { KnownHosts::Add } else { KnownHosts::Strict })
            .user_known_hosts_file(&access.known_hosts)
            .control_directory(&access.control)
            .clean_history_control_directory(false)
            // Should this process be killed, its ssh goes away by itself some time after.
            .control_persist(ControlPersist::IdleFor(IDLE))
            .connect_timeout(Duration::from_secs(5))
            .server_alive_interval(Duration::from_secs(10));
        if let Some(key) = &access.key {
            builder.keyfile(key);
        }
        let session = builder.connect_mux(&host.address).await.map_err(|e| RemoteError::Connect {
            host: host.name.clone(),
            address: format!("{}:{}", host.address, host.port),
            reason: chain(&e),
        })?;
        let root: &[&str] = if host.user == "root" { &[] } else { &["sudo", "-n"] };
        Ok(Self { host: host.clone(), session, channels: Semaphore::new(CHANNELS), root })
    }

    /// Tries again until the host answers or `limit` is over.
    pub async fn wait(host: &Host, access: &Access, limit: Duration) -> Result<Self, RemoteError> {
        let mut left = limit;
        let pause = Duration::from_millis(250);
        loop {
            let began = crate::clock::monotonic();
            match Self::open(host, access).await {
                Ok(connection) => return Ok(connection),
                // A wrong key or a missing file does not mend itself.
                Err(error @ RemoteError::Local { .. }) => return Err(error),
                Err(error) if error.to_string().contains("Host key verification failed") => return Err(error),
                Err(error) => {
                    left = left.saturating_sub(began.elapsed() + pause);
                    if left.is_zero() {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Runs `script` as root, for at most `limit`. The limit is held on the far side too: dropping a
    /// channel does not end what runs there.
    pub async fn run(&self, script: &str, limit: Duration) -> Result<Outcome, RemoteError> {
        self.pipe(script.as_bytes(), &["bash", "-se"], limit).await
    }

    /// Runs a program as root with `input` on its standard input.
    pub(crate) async fn pipe(&self, input: &[u8], argv: &[&str], limit: Duration) -> Result<Outcome, RemoteError> {
        self.speak(self.root, input, argv, limit).await
    }

    /// Runs `argv` behind the words `first`.
    async fn speak(
        &self,
        first: &[&str],
        input: &[u8],
        argv: &[&str],
        limit: Duration,
    ) -> Result<Outcome, RemoteError> {
        let broken = |reason: String| RemoteError::Broken { host: self.host.name.clone(), reason };
        let _permit = self.channels.acquire().await.map_err(|e| broken(e.to_string()))?;
        let seconds = limit.as_secs().max(1).to_string();
        let mut words = first.to_vec();
        words.extend(["timeout", "-k", "10", &seconds]);
        words.extend(argv);
        let (program, arguments) = words.split_first().ok_or_else(|| broken("no command".to_owned()))?;
        let mut child = self
            .session
            .command(*program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .map_err(|e| broken(chain(&e)))?;
        let (stdin, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let work = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A program that ends early closes its input: its exit code says more than this error.
                    let _closed = stdin.write_all(input).await;
                    let _closed = stdin.shutdown().await;
                }
            };
            let hear = async {
                if let Some(mut stdout) = stdout {
                    let _cut = stdout.read_to_end(&mut out).await;
                }
            };
            let hear_errors = async {
                if let Some(mut stderr) = stderr {
                    let _cut = stderr.read_to_end(&mut err).await;
                }
            };
            futures::join!(feed, hear, hear_errors);
            child.wait().await
        };
        let late = limit + Duration::from_secs(20);
        let status = tokio::time::timeout(late, work).await;
        let code = match status {
            Err(_) => return Err(broken(format!("no answer within {} s", late.as_secs()))),
            Ok(Err(openssh::Error::RemoteProcessTerminated)) => 137,
            Ok(Err(error)) => return Err(broken(chain(&error))),
            Ok(Ok(status)) => status.code().unwrap_or(137),
        };
        Ok(Outcome {
            code,
            stdout: String::from_utf8_lossy(&out).into_owned(),
            stderr: String::from_utf8_lossy(&err).into_owned(),
        })
    }

    /// Closes the connection.
    pub async fn close(self) {
        let _already_gone = self.session.close().await;
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let more = inner.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(more.trim());
        }
        source = inner.source();
    }
    text
}
