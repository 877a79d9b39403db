//! A provider: how machines are powered and how their power is seen. Every call may be repeated safely:
//! powering on what is on, or off what is off, is a success.

pub mod command;
pub mod im;
pub mod ipmi;
pub mod joined;
pub mod local;
pub mod means;
pub mod network;
mod off;
mod process;
pub mod redfish;
pub mod secret;
pub mod sight;
pub mod ssh;
pub mod wol;

use futures::future::BoxFuture;

use crate::model::machine::{Off, Power};

/// How the text of [`ProviderError::Unverified`] begins: the name of that state.
pub const UNVERIFIED: &str = "off-unverified";

/// What the text of [`ProviderError::Refused`] says, and no other's.
pub const REFUSED: &str = "was refused: ";

/// Why a provider could not do or see something.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The provider has no such machine. Asking again will not help: the config is wrong.
    #[error("provider `{provider}` has no machine `{machine}`")]
    NoSuchMachine {
        /// The provider's name.
        provider: &'static str,
        /// The machine that was asked for.
        machine: String,
    },
    /// The machines cannot be told. Asking again may help.
    #[error("the machines of provider `{provider}` cannot be listed: {reason}")]
    NoList {
        /// The provider's name.
        provider: &'static str,
        /// What was seen.
        reason: String,
    },
    /// It did not work this time. Asking again may help.
    #[error("{what} of `{machine}` failed: {reason}")]
    Failed {
        /// `power on`, `power off` or `status`.
        what: &'static str,
        /// The machine.
        machine: String,
        /// What was seen.
        reason: String,
    },
    /// It was refused and will be again until a person mends something: a wrong password, say.
    #[error("{what} of `{machine}` was refused: {reason}")]
    Refused {
        /// `power on`, `power off` or `status`.
        what: &'static str,
        /// The machine.
        machine: String,
        /// What is to be mended.
        reason: String,
    },
    /// One witness says that it is off, and another that it is not: neither is believed.
    #[error("off-unverified: by {says} `{machine}` is off, but {but}")]
    Unverified {
        /// The machine.
        machine: String,
        /// By which means it is said to be off.
        says: &'static str,
        /// What speaks against it.
        but: String,
    },
    /// It did not end in its time; the machine may be in either state.
    #[error("{what} of `{machine}` did not end within {seconds} s")]
    TimedOut {
        /// `power on`, `power off` or `status`.
        what: &'static str,
        /// The machine.
        machine: String,
        /// The limit that was passed.
        seconds: u64,
    },
}

/// Where a machine is reached, as its provider knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// Where it always is.
    Declared,
    /// It has no address yet: it gets one when it is made, or started.
    Unknown,
    /// There, until it is powered off.
    At {
        /// Its address.
        address: String,
        /// The port that leads to its SSH, where it is another than declared.
        port: Option<u16>,
    },
}

/// Powers machines and sees their power.
pub trait Provider: Send + Sync {
    /// The provider's name, for messages and metrics.
    fn name(&self) -> &'static str;

    /// The names of all machines that this provider can power, in order.
    fn list(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>>;

    /// Sees whether the machine is on. `Off` is a proof, never a guess: what cannot be seen is an error.
    fn power<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<Power, ProviderError>>;

    /// Powers the machine on and returns once that is under way; it need not have booted.
    fn power_on<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Powers the machine off and returns only when it is seen off.
    fn power_off<'a>(&'a self, machine: &'a str, how: Off) -> BoxFuture<'a, Result<(), ProviderError>>;

    /// Cuts the power of a machine that hangs and gives it back.
    fn power_cycle<'a>(&'a self, machine: &'a str) -> BoxFuture<'a, Result<(), ProviderError>> {
        Box::pin(async move {
            self.power_off(machine, Off::Hard).await?;
            self.power_on(machine).await
        })
    }

    /// Where it is reached. A virtual machine that is made anew may be somewhere else.
    fn whereabouts<'a>(&'a self, _machine: &'a str) -> BoxFuture<'a, Whereabouts> {
        Box::pin(async { Whereabouts::Declared })
    }

    /// Watts that the machine draws now, where somebody measures them.
    fn watts<'a>(&'a self, _machine: &'a str) -> BoxFuture<'a, Option<u32>> {
        Box::pin(async { None })
    }
}
