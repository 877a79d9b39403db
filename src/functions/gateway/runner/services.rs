//! What the runner does about services: their bounds, their routes, and what waits for one that is gone.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Runner;
use crate::clock;
use crate::functions::event::{EventId, Routes};
use crate::functions::gateway::judge;
use crate::functions::gateway::word::Seen;
use crate::functions::gateway::word::{Board, ServiceFact};
use crate::functions::queue::Ticket;
use crate::functions::store::Change;

impl Runner {
    pub(super) fn services_seen(&mut self, seen: Seen<ServiceFact>) {
        match seen {
            Seen::Began(_) => return,
            Seen::Broken(reason) => {
                self.core.figures.watch_fresh.set(0);
                tracing::warn!(%reason, "the watch of services broke; it begins again");
                return;
            }
            Seen::Listed(facts) => {
                let there: BTreeSet<String> = facts.iter().map(|fact| fact.name.clone()).collect();
                self.services.retain(|name, _| there.contains(name));
                for fact in facts {
                    self.service_seen(fact);
                }
                self.services_listed = true;
                self.core.figures.watch_fresh.set(1);
                let strangers: Vec<String> =
                    self.queue.depths().into_keys().filter(|name| !there.contains(name)).collect();
                for name in strangers {
                    self.bury(&name, &format!("there is no service {name} (any more)"));
                }
            }
            Seen::Applied(fact) => self.service_seen(fact),
            Seen::Gone(fact) => {
                self.services.remove(&fact.name);
                self.bury(&fact.name, &format!("the service {} was deleted", fact.name));
            }
        }
        self.post_board();
    }

    fn service_seen(&mut self, fact: ServiceFact) {
        match fact.entry {
            Ok(entry) => {
                let limit = entry.service.limit(self.core.settings.limits.jobs_per_service);
                self.queue.limit(&fact.name, limit);
                self.queue.hold(&fact.name, None);
                self.services.insert(fact.name, Arc::from(entry));
            }
            Err(reason) => {
                tracing::error!(service = %fact.name, %reason, "a service cannot be read; its events wait");
                self.queue.hold(&fact.name, Some(reason));
                self.services.remove(&fact.name);
            }
        }
    }

    pub(super) fn post_board(&self) {
        let routes = Routes::of(self.services.values().map(|entry| &entry.service));
        let waits = match (self.services_listed, self.jobs_listed) {
            (true, true) => None,
            (false, _) => Some("the services are not listed yet: the API server has not answered".to_owned()),
            (true, false) => Some("the Jobs are not listed yet: the API server has not answered".to_owned()),
        };
        self.board.send_replace(Arc::new(Board { services: self.services.clone(), routes, not_ready: waits }));
    }

    /// Puts all that waits for a service to the dead letters.
    pub(super) fn bury(&mut self, service: &str, reason: &str) {
        let tickets = self.queue.close(service);
        if tickets.is_empty() {
            return;
        }
        let at = clock::now();
        let dead = |ticket: &Ticket| Change::Dead { seq: ticket.seq, at, reason: reason.to_owned(), exit: None };
        self.core.figures.dead.inc_by(tickets.len() as u64);
        for ticket in &tickets {
            self.tell(ticket.seq, EventId([0; 16]), Some(reason.to_owned()));
        }
        let (core, changes) = (self.core.clone(), tickets.iter().map(dead).collect());
        tokio::spawn(async move { judge::write(&core, changes).await });
    }
}
