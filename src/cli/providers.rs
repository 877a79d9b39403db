//! Providers as the config names them: the same for the command that makes a cluster and for the daemon.

use std::path::Path;

use crate::config::Loaded;
use crate::provider::command::{CommandProvider, Commands};
use crate::provider::local::{LocalError, LocalProvider, Settings};

/// Machines on this computer, once it is sure that it can have some.
pub fn local(config: &Loaded, state: &Path) -> Result<LocalProvider, LocalError> {
    let local = &config.config.local;
    let settings = Settings { scope: local.scope.clone(), subnet: local.subnet.clone(), ..Settings::new(state) };
    let provider = LocalProvider::open(settings)?;
    provider.check_computer()?;
    Ok(provider)
}

/// Machines with commands of their own; the error says what is wrong with the config.
pub fn command(config: &Loaded) -> Result<CommandProvider, String> {
    let commands = config.config.machines.iter().map(|m| {
        let timeout = m.timeout.map_or(60, |t| u64::try_from(t.0 / 1000).unwrap_or(60));
        let (on, off) = (m.on.clone(), m.off.clone());
        let commands = Commands { on, off, off_hard: m.off_hard.clone(), status: m.status.clone(), timeout };
        (m.name.get_ref().clone(), commands)
    });
    CommandProvider::new(commands.collect())
}
