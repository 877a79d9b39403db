//! A record: what a machine has shown of itself over time, beside where it is in its life. How often it was started,
//! how long each stage of its boots took, which rungs of the ladder it needed, and which boot its node last showed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::meter::Meter;
use crate::model::node::Node;

/// A boot's stages, in the order in which they are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Its power is seen on.
    Power,
    /// It answers ping.
    Ping,
    /// It accepts SSH.
    Ssh,
    /// Its kubelet reports.
    Kubelet,
    /// Its node is Ready.
    Ready,
    /// All devices that it should have are there.
    Useful,
}

impl Stage {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Ping => "ping",
            Self::Ssh => "ssh",
            Self::Kubelet => "kubelet",
            Self::Ready => "ready",
            Self::Useful => "useful",
        }
    }
}

/// What is done to a machine that does not obey, from mild to grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Asked to power off.
    Graceful,
    /// Its power was cut.
    Hard,
    /// Its power was cut and given back.
    Cycle,
    /// It rests, the longer the more often it failed.
    Quarantine,
    /// A person has to look at it.
    Person,
}

impl Rung {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Graceful => "graceful-off",
            Self::Hard => "hard-off",
            Self::Cycle => "power-cycle",
            Self::Quarantine => "quarantine",
            Self::Person => "person",
        }
    }
}

/// So many of the last boots are remembered one by one.
const REMEMBERED: usize = 16;

/// How long a stage takes, from the order to power on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learnt {
    /// Boots that were measured.
    pub count: u32,
    /// What is to be expected: later boots weigh more.
    pub mean_ms: i64,
    /// The longest that was seen.
    pub most_ms: i64,
    /// The last ones, the newest at the end.
    #[serde(default)]
    pub last_ms: Vec<i64>,
}

impl Learnt {
    fn take(&mut self, ms: i64) {
        self.mean_ms = if self.count == 0 { ms } else { self.mean_ms + (ms - self.mean_ms) / 4 };
        self.most_ms = self.most_ms.max(ms);
        self.count = self.count.saturating_add(1);
        self.last_ms.push(ms);
        let old = self.last_ms.len().saturating_sub(REMEMBERED);
        self.last_ms.drain(..old);
    }

    /// The least of the last ones that so many hundredths of them do not exceed.
    fn quantile(&self, hundredths: usize) -> Option<i64> {
        let mut sorted = self.last_ms.clone();
        sorted.sort_unstable();
        let at = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied()
    }
}

/// A boot that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// When it was ordered.
    pub ordered: Timestamp,
    /// After how many milliseconds each stage was reached.
    pub reached: BTreeMap<Stage, i64>,
}

/// A power cycle in place of a boot that came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cycle {
    /// It is to be done.
    Due,
    /// It was done, or tried.
    Done(Timestamp),
}

/// Why a machine's power is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unseen {
    /// Its BMC does not answer, or not in time.
    Silent,
    /// Its BMC answers and refuses: a person must mend something.
    Refused,
}

impl Unseen {
    /// Its name in `marea status` and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "power-unseen",
            Self::Refused => "power-refused",
        }
    }
}

/// What a machine has shown of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// A person switches it: the daemon only looks.
    pub by_hand: bool,
    /// Times that it was powered on.
    pub starts: u64,
    /// Since when it has power, as far as it was seen.
    pub on_since: Option<Timestamp>,
    /// Times that each rung was needed.
    pub rungs: BTreeMap<Rung, u64>,
    /// The last rung and when.
    pub last_rung: Option<(Timestamp, Rung)>,
    /// It has failed so often that a person must look.
    pub needs_person: bool,
    /// The boot that is under way.
    pub boot: Option<Boot>,
    /// What its boots take, by stage.
    pub stages: BTreeMap<Stage, Learnt>,
    /// The power cycle of this boot.
    pub cycle: Option<Cycle>,
    /// The boot that its node showed last.
    pub boot_id: Option<String>,
    /// The boot that ended when it was last proven off.
    pub ended_boot: Option<String>,
    /// Why nobody sees its power at present.
    pub unseen: Option<Unseen>,
    /// Who says that it is off, and who that it is not.
    pub unverified: Option<String>,
    /// What it was last measured to draw.
    pub watts: Option<(Timestamp, u32)>,
    /// What it has drawn.
    pub meter: Meter,
}

impl Record {
    /// A rung was needed.
    pub(super) fn climb(&mut self, rung: Rung, now: Timestamp) {
        *self.rungs.entry(rung).or_default() += 1;
        self.last_rung = Some((now, rung));
        self.needs_person |= rung == Rung::Person;
    }

    /// Its power was given to it.
    pub(super) fn started(&mut self, ordered: Timestamp) {
        self.starts += 1;
        self.on_since = Some(ordered);
        self.boot = Some(Boot { ordered, reached: BTreeMap::new() });
    }

    /// It is proven off: the boot that was, is over.
    pub(super) fn ended(&mut self) {
        self.boot = None;
        self.cycle = None;
        self.on_since = None;
        if let Some(id) = self.boot_id.take() {
            self.ended_boot = Some(id);
        }
    }

    /// It came up and works.
    pub(super) fn came_up(&mut self, boot_id: Option<&String>) {
        self.cycle = None;
        self.needs_person = false;
        self.boot_id = boot_id.cloned().or(self.boot_id.take());
    }

    /// True when this node still shows the boot that ended: whatever else it shows is old.
    pub(super) fn is_ended_boot(&self, node: &Node) -> bool {
        self.ended_boot.is_some() && self.ended_boot == node.boot_id
    }

    /// How long its last boots took until this stage, by this many hundredths of them.
    pub(super) fn quantile(&self, stage: Stage, hundredths: usize) -> Option<i64> {
        self.stages.get(&stage)?.quantile(hundredths)
    }

    /// A stage of the boot under way was reached. What a boot that comes to nothing measured is not learnt: only once
    /// its node is Ready is all that was reached before, and all that is reached after. The last stage ends the boot.
    pub(super) fn reach(&mut self, stage: Stage, now: Timestamp) {
        let Some(boot) = &mut self.boot else { return };
        let took = now.as_millisecond().saturating_sub(boot.ordered.as_millisecond()).max(0);
        let was_ready = boot.reached.contains_key(&Stage::Ready);
        if boot.reached.contains_key(&stage) {
            return;
        }
        boot.reached.insert(stage, took);
        let news = if stage == Stage::Ready {
            boot.reached.clone()
        } else {
            was_ready.then_some((stage, took)).into_iter().collect()
        };
        for (stage, ms) in news {
            self.stages.entry(stage).or_default().take(ms);
        }
        if stage == Stage::Useful {
            self.boot = None;
        }
    }
}

#[cfg(test)]
impl Record {
    /// A record whose boots took this long until Ready.
    pub(super) fn of_boots(ms: &[i64]) -> Self {
        let mut ready = Learnt::default();
        for ms in ms {
            ready.take(*ms);
        }
        Self { stages: BTreeMap::from([(Stage::Ready, ready)]), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_767_571_200 + seconds).unwrap()
    }

    #[test]
    fn boots_are_learnt_by_stage_and_later_ones_weigh_more() {
        let mut record = Record::default();
        for (start, ready) in [(0, 60), (1000, 100)] {
            record.started(time(start));
            record.reach(Stage::Power, time(start + 2));
            record.reach(Stage::Ready, time(start + ready));
            record.reach(Stage::Ready, time(start + ready + 30));
            assert!(record.boot.is_some(), "it is not useful yet");
            record.reach(Stage::Useful, time(start + ready + 5));
        }
        let ready = record.stages[&Stage::Ready].clone();
        assert_eq!((ready.count, ready.mean_ms, ready.most_ms), (2, 70_000, 100_000));
        assert_eq!(ready.last_ms, [60_000, 100_000]);
        assert_eq!(record.stages[&Stage::Useful].last_ms, [65_000, 105_000]);
        assert_eq!((record.starts, record.boot.clone()), (2, None));
        record.reach(Stage::Ready, time(5000));
        assert_eq!(record.stages[&Stage::Ready].count, 2, "there is no boot under way");
    }

    #[test]
    fn a_boot_that_comes_to_nothing_teaches_nothing_and_one_without_its_devices_what_it_reached() {
        let mut record = Record::default();
        record.started(time(0));
        record.reach(Stage::Power, time(2));
        record.ended();
        assert!(record.stages.is_empty());
        record.started(time(100));
        record.reach(Stage::Power, time(103));
        record.reach(Stage::Ready, time(140));
        record.reach(Stage::Ssh, time(141));
        record.ended();
        let last = |stage| record.stages.get(&stage).map(|learnt: &Learnt| learnt.last_ms.clone()).unwrap_or_default();
        assert_eq!([Stage::Power, Stage::Ready, Stage::Ssh].map(last), [[3_000], [40_000], [41_000]]);
        assert!(last(Stage::Useful).is_empty());
    }

    #[test]
    fn quantiles_of_the_last_boots() {
        let of = |numbers: &[i64], hundredths| {
            let mut learnt = Learnt::default();
            for ms in numbers {
                learnt.take(*ms);
            }
            learnt.quantile(hundredths)
        };
        assert_eq!(of(&[], 50), None);
        assert_eq!(of(&[7], 95), Some(7));
        assert_eq!(of(&[30, 10, 20, 40], 50), Some(20));
        assert_eq!(of(&[30, 10, 20, 40], 95), Some(40));
        let many: Vec<i64> = (1..=20).collect();
        assert_eq!(of(&many, 1), Some(5), "older ones are forgotten");
    }
}
