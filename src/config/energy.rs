//! Energy as the config says it: what machines draw, on which rack they hang, and how much all may draw together.

use std::collections::BTreeSet;

use serde::Deserialize;
use toml::Spanned;

use super::{ConfigError, Loaded, Millis};
use crate::autoscaler::energy::{Energy, Watts};

/// `[energy]`. What is not set is as in [`Energy::default`].
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnergyEntry {
    /// How long a machine that is powered on is expected to stay.
    pub stay: Option<Millis>,
    /// What one pod's waiting is worth, as if it drew so many watts.
    pub waiting_watts: Option<u32>,
    /// How long a machine takes to boot that has not booted yet.
    pub boot: Option<Millis>,
    /// All machines together may draw so much.
    pub max_watts: Option<u32>,
    /// What a kWh costs. Only `marea simulate` reads it.
    pub price: Option<f64>,
    /// Of what; EUR unless it is said.
    pub currency: Option<String>,
}

/// `watts = { idle = 60, full = 180, standby = 6 }` of a machine or a pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WattsEntry {
    idle: Option<u32>,
    full: Option<u32>,
    standby: Option<u32>,
}

/// `[[rack]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RackEntry {
    name: Spanned<String>,
    max_watts: u32,
}

impl Loaded {
    /// What is known of energy.
    pub(super) fn energy(&self) -> Result<Energy, ConfigError> {
        let entry = &self.config.energy;
        let mut energy = Energy::default();
        energy.stay_ms = entry.stay.map_or(energy.stay_ms, |t| t.0);
        energy.waiting_watts = entry.waiting_watts.unwrap_or(energy.waiting_watts);
        energy.boot_ms = entry.boot.map_or(energy.boot_ms, |t| t.0);
        energy.max_watts = entry.max_watts;
        let mut known: BTreeSet<&str> = BTreeSet::new();
        for pool in &self.config.pools {
            if let Some(watts) = self.watts(&pool.name, pool.watts, pool.rack.as_ref())? {
                energy.pools.insert(pool.name.get_ref().clone(), watts);
            }
            known.extend(pool.rack.as_deref());
        }
        for machine in &self.config.machines {
            if let Some(watts) = self.watts(&machine.name, machine.watts, machine.rack.as_ref())? {
                energy.machines.insert(machine.name.get_ref().clone(), watts);
            }
            known.extend(machine.rack.as_deref());
        }
        for rack in &self.config.racks {
            let name = rack.name.get_ref();
            if !known.contains(name.as_str()) {
                return Err(self.error(rack.name.span(), format!("[[rack]]: no machine or pool has rack = \"{name}\"")));
            }
            energy.racks.insert(name.clone(), rack.max_watts);
        }
        Ok(energy)
    }

    fn watts(
        &self,
        name: &Spanned<String>,
        watts: Option<WattsEntry>,
        rack: Option<&String>,
    ) -> Result<Option<Watts>, ConfigError> {
        if watts.is_none() && rack.is_none() {
            return Ok(None);
        }
        let WattsEntry { idle, full, standby } = watts.unwrap_or_default();
        let above = |low: Option<u32>, high: Option<u32>| low.zip(high).is_some_and(|(low, high)| low > high);
        if above(idle, full) || above(standby, idle) || above(standby, full) {
            let message = format!("`{}`: watts must rise from standby to idle to full", name.get_ref());
            return Err(self.error(name.span(), message));
        }
        Ok(Some(Watts { idle, full, standby, rack: rack.cloned() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[energy]\nmax_watts = 4000\nstay = \"30m\"\n[[pool]]\nname = \"wn\"\nwatts = { idle = 60, full = 180, standby = 6 }\nrack = \"r1\"\n\
        [[machine]]\nname = \"a\"\npool = \"wn\"\naddress = \"h\"\nwatts = { idle = 90 }\n[[rack]]\nname = \"r1\"\nmax_watts = 2000\n";

    #[test]
    fn watts_and_racks_are_read() {
        let energy = Loaded::parse("m.toml", TEXT).unwrap().energy().unwrap();
        assert_eq!((energy.max_watts, energy.stay_ms, energy.racks["r1"]), (Some(4000), 1_800_000, 2000));
        let pool = &energy.pools["wn"];
        assert_eq!(
            (pool.idle, pool.full, pool.standby, pool.rack.as_deref()),
            (Some(60), Some(180), Some(6), Some("r1"))
        );
        assert_eq!((energy.machines["a"].idle, energy.machines["a"].full), (Some(90), None));
    }

    #[test]
    fn what_cannot_be_is_an_error_with_its_line() {
        for (from, to, word) in [
            ("full = 180", "full = 50", "must rise"),
            ("standby = 6", "standby = 66", "must rise"),
            ("name = \"r1\"", "name = \"r2\"", "no machine or pool"),
        ] {
            let error = Loaded::parse("m.toml", &TEXT.replacen(from, to, 1)).unwrap().energy().unwrap_err();
            assert!(error.message.contains(word) && error.line > 3, "{error}");
        }
    }
}
