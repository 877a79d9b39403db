//! The observer: goes round all machines and tells what their power is, so that a machine which a person
//! switched, or lightning did, is noticed. It tells of changes, and of everything again now and then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::autoscaler::Event;
use crate::model::machine::Power;
use crate::provider::{Provider, ProviderError};

/// After so many rounds an unchanged machine is told of again: the core wants to know how old its knowledge is.
const REPEAT: u32 = 10;
/// A machine that measures nothing is asked what it draws again after so many rounds.
const UNMEASURED: u32 = 20;
/// A change of what is drawn that is worth telling: a twentieth, and no less than this.
const WATTS: u32 = 3;

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
    let mut meters: BTreeMap<String, Meter> = BTreeMap::new();
    loop {
        round.tick().await;
        let seen: Vec<(Event, Answer)> = stream::iter(rounds.machines.clone())
            .map(|machine| {
                let measures = meters.get(&machine).is_none_or(|meter| meter.unasked >= meter.pause);
                see(provider.as_ref(), machine, rounds.limit, measures)
            })
            .buffered(rounds.at_once.max(1))
            .collect()
            .await;
        for (machine, (event, watts)) in rounds.machines.iter().zip(seen) {
            if let Some(watts) = meters.entry(machine.clone()).or_default().take(watts, &event)
                && events.send(Event::Drawn { machine: machine.clone(), watts }).await.is_err()
            {
                return;
            }
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

/// What a machine said of what it draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    NotAsked,
    NotMeasured,
    Watts(u32),
}

/// What was told of what a machine draws.
#[derive(Debug, Default)]
struct Meter {
    /// What was told last, when the power was so, and how many rounds ago.
    told: Option<(u32, bool)>,
    age: u32,
    /// Rounds since it was asked, and rounds until it is asked again.
    unasked: u32,
    pause: u32,
}

impl Meter {
    /// Takes an answer in, if it was asked; answers with what is worth telling.
    fn take(&mut self, answer: Answer, power: &Event) -> Option<u32> {
        let watts = match answer {
            Answer::NotAsked => {
                self.unasked += 1;
                return None;
            }
            Answer::NotMeasured => {
                (self.unasked, self.pause) = (0, UNMEASURED);
                return None;
            }
            Answer::Watts(watts) => watts,
        };
        (self.unasked, self.pause) = (0, 0);
        let is_on = matches!(power, Event::PowerSeen { power: Power::On, .. });
        self.age += 1;
        let near = |(before, was_on): (u32, bool)| was_on == is_on && before.abs_diff(watts) < WATTS.max(before / 20);
        if self.age < REPEAT && self.told.is_some_and(near) {
            return None;
        }
        (self.told, self.age) = (Some((watts, is_on)), 0);
        Some(watts)
    }
}

async fn see(provider: &dyn Provider, machine: String, limit: Duration, measures: bool) -> (Event, Answer) {
    let event = power(provider, machine.clone(), limit).await;
    let seen = matches!(event, Event::PowerSeen { .. } | Event::OffUnverified { .. });
    // Who does not tell its power in time is not asked more.
    if !seen || !measures {
        return (event, Answer::NotAsked);
    }
    let watts = tokio::time::timeout(limit, provider.watts(&machine)).await.unwrap_or_default();
    (event, watts.map_or(Answer::NotMeasured, Answer::Watts))
}

async fn power(provider: &dyn Provider, machine: String, limit: Duration) -> Event {
    match tokio::time::timeout(limit, provider.power(&machine)).await {
        Ok(Ok(power)) => Event::PowerSeen { machine, power },
        Ok(Err(error @ ProviderError::Unverified { .. })) => {
            Event::OffUnverified { machine, reason: error.to_string() }
        }
        Ok(Err(error @ ProviderError::Refused { .. })) => Event::PowerRefused { machine, reason: error.to_string() },
        Ok(Err(error)) => Event::PowerUnseen { machine, reason: error.to_string() },
        Err(_) => Event::PowerUnseen { machine, reason: format!("no answer within {} s", limit.as_secs()) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_is_told_when_it_changes_and_now_and_then() {
        let on = Event::PowerSeen { machine: "a".into(), power: Power::On };
        let off = Event::PowerSeen { machine: "a".into(), power: Power::Off };
        let mut meter = Meter::default();
        assert_eq!(meter.take(Answer::Watts(100), &on), Some(100));
        assert_eq!(meter.take(Answer::Watts(104), &on), None, "less than a twentieth");
        assert_eq!(meter.take(Answer::Watts(106), &on), Some(106));
        assert_eq!(meter.take(Answer::Watts(106), &off), Some(106), "the power changed");
        let again = (0..REPEAT).filter(|_| meter.take(Answer::Watts(106), &off).is_some()).count();
        assert_eq!(again, 1, "once in {REPEAT} rounds");
        // One that measures nothing is left in peace for a while.
        assert_eq!((meter.take(Answer::NotMeasured, &on), meter.pause), (None, UNMEASURED));
        assert_eq!((meter.take(Answer::NotAsked, &on), meter.unasked), (None, 1));
    }
}
