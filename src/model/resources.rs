//! Resources: amounts of what pods ask for and nodes have. CPU in thousandths of a core, memory and
//! ephemeral storage in bytes, everything else (GPUs, and `pods` itself is kept apart) by its name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An amount of each resource. Absent means zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a CPU core.
    pub cpu_milli: u64,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of ephemeral storage.
    pub ephemeral: u64,
    /// Pods: for a node how many it takes, for a pod always 1, for a sum how many there are.
    pub pods: u64,
    /// Extended resources by name, such as `nvidia.com/gpu`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extended: BTreeMap<String, u64>,
}

impl Resources {
    /// Adds `other` to this amount, saturating.
    pub fn add(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_add(other.cpu_milli);
        self.memory = self.memory.saturating_add(other.memory);
        self.ephemeral = self.ephemeral.saturating_add(other.ephemeral);
        self.pods = self.pods.saturating_add(other.pods);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_default();
            *mine = mine.saturating_add(*amount);
        }
    }

    /// Reads what a pod asks for from quantities by name, as a container's `requests` has them.
    pub fn of_pod(quantities: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut all = Self { pods: 1, ..Self::default() };
        for (name, text) in quantities {
            let amount = if name == "cpu" { quantity_milli(text) } else { quantity(text) };
            let amount =
                amount.ok_or_else(|| format!("{name}: `{text}` is no quantity; write it as \"500m\" or \"1Gi\""))?;
            match name.as_str() {
                "cpu" => all.cpu_milli = amount,
                "memory" => all.memory = amount,
                "ephemeral-storage" => all.ephemeral = amount,
                _ => drop(all.extended.insert(name.clone(), amount)),
            }
        }
        Ok(all)
    }

    /// Takes `other` from this amount, stopping at zero.
    pub fn subtract(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.saturating_sub(other.cpu_milli);
        self.memory = self.memory.saturating_sub(other.memory);
        self.ephemeral = self.ephemeral.saturating_sub(other.ephemeral);
        self.pods = self.pods.saturating_sub(other.pods);
        for (name, amount) in &other.extended {
            if let Some(mine) = self.extended.get_mut(name) {
                *mine = mine.saturating_sub(*amount);
            }
        }
    }

    /// Raises each amount to at least that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.cpu_milli = self.cpu_milli.max(other.cpu_milli);
        self.memory = self.memory.max(other.memory);
        self.ephemeral = self.ephemeral.max(other.ephemeral);
        self.pods = self.pods.max(other.pods);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_default();
            *mine = (*mine).max(*amount);
        }
    }
}

/// Reads a Kubernetes quantity (`250m`, `1.5Gi`, `2e3`, `64M`) in thousandths of its unit, rounded up
/// as Kubernetes rounds. `None` when it is no quantity or does not fit.
pub fn quantity_milli(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let number = number.strip_prefix('+').unwrap_or(number);
    // Scale as a fraction (numerator, denominator) so that nothing is lost to floating point.
    let (numerator, denominator): (u128, u128) = match suffix {
        "" => (1000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        other => {
            let exponent: i32 = other.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            if exponent < 0 { (1000, power) } else { (1000u128.checked_mul(power)?, 1) }
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let places = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let mantissa: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let value = mantissa.checked_mul(numerator)?.div_ceil(denominator.checked_mul(places)?);
    u64::try_from(value).ok()
}

/// Reads a Kubernetes quantity in whole units (bytes, devices), rounded up.
pub fn quantity(text: &str) -> Option<u64> {
    // Bytes in thousandths overflow 64 bits at 18 PB, which is beyond any node's memory.
    quantity_milli(text).map(|milli| milli.div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_as_kubernetes_reads_them() {
        for (text, milli) in [
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            ("0.1", 100),
            ("1e3", 1_000_000),
            ("2Ki", 2_048_000),
            ("1.5Gi", 1_610_612_736_000),
            ("64M", 64_000_000_000),
            ("1u", 1),
            ("3500m", 3500),
        ] {
            assert_eq!(quantity_milli(text), Some(milli), "{text}");
        }
        for text in ["", "m", "-1", "1x", "1.2.3", "1 Gi"] {
            assert_eq!(quantity_milli(text), None, "{text:?}");
        }
        assert_eq!(quantity("128974848"), Some(128_974_848));
        assert_eq!(quantity("1m"), Some(1), "rounded up");
    }
}
