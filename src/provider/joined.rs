//! The joined provider: machines of metal, each switched and seen by the means that it has: on by a magic packet, off
//! by SSH, seen by its BMC, say. Off is believed only when a second witness agrees with whoever said so.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::means::Means;
use super::off::Waiting;
use super::sight::MeansError;
use super::{Provider, ProviderError, network};
use crate::clock;
use crate::model::machine::{Off, Power};

const NAME: &str = "joined";
/// A machine that was proven off and is still said to be off need not be asked by network each time.
const BELIEVED: Duration = Duration::from_secs(60);

/// How one machine is switched and seen.
#[derive(Clone)]
pub struct Joint {
    /// Powers on.
    pub on: Means,
    /// Asks for power off.
    pub off: Means,
    /// Cuts the power, and cycles it.
    pub hard: Means,
    /// Says whether it is on.
    pub observe: Means,
    /// Measures what it draws.
    pub watts: Option<Means>,
    /// Where the second witness asks.
    pub address: String,
    /// The SSH port there.
    pub port: u16,
    /// A machine that draws more than this is not off.
    pub standby_watts: u32,
    /// How long a machine may take from the order until it is seen off.
    pub patience: Duration,
}

/// Machines that join their means.
pub struct JoinedProvider {
    machines: BTreeMap<String, Joint>,
    glance: Duration,
    believed: Mutex<BTreeMap<String, Instant>>,
}

impl JoinedProvider {
    /// A provider for these machines.
    pub fn new(machines: BTreeMap<String, Joint>) -> Self {
        Self { machines, glance: Duration::from_secs(1), believed: Mutex::default() }
    }

    /// Looks at the power this often while a machine goes off, in place of once a second.
    #[must_use]
    pub fn with_glance(self, glance: Duration) -> Self {
        Self { glance, ..self }
    }

    fn joint(&self, machine: &str) -> Result<&Joint, ProviderError> {
        let missing = || ProviderError::NoSuchMachine { provider: NAME, machine: machine.to_owned() };
        self.machines.get(machine).ok_or_else(missing)
    }

    async fn see(&self, machine: &str) -> Result<Power, ProviderError> {
        let joint = self.joint(machine)?;
        let sight = joint.observe.see().await.map_err(|e| tell("status", machine, e))?;
        if sight.power == Power::On {
            self.doubt(machine);
            return Ok(Power::On);
        }
        let now = clock::monotonic();
        let fresh = |at: &Instant| now.duration_since(*at) < BELIEVED;
        if self.believed.lock().is_ok_and(|believed| believed.get(machine).is_some_and(fresh)) {
            return Ok(Power::Off);
        }
        if let Some(but) = joint.contradiction().await {
            self.doubt(machine);
            let says = joint.observe.name();
            return Err(ProviderError::Unverified { machine: machine.to_owned(), says, but });
        }
        if let Ok(mut believed) = self.believed.lock() {
            believed.insert(machine.to_owned(), now);
        }
        Ok(Power::Off)
    }

    /// It may not be off any more: the next who says so is not believed alone.
    fn doubt(&self, machine: &str) {
        if let Ok(mut believed) = self.believed.lock() {
            believed.remove(machine);
        }
    }

    async fn switch_on(&self, machine: &str) -> Result<(), ProviderError> {
        let joint = self.joint(machine)?;
        match self.see(machine).await {
            Ok(Power::On) => return Ok(()),
            // What is perhaps on may be told to be on.
            Ok(Power::Off) | Err(ProviderError::Unverified { .. }) => {}
            Err(error) => return Err(error),
        }
        self.doubt(machine);
        joint.on.on().await.map_err(|e| tell("power on", machine, e))
    }

    async fn switch_off(&self, machine: &str, how: Off) -> Result<(), ProviderError> {
        let joint = self.joint(machine)?;
        match self.see(machine).await {
            Ok(Power::Off) => return Ok(()),
            Ok(Power::On) | Err(ProviderError::Unverified { .. }) => {}
            Err(error) => return Err(error),
        }
        let began = clock::monotonic();
        let means = match how {
            Off::Graceful => &joint.off,
            Off::Hard => &joint.hard,
        };
        let order = means.off(how).await.map_err(|error| tell("power off", machine, error));
        let waiting = Waiting { machine, began, patience: joint.patience, glance: self.glance };
        waiting.seen_off(order, || self.see(machine)).await
    }

    async fn cycle(&self, machine: &str) -> Result<(), ProviderError> {
        let joint = self.joint(machine)?;
        self.doubt(machine);
        // A BMC refuses to cycle what is off.
        if let Ok(Power::Off) = self.see(machine).await {
            return joint.on.on().await.map_err(|e| tell("power on", machine, e));
        }
        joint.hard.cycle().await.map_err(|e| tell("power cycle", machine, e))
    }
}

impl Joint {
    /// What speaks against the machine being off, if anything does.
    async fn contradiction(&self) -> Option<String> {
        // By SSH it was seen by two ways already, ping and its port.
        if !matches!(self.observe, Means::Ssh(_))
            && let Some(answer) = network::signs(&self.address, self.port).await.answer()
        {
            return Some(format!("{} {answer}", self.address));
        }
        let watts = match &self.watts {
            Some(means) => means.watts().await,
            None => None,
        };
        watts
            .filter(|watts| *watts > self.standby_watts)
            .map(|watts| format!("it draws {watts} W, more than the {} W of a machine that is off", self.standby_watts))
    }
}

fn tell(what: &'static str, machine: &str, error: MeansError) -> ProviderError {
    let machine = machine.to_owned();
    match error {
        MeansError::Refused(reason) => ProviderError::Refused { what, machine, reason },
        MeansError::Failed(reason) => ProviderError::Failed { what, machine, reason },
        MeansError::Late(seconds) => ProviderError::TimedOut { what, machine, seconds },
    }
}

impl Provider for JoinedProvider {
    fn name(&self) -> &'static str {
        NAME
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async move { Ok(self.machines.keys().cloned().collect()) })
    }

    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>> {
        Box::pin(self.see(machine))
    }

    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_on(machine))
    }

    fn power_off<'a>(&'a self, machine: &'a str, how: Off) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.switch_off(machine, how))
    }

    fn power_cycle<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(self.cycle(machine))
    }

    fn watts<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Option<u32>> {
        Box::pin(async move {
            match self.machines.get(machine)?.watts.as_ref() {
                Some(means) => means.watts().await,
                None => None,
            }
        })
    }
}
