//! `proxy-agent migrate` before the other version is there: what it refuses to begin, and what it takes back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, thread, time::Duration};

use anyhow::{Result, ensure};
use proxy_agent::datapath::{Maps, Pins, Table as _, bpfsys::object};
use proxy_common::frontends::FLAG_SOURCES;
use serde_json::json;
use weir_tests::{
    datapath::reader,
    served::{await_answer, serve, service},
    world::{Cluster, Process, Server, Talk, ask_tcp, until},
};

const PATIENCE: Duration = Duration::from_secs(30);
/// For which programs run on without an agent.
const REST: Duration = Duration::from_millis(300);

fn pins(cluster: &Cluster) -> Pins {
    Pins::new(&cluster.node(0).file("/sys/fs/bpf"), "default").unwrap()
}

/// Stops the agent and migrates; gives the migration and what it says from then on.
fn migrate(cluster: &mut Cluster) -> Result<(Process, usize)> {
    let agent = cluster.agent_mut(0);
    agent.terminate()?;
    let before = agent.log().len();
    Ok((agent.verb(&["migrate", "--to", "1"])?, before))
}

#[test]
fn nothing_is_migrated_while_maps_are_being_exchanged() {
    let mut cluster = Cluster::start("unfinished", &["a"], &[] as &[&str]).unwrap();
    let [client, web] = ["client", "web"].map(|name| cluster.pod(0, name).unwrap());
    let _servers = serve(&web).unwrap();
    let to = service(&cluster, "web", 80, &[&web]).unwrap();
    await_answer(&cluster, &client, to[0]).unwrap();
    let mut talk = Talk::open(&client, to[0]).unwrap();
    cluster.agent_mut(0).crash().unwrap();
    // As an agent leaves it that is killed meanwhile.
    let pins = pins(&cluster);
    let map = object::open_map(&pins.map("AFFINITY")).unwrap();
    std::fs::create_dir_all(pins.next()).unwrap();
    object::pin(&map, &pins.next().join("AFFINITY")).unwrap();

    let agent = cluster.agent_mut(0);
    let before = agent.log().len();
    let mut migration = agent.verb(&["migrate", "--to", "1"]).unwrap();
    let status = until("the migration to end", PATIENCE, || migration.ended()).unwrap();
    let said = agent.log()[before..].to_owned();
    assert!(!status.success(), "{said}");
    assert!(
        said.contains("maps are being exchanged") && said.contains("hint: start this version"),
        "{said}"
    );
    assert!(!pins.schema(1).exists() && pins.schema(2).exists());
    assert!(pins.is_exchanging().unwrap());
    talk.echo("still there").unwrap();

    // As the hint says.
    agent.restart().unwrap();
    assert!(!pins.is_exchanging().unwrap());
    talk.echo("and on").unwrap();
    let (mut migration, before) = migrate(&mut cluster).unwrap();
    migrated(&cluster, &mut migration, before).unwrap();
    migration.terminate().unwrap();
    talk.echo("and on").unwrap();
}

fn migrated(cluster: &Cluster, migration: &mut Process, before: usize) -> Result<()> {
    until("the maps to be migrated", PATIENCE, || {
        let said = &cluster.agent(0).log()[before..];
        let ended = migration.ended()?;
        ensure!(ended.is_none(), "it ended: {ended:?}: {said}");
        Ok(said.contains("start the other version now").then_some(()))
    })
}

/// Frontends with source ranges, and those without.
fn frontends(maps: &Maps) -> Result<[usize; 2]> {
    let flags4 = maps.frontends4.entries()?.into_iter().map(|(_, f)| f.flags);
    let flags6 = maps.frontends6.entries()?.into_iter().map(|(_, f)| f.flags);
    let (ranged, free): (Vec<_>, Vec<_>) = flags4
        .chain(flags6)
        .partition(|flags| flags & FLAG_SOURCES != 0);
    Ok([ranged.len(), free.len()])
}

/// The older version has no source ranges: it would serve such an address to everybody, by what it finds in the maps.
#[test]
fn addresses_with_source_ranges_are_withdrawn_from_a_version_that_does_not_know_them() {
    let mut cluster = Cluster::start("withdrawn", &["a"], &[] as &[&str]).unwrap();
    let [client, stranger, web] =
        ["client", "stranger", "web"].map(|name| cluster.pod(0, name).unwrap());
    let servers = serve(&web).unwrap();
    let ranges = client.addresses().map(|ip| {
        let length = if ip.is_ipv4() { 32 } else { 128 };
        format!("{ip}/{length}")
    });
    let more = json!({
        "type": "LoadBalancer",
        "loadBalancerSourceRanges": ranges,
        "status": { "loadBalancer": { "ingress": [
            { "ip": "203.0.113.80" }, { "ip": "2001:db8::80" },
        ] } },
    });
    let inner = cluster.service("web", 80, &[&web], &more).unwrap();
    let inner = inner.map(|address| SocketAddr::new(address, 80));
    let at: [SocketAddr; 2] =
        ["203.0.113.80:80", "[2001:db8::80]:80"].map(|at| at.parse().unwrap());
    for to in inner.into_iter().chain(at) {
        await_answer(&cluster, &client, to).unwrap();
    }
    let strange = |at: SocketAddr| ask_tcp(&stranger, at).is_ok();
    assert!(!at.into_iter().any(strange));
    // Both versions go by this very map.
    let maps = reader(cluster.node(0)).unwrap().maps().clone();
    let [ranged, free] = frontends(&maps).unwrap();
    assert!(ranged >= 2 && free >= 2, "{ranged} {free}");

    let (mut migration, before) = migrate(&mut cluster).unwrap();
    migrated(&cluster, &mut migration, before).unwrap();
    thread::sleep(REST);
    assert_eq!(frontends(&maps).unwrap(), [0, free]);
    assert!(!at.into_iter().any(strange));
    for to in inner {
        await_answer(&cluster, &client, to).unwrap();
    }
    migration.terminate().unwrap();

    // Nobody came: ours takes the node back, with all that it knows.
    cluster.agent_mut(0).restart().unwrap();
    for to in at {
        await_answer(&cluster, &client, to).unwrap();
    }
    assert!(!at.into_iter().any(strange));
    let ours = stranger.addresses();
    let heard = servers.iter().flat_map(Server::peers);
    assert!(heard.map(|peer| peer.ip()).all(|ip| !ours.contains(&ip)));
}
