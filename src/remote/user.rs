//! A machine's ordinary user: programs run as whoever the connection is of, without `sudo`, on machines where
//! nobody here may be root.

use std::time::Duration;

use openssh::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;

use super::{Connection, Outcome, RemoteError, chain};

impl Connection {
    /// What else is run as root is run as the connection's own user: nobody here is root there.
    #[must_use]
    pub fn as_ordinary_user(mut self) -> Self {
        self.root = &[];
        self
    }

    /// Runs a program as the connection's user with `input` on its standard input, for at most `limit`.
    pub async fn ask(&self, input: &[u8], argv: &[&str], limit: Duration) -> Result<Outcome, RemoteError> {
        self.speak(&[], input, argv, limit).await
    }

    /// Hands on each line that a program prints, until it ends, nobody listens any more, or it has been silent for
    /// so long that the connection must be dead. Its standard input stays open: when that ends, so should it.
    pub async fn follow(&self, argv: &[&str], silence: Duration, lines: &mpsc::Sender<String>) -> RemoteError {
        let broken = |reason: String| RemoteError::Broken { host: self.host.name.clone(), reason };
        let Some((program, arguments)) = argv.split_first() else { return broken("no command".to_owned()) };
        let Ok(_permit) = self.channels.acquire().await else { return broken("it was closed".to_owned()) };
        let mut command = self.session.command(*program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = match command.spawn().await {
            Ok(child) => child,
            Err(error) => return broken(chain(&error)),
        };
        let _open = child.stdin().take();
        let Some(stdout) = child.stdout().take() else { return broken("no output".to_owned()) };
        let mut reader = BufReader::new(stdout).lines();
        loop {
            match tokio::time::timeout(silence, reader.next_line()).await {
                Err(_) => return broken(format!("it said nothing for {} s", silence.as_secs())),
                Ok(Err(error)) => return broken(chain(&error)),
                Ok(Ok(None)) => return broken(format!("`{}` ended", argv.join(" "))),
                Ok(Ok(Some(line))) => {
                    if lines.send(line).await.is_err() {
                        return broken("nobody listens".to_owned());
                    }
                }
            }
        }
    }
}
