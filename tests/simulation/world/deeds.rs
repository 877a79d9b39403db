//! Deeds: what the core's actions do to a world, late, wrongly or not at all.

use marea::autoscaler::{Action, Event, What};
use marea::model::machine::Power;

use super::{Happens, SECOND, World};

impl World {
    /// Does what an action says; answers unless the daemon is gone.
    pub(super) fn take(&mut self, action: &Action, answer: bool) {
        let machine = action.machine.clone();
        let fault = !self.calm && self.rng.percent(6);
        let mut seen = None;
        let error = match &action.what {
            What::Observe => {
                seen = Some(if fault {
                    Event::PowerUnseen { machine: machine.clone(), reason: "no answer".into() }
                } else {
                    let power = if self.real[&machine].on { Power::On } else { Power::Off };
                    Event::PowerSeen { machine: machine.clone(), power }
                });
                fault.then(|| "no answer".to_owned())
            }
            What::PowerOn => {
                // An error may come although it worked.
                if !fault || self.rng.percent(30) {
                    self.power_on(&machine);
                }
                fault.then(|| "timed out".to_owned())
            }
            What::PowerCycle => {
                if !fault || self.rng.percent(30) {
                    self.cut(&machine);
                    self.power_on(&machine);
                }
                fault.then(|| "timed out".to_owned())
            }
            What::PowerOff { .. } => {
                if !fault || self.rng.percent(30) {
                    self.cut(&machine);
                }
                fault.then(|| "timed out".to_owned())
            }
            _ if !self.api_up || fault => Some("the API server does not answer".to_owned()),
            What::Cordon | What::Uncordon => {
                let cordon = action.what == What::Cordon;
                match self.nodes.get(&machine).cloned() {
                    None => Some("no such node".to_owned()),
                    Some(mut node) => {
                        (node.cordoned, node.cordoned_by_us) = (cordon, cordon);
                        self.put_node(node);
                        None
                    }
                }
            }
            What::Shun | What::Unshun => {
                if let Some(mut node) = self.nodes.get(&machine).cloned() {
                    node.shunned = action.what == What::Shun;
                    self.put_node(node);
                }
                None
            }
            What::Drain { pods } => {
                for id in pods {
                    if self.pods.get(id).is_some_and(|pod| pod.node.as_deref() == Some(&machine)) {
                        self.remove_pod(id, true);
                    }
                }
                None
            }
            What::DeleteNode { uid } => match self.nodes.get(&machine) {
                Some(node) if node.uid != *uid => Some("another UID".to_owned()),
                Some(_) => {
                    self.unregister(&machine);
                    None
                }
                None => None,
            },
        };
        if answer {
            let done = Event::Done { action: action.id, machine, error };
            for event in seen.into_iter().chain([done]) {
                self.after(1, Happens::Deliver { stream: None, epoch: Some(self.epoch), event: Box::new(event) });
            }
        }
    }

    pub(super) fn power_on(&mut self, machine: &str) {
        let boot_timeout = self.policy.boot_timeout_ms;
        let (slow, never, dies) = (self.rng.percent(8), self.rng.percent(6), self.rng.percent(8));
        let real = self.real.get_mut(machine).unwrap();
        if real.on {
            return;
        }
        self.boots += 1;
        real.on = true;
        real.on_since = self.now;
        real.boot += 1;
        let (boot, lemon) = (real.boot, real.lemon);
        let machine = machine.to_owned();
        // A node of the boot before is missed by the node controller, should this one not come up.
        self.after(40 * SECOND, Happens::NotReady { machine: machine.clone(), boot });
        if !lemon && (!never || self.calm) {
            let delay = if slow && !self.calm {
                boot_timeout + self.rng.range(-60, 60) * SECOND
            } else {
                self.rng.range(5, 80) * SECOND
            };
            self.after(delay, Happens::Booted { machine: machine.clone(), boot });
        }
        if dies {
            let delay = self.rng.range(1, 1200) * SECOND;
            self.after(delay, Happens::Dies { machine, boot });
        }
    }

    /// The power goes, for whatever reason.
    pub(super) fn cut(&mut self, machine: &str) {
        let real = self.real.get_mut(machine).unwrap();
        if !real.on {
            return;
        }
        (real.on, real.kubelet) = (false, false);
        real.boot += 1;
        let boot = real.boot;
        self.after(40 * SECOND, Happens::NotReady { machine: machine.to_owned(), boot });
    }
}
