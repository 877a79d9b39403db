//! A place: where a machine is reached. One that is made anew at each boot may get another address each time, so its
//! provider is asked while it boots, and once more for each machine that a new daemon finds on.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::autoscaler::Event;
use crate::autoscaler::record::Stage;
use crate::clock;
use crate::functions::machine::Machine as Door;
use crate::provider::{Provider, Whereabouts, network};

/// A machine that has not answered SSH after this long is not watched any more: it is late, and told as such.
const BOOT_WATCH: Duration = Duration::from_mins(15);

/// A machine that has no address yet is asked for it this often.
const WHEREABOUTS: Duration = Duration::from_secs(2);

/// The machines whose doors were found since this daemon was started.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<BTreeSet<String>>);

impl Found {
    /// Finds the door of a machine that is on, unless it was found before.
    pub(super) async fn seek(&self, provider: &dyn Provider, machine: &str, door: &Door) {
        if self.0.lock().is_ok_and(|found| found.contains(machine)) {
            return;
        }
        match provider.whereabouts(machine).await {
            Whereabouts::Unknown => return,
            Whereabouts::Declared => {}
            Whereabouts::At { address, port } => door.moved(&address, port),
        }
        if let Ok(mut found) = self.0.lock() {
            found.insert(machine.to_owned());
        }
    }
}

/// Tells when a machine that boots first answers ping and SSH. One that got another address is sought there from now on.
pub(super) async fn watch_boot(
    provider: &dyn Provider,
    machine: &str,
    declared: (String, u16),
    door: Option<&Door>,
    events: &mpsc::Sender<Event>,
) {
    let began = clock::monotonic();
    let (mut ping, mut ssh, mut place) = (false, false, None);
    while !ssh && began.elapsed() < BOOT_WATCH {
        if place.is_none() {
            place = match provider.whereabouts(machine).await {
                Whereabouts::Declared => Some(declared.clone()),
                Whereabouts::Unknown => None,
                Whereabouts::At { address, port } => {
                    let place = (address, port.unwrap_or(declared.1));
                    if let Some(door) = door {
                        door.moved(&place.0, Some(place.1));
                    }
                    if place != declared {
                        tracing::info!(%machine, address = %place.0, port = place.1, "it is reached at another address than before");
                    }
                    Some(place)
                }
            };
        }
        let Some((address, port)) = &place else {
            tokio::time::sleep(WHEREABOUTS).await;
            continue;
        };
        let signs = network::signs(address, *port).await;
        for (stage, now, before) in [(Stage::Ping, signs.ping, &mut ping), (Stage::Ssh, signs.ssh, &mut ssh)] {
            if now && !std::mem::replace(before, now) {
                let _ = events.send(Event::Reached { machine: machine.to_owned(), stage }).await;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;

    use super::*;
    use crate::functions::machine::Side;
    use crate::model::machine::{Off, Power};
    use crate::provider::ProviderError;
    use crate::remote::{Access, Host};

    /// A machine that has an address only when it is asked for the second time.
    struct Elsewhere {
        port: u16,
        asked: std::sync::atomic::AtomicBool,
    }

    impl Provider for Elsewhere {
        fn name(&self) -> &'static str {
            "elsewhere"
        }

        fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
            Box::pin(async { Ok(vec!["a".to_owned()]) })
        }

        fn power<'a>(&'a self, _machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
            Box::pin(async { Ok(Power::On) })
        }

        fn power_on<'a>(&'a self, _machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
            Box::pin(async { Ok(()) })
        }

        fn power_off<'a>(&'a self, _machine: &'a str, _how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
            Box::pin(async { Ok(()) })
        }

        fn whereabouts<'a>(&'a self, _machine: &'a str) -> BoxFuture<'a, Whereabouts> {
            let known = self.asked.swap(true, std::sync::atomic::Ordering::SeqCst);
            let at = Whereabouts::At { address: "127.0.0.1".to_owned(), port: Some(self.port) };
            Box::pin(async move { if known { at } else { Whereabouts::Unknown } })
        }
    }

    #[tokio::test]
    async fn a_machine_that_got_another_address_is_sought_there() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = Elsewhere { port, asked: std::sync::atomic::AtomicBool::new(false) };
        let (events, mut inbox) = mpsc::channel(8);
        // Reserved for documentation: nobody is there.
        watch_boot(&provider, "a", ("192.0.2.7".to_owned(), 22), None, &events).await;
        drop(events);
        let mut reached = Vec::new();
        while let Some(event) = inbox.recv().await {
            if let Event::Reached { stage, .. } = event {
                reached.push(stage);
            }
        }
        assert!(reached.contains(&Stage::Ssh), "{reached:?}");
    }

    #[tokio::test]
    async fn a_new_daemon_finds_the_door_of_a_machine_that_is_on() {
        let host = Host { name: "a".to_owned(), address: "192.0.2.7".to_owned(), port: 22, user: "u".to_owned() };
        let access = Access { key: None, known_hosts: "k".into(), control: "c".into(), accept_new: false };
        let door = Door::new(host, Side::Own("p".to_owned()), access);
        let provider = Elsewhere { port: 2222, asked: std::sync::atomic::AtomicBool::new(false) };
        let found = Found::default();
        found.seek(&provider, "a", &door).await;
        assert_eq!(door.address(), ("192.0.2.7".to_owned(), 22), "it has none yet");
        found.seek(&provider, "a", &door).await;
        assert_eq!(door.address(), ("127.0.0.1".to_owned(), 2222));
        // What a boot says later is newer than what is known from the start.
        door.moved("192.0.2.8", None);
        found.seek(&provider, "a", &door).await;
        assert_eq!(door.address(), ("192.0.2.8".to_owned(), 2222));
    }
}
