//! Work on a node's network by the test itself.

use nix::sched::{CloneFlags, setns};

use crate::world::Node;

/// Runs `work` on a thread inside the node's netns, as the agent's threads are.
pub fn inside<T: Send>(node: &Node, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(node.netns(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        worker.join().unwrap()
    })
}
