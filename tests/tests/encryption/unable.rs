//! A kernel that has no WireGuard.

use std::{net::SocketAddr, sync::LazyLock};

use weir_tests::{
    datapath::drops,
    world::{Cluster, Place, Server, World, ask_tcp},
};

use super::{
    bed::{PORT, flags, serve},
    watch::Watch,
};

/// Whether this kernel has WireGuard. Where it has none, every test here is that of the clear error.
static ABLE: LazyLock<bool> = LazyLock::new(|| {
    let world = World::new("able").unwrap();
    let made = world.outside().batch("link add wg0 type wireguard\n");
    made.is_ok()
});

/// Whether this kernel has it.
pub(super) fn has_wireguard() -> bool {
    *ABLE
}

/// Whether what encrypts can be tested; otherwise that what cannot is told clearly, with these flags.
pub(super) fn is_able(more: &[&str]) -> bool {
    if !*ABLE {
        told_clearly(more);
    }
    *ABLE
}

/// The status says what is missing and what helps. Nothing else breaks, but what may not go unencrypted does not go.
fn told_clearly(more: &[&str]) {
    let cluster = Cluster::start("unable", &["a", "b"], &flags(more)).unwrap();
    let (_, status) = cluster.agent(0).proxyctl_verdict(&["status"]).unwrap();
    for words in [
        "this kernel has no WireGuard",
        "hint: load the module `wireguard`",
    ] {
        assert!(status.contains(words), "{status}");
    }
    let near = cluster.pod(0, "near").unwrap();
    let here = cluster.pod(0, "here").unwrap();
    let far = cluster.pod(1, "far").unwrap();
    let _servers: Vec<_> = [&here, &far].into_iter().flat_map(serve).collect();
    for to in here.at(PORT) {
        ask_tcp(&near, to).unwrap();
    }
    let strict = more.contains(&"--encryption-strict");
    for to in far.at(PORT) {
        let asks = |from: &Place, to: SocketAddr| ask_tcp(from, to).is_ok();
        assert_eq!(asks(&near, to), !strict, "{to}\n{}", cluster.logs());
        assert_eq!(asks(cluster.node(0), to), !strict, "{to}");
    }
    let dropped = drops(cluster.node(0)).unwrap();
    let by_programs = strict && !more.contains(&"stack");
    assert_eq!(
        dropped.contains_key("not-encrypted"),
        by_programs,
        "{dropped:?}"
    );
    nodes_too(&cluster, &near, strict);
}

/// Of the node itself: what pods send there would be encrypted, what nodes send each other would not.
fn nodes_too(cluster: &Cluster, near: &Place, strict: bool) {
    let [node, other] = [0, 1].map(|index| cluster.node(index));
    // The answer may be what does not come, so the network is asked too.
    let watch = Watch::on(cluster.world().outside());
    for address in other.addresses() {
        let to = SocketAddr::new(address, PORT);
        let _server = Server::tcp(other, to, "node").unwrap();
        let answered = ask_tcp(near, to).is_ok();
        assert_eq!(answered, !strict, "{to}\n{}", cluster.logs());
        ask_tcp(node, to).unwrap();
    }
    let seen = watch.take();
    assert_eq!(seen.clear.is_empty(), strict, "{seen:?}");
    let dropped = drops(node).unwrap();
    assert_eq!(dropped.contains_key("not-encrypted"), strict, "{dropped:?}");
}

#[test]
fn a_kernel_without_it_is_told_clearly() {
    if !*ABLE {
        told_clearly(&["--encryption-strict", "true"]);
    }
}
