//! A BMC that speaks IPMI over LAN, asked by `ipmitool`: one short process a question, the password in its environment.

use std::path::PathBuf;
use std::time::Duration;

use super::process::{self, ProcessError};
use super::secret::Keeper;
use super::sight::{MeansError, Sight};
use crate::model::machine::{Off, Power};

/// One BMC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bmc {
    /// Its address or name.
    pub address: String,
    /// UDP port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password.
    pub password: Keeper,
    /// Cipher suite: 17 is the safe one, 3 what older BMCs speak.
    pub cipher: u8,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// A folder of our own that `ipmitool` takes for its user's: its list of makers there is empty, because it
    /// reads megabytes of them at each start otherwise.
    pub home: Option<PathBuf>,
}

impl Bmc {
    /// Powers on.
    pub async fn on(&self) -> Result<(), MeansError> {
        self.ask(&["chassis", "power", "on"]).await.map(drop)
    }

    /// Asks for a shutdown (the power button, by ACPI), or cuts the power.
    pub async fn off(&self, how: Off) -> Result<(), MeansError> {
        let word = match how {
            Off::Graceful => "soft",
            Off::Hard => "off",
        };
        self.ask(&["chassis", "power", word]).await.map(drop)
    }

    /// Off for a moment and on again.
    pub async fn cycle(&self) -> Result<(), MeansError> {
        self.ask(&["chassis", "power", "cycle"]).await.map(drop)
    }

    /// What the BMC says of the power.
    pub async fn see(&self) -> Result<Sight, MeansError> {
        let text = self.ask(&["chassis", "power", "status"]).await?;
        let power = power(&text).ok_or_else(|| MeansError::Failed(format!("the BMC's answer is not known:{text}")))?;
        Ok(Sight { power, watts: None })
    }

    /// What the BMC measures (DCMI), where it does.
    pub async fn watts(&self) -> Option<u32> {
        watts(&self.ask(&["dcmi", "power", "reading"]).await.ok()?)
    }

    async fn ask(&self, words: &[&str]) -> Result<String, MeansError> {
        let password = self.password.read().map_err(MeansError::Refused)?;
        let (port, cipher) = (self.port.to_string(), self.cipher.to_string());
        // -v: without it, a wrong password and a dead network are told by the same words.
        let fixed = ["ipmitool", "-v", "-I", "lanplus", "-H", &self.address, "-p", &port, "-U", &self.user, "-E"];
        let limits = ["-C", &cipher, "-L", "OPERATOR", "-N", "2", "-R", "2"];
        let argv: Vec<String> = fixed.iter().chain(&limits).chain(words).map(|word| (*word).to_owned()).collect();
        let home = self.home.as_ref().map(|home| home.display().to_string()).unwrap_or_default();
        let mut environment = vec![("IPMITOOL_PASSWORD", password.reveal())];
        if !home.is_empty() {
            environment.push(("HOME", &home));
        }
        match process::run(&argv, &environment, self.timeout).await {
            Ok((status, text)) if status.success() => Ok(text),
            Ok((_, text)) => Err(self.reason(&text)),
            Err(ProcessError::Late) => Err(MeansError::Late(self.timeout.as_secs())),
            Err(ProcessError::Failed(reason)) => {
                Err(MeansError::Refused(format!("`ipmitool` {reason}; install it (Debian: apt-get install ipmitool)")))
            }
        }
    }

    /// What `ipmitool` said, in words that help.
    fn reason(&self, text: &str) -> MeansError {
        let at = format!("{}:{}", self.address, self.port);
        if text.contains("RAKP 2 HMAC is invalid") || text.contains("RAKP 4 message has invalid") {
            return MeansError::Refused(format!("the BMC at {at} does not take the password of `{}`", self.user));
        }
        if text.contains("unauthorized name") {
            return MeansError::Refused(format!("the BMC at {at} has no user `{}`", self.user));
        }
        // Earlier lines may tell of a question that `ipmitool` asks of its own accord, and that needs more.
        let last = text.lines().last().unwrap_or_default();
        if last.contains("nsufficient privilege") || text.contains("unauthorized role") {
            return MeansError::Refused(format!(
                "the BMC at {at} lets `{}` switch nothing: it must be operator",
                self.user
            ));
        }
        if text.contains("invalid authentication algorithm") || text.contains("no matching cipher suite") {
            return MeansError::Refused(format!(
                "the BMC at {at} does not speak cipher suite {}; older ones speak `cipher = 3`",
                self.cipher
            ));
        }
        if text.contains("Get Auth Capabilities error") || text.contains("Address lookup for") {
            return MeansError::Failed(format!("no BMC answers at {at}"));
        }
        MeansError::Failed(format!("the BMC at {at} did not do it:{text}"))
    }
}

/// Reads `Chassis Power is on`.
fn power(text: &str) -> Option<Power> {
    text.lines().find_map(|line| match line.trim() {
        "Chassis Power is on" => Some(Power::On),
        "Chassis Power is off" => Some(Power::Off),
        _ => None,
    })
}

/// Reads `Instantaneous power reading: 214 Watts`.
fn watts(text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.contains("Instantaneous power reading"))?;
    line.split(':').nth(1)?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_of_a_bmc_are_read() {
        assert_eq!(power("\n    Loading IANA PEN Registry...\n    Chassis Power is on"), Some(Power::On));
        assert_eq!(power("\n    Chassis Power is off"), Some(Power::Off));
        assert_eq!(power("\n    Chassis Power is unknown"), None);
        // As `ipmitool` 1.8.19 prints a DCMI reading.
        let text = "\n    Instantaneous power reading:                   214 Watts\n    Minimum during sampling period:                 18 Watts";
        assert_eq!(watts(text), Some(214));
        assert_eq!(watts("DCMI request failed because: Invalid command (c1)"), None);
    }
}
