//! Lists that the kernel makes while things change.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use cni_plugin::wiring::{inspect, netlink::Netlink};
use weir_tests::cni::Space;

/// Links come and go while they are listed: those that stay are in every list.
#[test]
fn a_list_lacks_nothing_that_is_there() {
    let space = Space::new().unwrap();
    for n in 0..75 {
        space
            .ip(&format!("link add stay{n} type veth peer name peer{n}"))
            .unwrap();
    }
    let mut netlink = space.inside(|| Ok(Netlink::open()?)).unwrap();
    let done = AtomicBool::new(false);
    let (mut whole, mut disturbed) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                space.ip("link add comes type veth peer name goes").unwrap();
                space.ip("link del comes").unwrap();
            }
        });
        while whole < 50 && disturbed < 500 {
            // One that was disturbed too often is an error, never a list.
            let Ok(links) = inspect::links(&mut netlink) else {
                disturbed += 1;
                continue;
            };
            whole += 1;
            let names: Vec<&str> = links.iter().map(|l| l.name.as_str()).collect();
            let lacks = (0..75).find(|n| !names.contains(&format!("stay{n}").as_str()));
            assert_eq!(lacks, None);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(whole > 0, "no list at all");
}
