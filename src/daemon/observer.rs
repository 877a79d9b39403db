//! The observer: goes round all machines and tells what their power is, so that a machine which a person
//! switched, or lightning did, is noticed. It tells of changes, and of everything again now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::autoscaler::Event;
use crate::provider::{Provider, ProviderError};

/// After so many rounds an unchanged machine is told of again: the core wants to know how old its knowledge is.
const REPEAT: u32 = 10;

/// What a round is.
#[derive(Debug, Clone)]
pub struct Rounds {
    /// The machines.
    pub machines: Vec<String>,
    /// From one round to the next.
    pub every: Duration,
    /// One machine's limit.
    pub limit: Duration,
    /// Machines asked at once.
    pub at_once: usize,
}

/// Goes round until nobody listens.
pub async fn observe(provider: Arc<dyn Provider>, rounds: Rounds, events: mpsc::Sender<Event>) {
    let mut round = tokio::time::interval(rounds.every);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once, when the core itself has every machine looked at.
    round.tick().await;
    let mut told: BTreeMap<String, (Event, u32)> = BTreeMap::new();
    loop {
        round.tick().await;
        let seen: Vec<Event> = stream::iter(rounds.machines.clone())
            .map(|machine| see(provider.as_ref(), machine, rounds.limit))
            .buffered(rounds.at_once.max(1))
            .collect()
            .await;
        for (machine, event) in rounds.machines.iter().zip(seen) {
            match told.get_mut(machine) {
                Some((before, age)) if *before == event && *age < REPEAT => {
                    *age += 1;
                    continue;
                }
                Some(_) | None => {}
            }
            told.insert(machine.clone(), (event.clone(), 0));
            if events.send(event).await.is_err() {
                return;
            }
        }
    }
}

async fn see(provider: &dyn Provider, machine: String, limit: Duration) -> Event {
    match tokio::time::timeout(limit, provider.power(&machine)).await {
        Ok(Ok(power)) => Event::PowerSeen { machine, power },
        Ok(Err(error @ ProviderError::Unverified { .. })) => {
            Event::OffUnverified { machine, reason: error.to_string() }
        }
        Ok(Err(error)) => Event::PowerUnseen { machine, reason: error.to_string() },
        Err(_) => Event::PowerUnseen { machine, reason: format!("no answer within {} s", limit.as_secs()) },
    }
}
