//! A provider: how machines are powered and how their power is seen. Every call may be repeated safely:
//! powering on what is on, or off what is off, is a success.

pub mod command;
pub mod local;

use futures::future::BoxFuture;

use crate::model::machine::{Off, Power};

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
}
