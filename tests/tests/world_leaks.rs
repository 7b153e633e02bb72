//! Alone in its process, because it compares the whole machine before and after.

use weir_tests::world::{LeakCheck, World};

#[test]
fn a_world_leaves_the_machine_as_it_was() {
    let check = LeakCheck::new().unwrap();
    assert!(!check.is_empty());
    let folder;
    {
        let world = World::new("leak").unwrap();
        let node = world.node("a").unwrap();
        let pod = node.plain_pod("x").unwrap();
        folder = node.cgroup_root().path().to_owned();
        assert!(folder.exists());
        drop(pod.spawn("sleep", &["1000"]).unwrap());
    }
    assert!(!folder.exists());
    check.verify().unwrap();
}
