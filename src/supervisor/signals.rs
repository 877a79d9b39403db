//! Signals: what a container is told from outside. As its first process the supervisor must take them itself; it hands
//! them to the script.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::outcome::Failure;

/// Those that a script may wait for.
const PASSED: [i32; 6] = [1, 2, 3, 10, 12, 15];

/// Signals as they come.
pub(super) struct Signals(mpsc::UnboundedReceiver<u8>);

impl Signals {
    /// From now on, none of them ends this process.
    pub(super) fn listen() -> Result<Self, Failure> {
        let (sender, receiver) = mpsc::unbounded_channel();
        for number in PASSED {
            let mut stream = signal(SignalKind::from_raw(number))
                .map_err(|e| Failure::internal(format!("cannot listen to signal {number}: {e}")))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let _ended = sender.send(u8::try_from(number).unwrap_or_default());
                }
            });
        }
        Ok(Self(receiver))
    }

    /// The next one; waits for ever when none comes.
    pub(super) async fn next(&mut self) -> u8 {
        match self.0.recv().await {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }
}
