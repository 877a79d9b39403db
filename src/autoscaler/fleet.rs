//! The fleet: all machines, filed by what is to be asked of them, so that a step need look only at those that
//! something happens to. Who changes it through the map itself has all of it filed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::meter::Meter;
use super::tracked::{Phase, Tracked};
use crate::model::machine::Role;

/// All machines, by name.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fleet {
    all: BTreeMap<String, Tracked>,
    #[serde(skip)]
    files: Files,
}

/// Where a machine is filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    /// Off.
    Off,
    /// On and Ready, without work.
    Idle,
    /// On and Ready, with work.
    Busy,
    /// Anywhere else in its life.
    Moving,
}

#[derive(Debug)]
struct Files {
    /// Nothing is filed: all must be looked at.
    stale: bool,
    changed: BTreeSet<String>,
    off: BTreeSet<String>,
    idle: BTreeSet<String>,
    moving: BTreeSet<String>,
    /// A person asked something of them.
    wished: BTreeSet<String>,
    /// They are meant to go off because their pods fit on others.
    leaving: BTreeSet<String>,
    /// Those that are no nodes.
    stand_ins: BTreeSet<String>,
    /// By pool: workers that are on and Ready.
    ready: BTreeMap<String, usize>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            stale: true,
            changed: BTreeSet::new(),
            off: BTreeSet::new(),
            idle: BTreeSet::new(),
            moving: BTreeSet::new(),
            wished: BTreeSet::new(),
            leaving: BTreeSet::new(),
            stand_ins: BTreeSet::new(),
            ready: BTreeMap::new(),
        }
    }
}

fn file_of(tracked: &Tracked) -> File {
    match tracked.phase {
        Phase::Off => File::Off,
        Phase::On { idle_since: Some(_), unready_since: None } => File::Idle,
        Phase::On { idle_since: None, unready_since: None } => File::Busy,
        Phase::Unknown
        | Phase::PoweringOn { .. }
        | Phase::On { .. }
        | Phase::Cordoning
        | Phase::Looking
        | Phase::Draining
        | Phase::Uncordoning
        | Phase::PoweringOff { .. }
        | Phase::DeletingNode { .. }
        | Phase::Failed { .. } => File::Moving,
    }
}

impl Files {
    fn set(&mut self, file: File) -> Option<&mut BTreeSet<String>> {
        match file {
            File::Off => Some(&mut self.off),
            File::Idle => Some(&mut self.idle),
            File::Moving => Some(&mut self.moving),
            File::Busy => None,
        }
    }

    fn put(&mut self, tracked: &Tracked) {
        let (name, file) = (&tracked.machine.name, file_of(tracked));
        if let Some(set) = self.set(file) {
            set.insert(name.clone());
        }
        if tracked.wish.is_some() {
            self.wished.insert(name.clone());
        }
        if tracked.leaving.is_some() {
            self.leaving.insert(name.clone());
        }
        if tracked.machine.is_no_node() {
            self.stand_ins.insert(name.clone());
        }
        if tracked.machine.role == Role::Worker && matches!(file, File::Idle | File::Busy) {
            *self.ready.entry(tracked.machine.pool.clone()).or_default() += 1;
        }
    }

    fn take(&mut self, name: &str, pool: &str, worker: bool, file: File) {
        if let Some(set) = self.set(file) {
            set.remove(name);
        }
        self.wished.remove(name);
        self.leaving.remove(name);
        self.stand_ins.remove(name);
        if worker && matches!(file, File::Idle | File::Busy) {
            self.ready.entry(pool.to_owned()).and_modify(|count| *count = count.saturating_sub(1));
        }
    }
}

/// A machine in hand: it is filed anew when it is let go.
#[derive(Debug)]
pub struct Hand<'a> {
    tracked: &'a mut Tracked,
    files: &'a mut Files,
    file: File,
}

impl Deref for Hand<'_> {
    type Target = Tracked;

    fn deref(&self) -> &Tracked {
        self.tracked
    }
}

impl DerefMut for Hand<'_> {
    fn deref_mut(&mut self) -> &mut Tracked {
        self.tracked
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let machine = &self.tracked.machine;
        if !self.files.stale {
            self.files.take(&machine.name, &machine.pool, machine.role == Role::Worker, self.file);
            self.files.put(self.tracked);
        }
        self.files.changed.insert(machine.name.clone());
    }
}

impl Fleet {
    /// A machine, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<Hand<'_>> {
        let tracked = self.all.get_mut(name)?;
        let file = file_of(tracked);
        Some(Hand { tracked, files: &mut self.files, file })
    }

    /// A machine's meter. Nothing is decided by it: that it turns is no change of the machine.
    pub(super) fn meter_mut(&mut self, name: &str) -> Option<&mut Meter> {
        self.all.get_mut(name).map(|tracked| &mut tracked.record.meter)
    }

    /// Does something to a machine that may well change nothing.
    pub(super) fn visit(&mut self, name: &str, visit: impl FnOnce(&mut Tracked)) {
        let Some(tracked) = self.all.get_mut(name) else { return };
        let (file, before) = (file_of(tracked), tracked.clone());
        visit(tracked);
        if *tracked != before {
            drop(Hand { tracked, files: &mut self.files, file });
        }
    }

    /// The machines that have changed since this was last asked; `None` for all.
    pub(super) fn news(&mut self) -> Option<BTreeSet<String>> {
        let changed = std::mem::take(&mut self.files.changed);
        if !self.files.stale {
            return Some(changed);
        }
        self.files = Files { stale: false, ..Files::default() };
        for tracked in self.all.values() {
            self.files.put(tracked);
        }
        None
    }

    /// The machines that have changed since the last news; `None` for all.
    pub(super) fn changed(&self) -> Option<&BTreeSet<String>> {
        (!self.files.stale).then_some(&self.files.changed)
    }

    fn filed<'a>(&'a self, names: &'a BTreeSet<String>, is: fn(&Tracked) -> bool) -> impl Iterator<Item = &'a Tracked> {
        let names = (!self.files.stale).then_some(names).into_iter().flatten();
        let all = self.files.stale.then(|| self.all.values()).into_iter().flatten();
        names.filter_map(|name| self.all.get(name)).chain(all).filter(move |tracked| is(tracked))
    }

    /// Those that are off.
    pub fn off(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.off, |tracked| file_of(tracked) == File::Off)
    }

    /// Those that are on and Ready, without work.
    pub fn idle(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.idle, |tracked| file_of(tracked) == File::Idle)
    }

    /// Those that are neither off nor on and Ready: something happens to them, or should.
    pub fn moving(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.moving, |tracked| file_of(tracked) == File::Moving)
    }

    /// Those that a person asked something of.
    pub fn wished(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.wished, |tracked| tracked.wish.is_some())
    }

    /// Those that are meant to go off because their pods fit on others.
    pub(super) fn leaving(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.leaving, |tracked| tracked.leaving.is_some())
    }

    /// Those that are no nodes.
    pub(super) fn stand_ins(&self) -> impl Iterator<Item = &Tracked> {
        self.filed(&self.files.stand_ins, |tracked| tracked.machine.is_no_node())
    }

    /// How many workers of a pool are on and Ready.
    pub fn ready(&self, pool: &str) -> usize {
        let ready = |one: &&Tracked| {
            one.machine.pool == pool
                && one.machine.role == Role::Worker
                && matches!(file_of(one), File::Idle | File::Busy)
        };
        if self.files.stale {
            return self.all.values().filter(ready).count();
        }
        self.files.ready.get(pool).copied().unwrap_or_default()
    }
}

impl Clone for Fleet {
    fn clone(&self) -> Self {
        Self { all: self.all.clone(), files: Files::default() }
    }
}

impl PartialEq for Fleet {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl Deref for Fleet {
    type Target = BTreeMap<String, Tracked>;

    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl DerefMut for Fleet {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.files.stale = true;
        &mut self.all
    }
}

impl<'a> IntoIterator for &'a Fleet {
    type Item = (&'a String, &'a Tracked);
    type IntoIter = std::collections::btree_map::Iter<'a, String, Tracked>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl<'a> IntoIterator for &'a mut Fleet {
    type Item = (&'a String, &'a mut Tracked);
    type IntoIter = std::collections::btree_map::IterMut<'a, String, Tracked>;

    fn into_iter(self) -> Self::IntoIter {
        self.deref_mut().iter_mut()
    }
}
