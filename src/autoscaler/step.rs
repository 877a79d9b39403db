//! The step: folds one event into the state and answers with what to do.

use jiff::Timestamp;

use super::state::State;
use super::{Action, Event};

/// Folds one event into the state and answers with the actions to take. Pure: the same state, time and
/// event always give the same state and actions.
pub fn step(state: &mut State, now: Timestamp, event: Event) -> Vec<Action> {
    state.now = now;
    let _ = event;
    Vec::new()
}

/// When `step` must next be given a `Tick`, if nothing happens before; always later than the last step.
pub fn next_wakeup(state: &State) -> Option<Timestamp> {
    state.minimums_until
}
