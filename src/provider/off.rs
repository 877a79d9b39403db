//! Off: from an order to power off until the machine is seen off. What is seen decides, not what the order came to: one
//! that ended badly may have worked.

use std::time::{Duration, Instant};

use super::ProviderError;
use crate::clock;
use crate::model::machine::Power;

/// How a machine is waited for.
pub(super) struct Waiting<'a> {
    /// The machine.
    pub(super) machine: &'a str,
    /// When the order was given.
    pub(super) began: Instant,
    /// How long it may take from then.
    pub(super) patience: Duration,
    /// How often it is looked at.
    pub(super) glance: Duration,
}

impl Waiting<'_> {
    /// Waits until it is seen off. A look that fails is repeated; the last one's error is told when the time is over.
    pub(super) async fn seen_off<Seen>(
        self,
        order: Result<(), ProviderError>,
        mut see: impl FnMut() -> Seen,
    ) -> Result<(), ProviderError>
    where
        Seen: Future<Output = Result<Power, ProviderError>>,
    {
        let mut failed = order.err();
        loop {
            let seen = see().await;
            if let Ok(Power::Off) = seen {
                return Ok(());
            }
            if let Some(error) = failed.take() {
                return Err(error);
            }
            if clock::monotonic().duration_since(self.began) >= self.patience {
                // One that is said to be off and is not is told as such.
                seen?;
                let (machine, seconds) = (self.machine.to_owned(), self.patience.as_secs());
                return Err(ProviderError::TimedOut { what: "power off", machine, seconds });
            }
            tokio::time::sleep(self.glance).await;
        }
    }
}
