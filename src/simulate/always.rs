//! Always on: every machine is on from the beginning and stays so. Nobody waits for a boot, and nothing is saved.

use super::governor::Governor;
use super::world::{News, World};

/// Leaves everything on.
#[derive(Debug)]
pub(super) struct AlwaysOn;

impl Governor for AlwaysOn {
    fn begin(&mut self, world: &mut World<'_>) {
        for host in 0..world.hosts() {
            world.find_on(host);
        }
    }

    fn hear(&mut self, _: &mut World<'_>, _: &[News]) {}

    fn wakes(&self) -> Option<i64> {
        None
    }

    fn wake(&mut self, _: &mut World<'_>) {}
}
