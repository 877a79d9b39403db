//! Places: where runs can go that no scheduler places, for their machines are no nodes. A machine holds what it
//! declares, less what runs there. A run goes where it still fits and least is left, so that other machines may rest.

use std::collections::BTreeMap;

use super::service::Service;
pub use crate::model::machine::{RUNTIME, UDOCKER};
use crate::model::resources::Resources;

/// True for a service whose runs go to machines that have no container runtime.
pub fn by_udocker(service: &Service) -> bool {
    service.annotations.get(RUNTIME).is_some_and(|runtime| runtime == UDOCKER)
}

/// What a run asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// CPU and memory.
    pub requests: Resources,
    /// Labels that its machine must have.
    pub labels: BTreeMap<String, String>,
}

/// A machine that takes runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// What it is known by.
    pub labels: BTreeMap<String, String>,
    /// What is left on it.
    pub free: Resources,
}

/// The machines that take runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Adds a machine.
    pub fn add(&mut self, machine: &str, place: Place) {
        self.0.insert(machine.to_owned(), place);
    }

    /// The machine for a run.
    pub fn choose(&self, wanted: &Wanted) -> Option<&str> {
        let fits = |place: &&Place| {
            let (free, asked) = (&place.free, &wanted.requests);
            asked.cpu_milli <= free.cpu_milli
                && asked.memory <= free.memory
                && wanted.labels.iter().all(|(key, value)| place.labels.get(key) == Some(value))
        };
        let fitting = self.0.iter().filter(|(_, place)| fits(place));
        let least = fitting.min_by_key(|(name, place)| (place.free.cpu_milli, place.free.memory, name.as_str()));
        least.map(|(name, _)| name.as_str())
    }

    /// Takes a run's part of a machine. What is more than there is leaves nothing.
    pub fn take(&mut self, machine: &str, wanted: &Wanted) {
        if let Some(place) = self.0.get_mut(machine) {
            place.free.cpu_milli = place.free.cpu_milli.saturating_sub(wanted.requests.cpu_milli);
            place.free.memory = place.free.memory.saturating_sub(wanted.requests.memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(cpu_milli: u64, memory: u64, pool: Option<&str>) -> Wanted {
        let labels = pool.map(|pool| ("pool".to_owned(), pool.to_owned())).into_iter().collect();
        Wanted { requests: Resources { cpu_milli, memory, ..Resources::default() }, labels }
    }

    fn places() -> Places {
        let mut places = Places::default();
        for (name, pool, cpu_milli, memory) in
            [("large", "desk", 4000, 800), ("small", "desk", 1000, 400), ("other", "hpc", 9000, 900)]
        {
            let Wanted { requests: free, labels } = wanted(cpu_milli, memory, Some(pool));
            places.add(name, Place { labels, free });
        }
        places
    }

    #[test]
    fn a_run_goes_where_it_fits_and_least_is_left() {
        let mut places = places();
        let chosen = |places: &Places, cpu, memory, pool| places.choose(&wanted(cpu, memory, pool)).map(str::to_owned);
        assert_eq!(chosen(&places, 500, 100, None).as_deref(), Some("small"));
        places.take("small", &wanted(600, 100, None));
        assert_eq!(chosen(&places, 500, 100, None).as_deref(), Some("large"), "its CPU is taken");
        assert_eq!(chosen(&places, 100, 350, Some("desk")).as_deref(), Some("large"), "its memory is");
        assert_eq!(chosen(&places, 5000, 1, None).as_deref(), Some("other"));
        assert_eq!(chosen(&places, 5000, 1, Some("desk")), None);
        places.take("small", &wanted(9000, 9000, None));
        assert_eq!(chosen(&places, 1, 1, Some("none")), None);
    }
}
