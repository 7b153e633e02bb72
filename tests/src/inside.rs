//! Work on the network of a node or pod by the test itself.

use nix::sched::{CloneFlags, setns};

use crate::world::Place;

/// Runs `work` on a thread inside a place's netns, as an agent's threads are in their node's.
pub fn inside<T: Send>(place: &Place, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(place.netns(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        worker.join().unwrap()
    })
}
