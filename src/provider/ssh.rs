//! The door of the machine itself: SSH, by which it is told to power off, and at which it is seen. It cannot power on.

use std::time::Duration;

use super::network;
use super::sight::MeansError;
use crate::model::machine::Power;
use crate::remote::{Access, Connection, Host, RemoteError};

/// A machine that is going down may cut the line before it answers.
const PATIENCE: Duration = Duration::from_secs(15);

/// One machine's door.
#[derive(Debug, Clone)]
pub struct Door {
    /// Where it is.
    pub host: Host,
    /// How it is reached and trusted.
    pub access: Access,
}

impl Door {
    /// Has the operating system power the machine off.
    pub async fn off(&self) -> Result<(), MeansError> {
        let connection = Connection::open(&self.host, &self.access).await.map_err(tell)?;
        let outcome = connection.run("systemctl poweroff\n", PATIENCE).await;
        connection.close().await;
        match outcome {
            Ok(outcome) if outcome.code == 0 => Ok(()),
            // It is gone in the middle of the answer: what is seen next decides.
            Err(RemoteError::Broken { .. }) => Ok(()),
            Ok(outcome) => Err(MeansError::Failed(format!(
                "`systemctl poweroff` failed with exit code {}: {}",
                outcome.code,
                outcome.last_lines(3).join("; ")
            ))),
            Err(error) => Err(tell(error)),
        }
    }

    /// On when anything answers at its address; off when there is silence on every way.
    pub async fn see(&self) -> Power {
        let signs = network::signs(&self.host.address, self.host.port).await;
        if signs.answer().is_some() { Power::On } else { Power::Off }
    }
}

fn tell(error: RemoteError) -> MeansError {
    let text = error.to_string();
    if text.contains("Host key verification failed") || text.contains("HOST IDENTIFICATION HAS CHANGED") {
        return MeansError::Refused(format!(
            "the machine shows another SSH host key than before: it was reinstalled, or another answers in its place; \
             if that is right, remove its line from the known_hosts file ({text})"
        ));
    }
    if text.contains("Permission denied") {
        return MeansError::Refused(text);
    }
    MeansError::Failed(text)
}
