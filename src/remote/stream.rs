//! Streaming: a script's output told line by line while it runs, both of its channels as one.

use std::time::Duration;

use openssh::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use super::{Connection, RemoteError, chain};

impl Connection {
    /// Runs `script` as root for at most `limit`, telling `say` each line as it comes. Answers its exit code.
    pub async fn stream(
        &self,
        script: &str,
        limit: Duration,
        say: &mut (dyn FnMut(&str) + Send),
    ) -> Result<i32, RemoteError> {
        let broken = |reason: String| RemoteError::Broken { host: self.host.name.clone(), reason };
        let _permit = self.channels.acquire().await.map_err(|e| broken(e.to_string()))?;
        let seconds = limit.as_secs().max(1).to_string();
        let mut words = self.root.to_vec();
        words.extend(["timeout", "-k", "10", &seconds, "bash", "-se"]);
        let (program, arguments) = words.split_first().ok_or_else(|| broken("no command".to_owned()))?;
        let mut child = self
            .session
            .command(*program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .map_err(|e| broken(chain(&e)))?;
        let (stdin, stdout) = (child.stdin().take(), child.stdout().take());
        let work = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    let _closed = stdin.write_all(script.as_bytes()).await;
                    let _closed = stdin.shutdown().await;
                }
            };
            let hear = async {
                let Some(stdout) = stdout else { return };
                let mut reader = BufReader::new(stdout);
                let mut line = Vec::new();
                // A line that is cut off is told too.
                while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                    say(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
                    line.clear();
                }
            };
            futures::join!(feed, hear);
            child.wait().await
        };
        let late = limit + Duration::from_secs(20);
        match tokio::time::timeout(late, work).await {
            Err(_) => Err(broken(format!("no answer within {} s", late.as_secs()))),
            Ok(Err(openssh::Error::RemoteProcessTerminated)) => Ok(137),
            Ok(Err(error)) => Err(broken(chain(&error))),
            Ok(Ok(status)) => Ok(status.code().unwrap_or(137)),
        }
    }
}
