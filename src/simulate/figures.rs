//! Figures: what a way of powering machines cost in energy, in waiting and in boots.

use serde::Serialize;

/// What came of one way.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// What the workers drew, in microjoules.
    pub drawn_uj: u128,
    /// How long machines drew more than standby, all together, in milliseconds.
    pub on_ms: u128,
    /// How long pods waited for a place.
    pub waits: Waits,
    /// How often machines were powered on.
    pub boots: Wear,
    /// Pods that were evicted, and whose work was lost.
    pub evicted: usize,
    /// Jobs that never ran.
    pub unserved: usize,
}

/// How long pods waited for a place, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Waits {
    /// The mean.
    pub mean_s: f64,
    /// All but one of a hundred waited no longer.
    pub p99_s: f64,
    /// The longest.
    pub max_s: f64,
}

/// How often machines were powered on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Wear {
    /// In all.
    pub total: u64,
    /// A machine, in the mean.
    pub mean: f64,
    /// The machine that was powered on most.
    pub max: u32,
}

/// One number divided by another.
#[expect(clippy::cast_precision_loss, reason = "figures for people to read")]
pub(super) fn ratio(number: u128, by: u128) -> f64 {
    if by == 0 { 0.0 } else { number as f64 / by as f64 }
}

impl Figures {
    pub(super) fn new(
        drawn_uj: u128,
        on_ms: u128,
        mut waited: Vec<i64>,
        boots: Vec<u32>,
        (evicted, unserved): (usize, usize),
    ) -> Self {
        waited.sort_unstable();
        let ms = |ms: i64| u128::try_from(ms).unwrap_or_default();
        let seconds = |at: usize| ratio(waited.get(at).map_or(0, |wait| ms(*wait)), 1000);
        let count = waited.len();
        let waits = Waits {
            mean_s: ratio(waited.iter().map(|wait| ms(*wait)).sum(), count as u128 * 1000),
            p99_s: seconds((count * 99).div_ceil(100).saturating_sub(1)),
            max_s: seconds(count.saturating_sub(1)),
        };
        let total: u64 = boots.iter().map(|boots| u64::from(*boots)).sum();
        let max = boots.iter().copied().max().unwrap_or_default();
        let boots = Wear { total, mean: ratio(u128::from(total), boots.len() as u128), max };
        Self { drawn_uj, on_ms, waits, boots, evicted, unserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_waits_the_last_but_one() {
        let figures = Figures::new(0, 0, (1..=100).rev().map(|s| s * 1000).collect(), vec![0, 3, 0, 1], (0, 0));
        let Waits { mean_s, p99_s, max_s } = figures.waits;
        assert_eq!(
            (mean_s.to_string(), p99_s.to_string(), max_s.to_string()),
            ("50.5".into(), "99".into(), "100".into())
        );
        assert_eq!((figures.boots.total, figures.boots.mean.to_string(), figures.boots.max), (4, "1".into(), 3));
        let nobody = Figures::new(0, 0, vec![], vec![], (0, 0));
        assert_eq!(nobody.waits, Waits::default());
    }
}
