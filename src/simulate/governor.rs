//! A governor: whoever decides in a world which machines are on. It hears what happens, and is woken when it asked
//! to be.

use super::world::World;

/// Something that happened in a world, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// A job's pod was made and found no place.
    Waits {
        /// The job.
        job: usize,
    },
    /// A job's pod runs on a machine.
    Bound {
        /// The job.
        job: usize,
        /// The machine.
        host: usize,
    },
    /// A job's pod is gone: it ended or was evicted.
    Gone {
        /// The job.
        job: usize,
        /// Which of its pods.
        turn: u32,
    },
    /// A machine's node is Ready.
    Up {
        /// The machine.
        host: usize,
    },
    /// A machine is off.
    Down {
        /// The machine.
        host: usize,
    },
}

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
