//! The core as its owner holds it: the state, and what is kept beside it from one step to the next. Only the state is
//! compared and written down.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Serialize};

use super::kept::Kept;
use super::promise::settle;
use super::state::State;
use super::view::View;

/// The state, and what is kept beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Core {
    state: State,
    #[serde(skip)]
    pub(super) kept: Kept,
}

impl Core {
    /// What nodes carry and what is promised; the view that is kept, if it is of this very state.
    pub(super) fn view(&self) -> Lent<'_> {
        if let Some(view) = self.kept.view(self) {
            return Lent::Kept(view);
        }
        let mut view = View::of(self);
        view.promise(settle(self, &view, self.now).kept);
        Lent::Made(Box::new(view))
    }
}

impl Deref for Core {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Core {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

/// A view that is only looked at.
pub(super) enum Lent<'a> {
    /// The one that is kept.
    Kept(&'a View),
    /// One that was made for it.
    Made(Box<View>),
}

impl Deref for Lent<'_> {
    type Target = View;

    fn deref(&self) -> &View {
        match self {
            Self::Kept(view) => view,
            Self::Made(view) => view,
        }
    }
}
