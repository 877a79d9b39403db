//! Means: one way to switch or see one machine, such as its BMC or a magic packet. Few can do everything, so a
//! machine joins several: on by one, off by another, seen by a third (`joined`).

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Provider as _;
use super::command::CommandProvider;
use super::ipmi::Bmc;
use super::redfish::Redfish;
use super::sight::{MeansError, Sight};
use super::ssh::Door;
use super::wol::Packet;
use crate::model::machine::Off;

/// One way to switch or see one machine.
#[derive(Clone)]
pub enum Means {
    /// A BMC that speaks IPMI.
    Ipmi(Arc<Bmc>),
    /// A BMC that speaks Redfish.
    Redfish(Arc<Redfish>),
    /// A magic packet.
    Wol(Arc<Packet>),
    /// The machine itself, over SSH.
    Ssh(Arc<Door>),
    /// Commands of the administrator, by the machine's name.
    Command(Arc<CommandProvider>, String),
    /// A person.
    Hand,
}

impl Means {
    /// Its name, as the config has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ipmi(_) => "ipmi",
            Self::Redfish(_) => "redfish",
            Self::Wol(_) => "wol",
            Self::Ssh(_) => "ssh",
            Self::Command(..) => "command",
            Self::Hand => "hand",
        }
    }

    /// True where what it says comes from a controller that outlives the machine's own power and network.
    pub fn is_controller(&self) -> bool {
        matches!(self, Self::Ipmi(_) | Self::Redfish(_))
    }

    /// Powers on; returns once that is under way.
    pub fn on(&self) -> BoxFuture<'_, Result<(), MeansError>> {
        match self {
            Self::Ipmi(bmc) => Box::pin(bmc.on()),
            Self::Redfish(bmc) => Box::pin(bmc.on()),
            Self::Wol(packet) => Box::pin(packet.send()),
            Self::Command(provider, machine) => Box::pin(async { Ok(provider.power_on(machine).await?) }),
            Self::Ssh(_) | Self::Hand => Box::pin(async { Err(self.cannot("power on")) }),
        }
    }

    /// Asks for power off, or cuts it; returns once that is under way.
    pub fn off(&self, how: Off) -> BoxFuture<'_, Result<(), MeansError>> {
        match self {
            Self::Ipmi(bmc) => Box::pin(bmc.off(how)),
            Self::Redfish(bmc) => Box::pin(bmc.off(how)),
            Self::Command(provider, machine) => Box::pin(async move { Ok(provider.power_off(machine, how).await?) }),
            Self::Ssh(door) if how == Off::Graceful => Box::pin(door.off()),
            Self::Ssh(_) => Box::pin(async { Err(self.cannot("cut the power")) }),
            Self::Wol(_) | Self::Hand => Box::pin(async { Err(self.cannot("power off")) }),
        }
    }

    /// Cuts the power and gives it back.
    pub fn cycle(&self) -> BoxFuture<'_, Result<(), MeansError>> {
        match self {
            Self::Ipmi(bmc) => Box::pin(bmc.cycle()),
            Self::Redfish(bmc) => Box::pin(bmc.cycle()),
            Self::Command(..) | Self::Wol(_) | Self::Ssh(_) | Self::Hand => {
                Box::pin(async { Err(self.cannot("power-cycle")) })
            }
        }
    }

    /// Sees the power.
    pub fn see(&self) -> BoxFuture<'_, Result<Sight, MeansError>> {
        match self {
            Self::Ipmi(bmc) => Box::pin(bmc.see()),
            Self::Redfish(bmc) => Box::pin(bmc.see()),
            Self::Command(provider, machine) => {
                Box::pin(async { Ok(Sight { power: provider.power(machine).await?, watts: None }) })
            }
            Self::Ssh(door) => Box::pin(async { Ok(Sight { power: door.see().await, watts: None }) }),
            Self::Wol(_) | Self::Hand => Box::pin(async { Err(self.cannot("see the power")) }),
        }
    }

    /// The watts that are drawn now, where it measures them.
    pub fn watts(&self) -> BoxFuture<'_, Option<u32>> {
        match self {
            Self::Ipmi(bmc) => Box::pin(bmc.watts()),
            Self::Redfish(bmc) => Box::pin(bmc.watts()),
            Self::Wol(_) | Self::Ssh(_) | Self::Command(..) | Self::Hand => Box::pin(async { None }),
        }
    }

    fn cannot(&self, what: &str) -> MeansError {
        MeansError::Refused(format!("`{}` cannot {what}: name another in the machine's `power`", self.name()))
    }
}
