//! A governor: whoever decides in a world which machines are on. It hears what happens, and is woken when it asked
//! to be. A world is played before it: time goes on to what happens next, and it is told.

use super::world::{News, World};

/// Decides which machines are on.
pub(super) trait Governor {
    /// The world begins; nothing has happened yet.
    fn begin(&mut self, world: &mut World<'_>);

    /// This has happened.
    fn hear(&mut self, world: &mut World<'_>, news: &[News]);

    /// When it wants to be woken, in the world's milliseconds.
    fn wakes(&self) -> Option<i64>;

    /// It is that time.
    fn wake(&mut self, world: &mut World<'_>);
}

impl World<'_> {
    /// Goes on until every job has ended, or nothing comes of those that are left.
    pub(super) fn serve(&mut self, governor: &mut dyn Governor) {
        governor.begin(self);
        self.tell(governor);
        while let Some(at) = next_time(self, governor) {
            if self.is_over(at) {
                break;
            }
            self.jump(at, governor);
        }
    }

    /// Goes on until then, and reads the meters.
    pub(super) fn go_on(&mut self, governor: &mut dyn Governor, until: i64) {
        while let Some(at) = next_time(self, governor).filter(|at| *at <= until) {
            self.jump(at, governor);
        }
        self.read_meters(until);
    }

    /// All that happens at this time, then what is decided about it.
    fn jump(&mut self, at: i64, governor: &mut dyn Governor) {
        self.happen(at);
        self.tell(governor);
        if governor.wakes().is_some_and(|wakes| wakes <= self.now()) {
            governor.wake(self);
            self.tell(governor);
        }
    }

    /// The scheduler looks, the governor hears, until nothing is new.
    fn tell(&mut self, governor: &mut dyn Governor) {
        while let Some(news) = self.look() {
            governor.hear(self, &news);
        }
        self.note();
    }
}

fn next_time(world: &World<'_>, governor: &dyn Governor) -> Option<i64> {
    [world.next_time(), governor.wakes()].into_iter().flatten().min()
}
