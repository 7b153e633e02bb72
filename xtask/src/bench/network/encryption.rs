//! Pods of two nodes by WireGuard: Weir's device and programs, or a plain device with routes.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use weir_world::{Agent, Node, Place, World, manifests::node_object, until};

use super::{
    side::Side,
    tunnel::{pair, set_mtu},
};
use crate::bench::bed::{Bare, Weir};

/// Around a packet, over IPv4.
const OVERHEAD: u32 = 60;
const PORT: u16 = 51820;
/// The private key of a node that no agent encrypts for.
const KEY: &str = "/run/wireguard.key";
/// How long keys and hands may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether this kernel has it.
pub(super) fn is_possible() -> Result<bool> {
    let world = World::new("probe")?;
    let probe = "ip link add probe type wireguard";
    let words: Vec<&str> = probe.split(' ').collect();
    Ok(world.outside().run(&words).is_ok())
}

/// Both beds.
pub(super) fn sides() -> Result<[Side; 2]> {
    let nodes = pair("wireguard")?;
    plain(&nodes)?;
    let bare = Bare::on(&nodes)?;
    set_mtu(&bare, 1500 - OVERHEAD)?;
    let nodes = pair("encryption")?;
    let ranges = "10.244.0.0/16,fd00:244::/32";
    let flags = ["--cluster-cidr", ranges, "--encryption", "wireguard"];
    let weir = Weir::on(&nodes, &flags)?;
    publish(&weir, &nodes)?;
    Ok([Side::reference(bare), Side::weir(weir)])
}

/// A device on each node, that lets the other's pods through.
fn plain(nodes: &[Node; 2]) -> Result<()> {
    let keys = [private_key(&nodes[0])?, private_key(&nodes[1])?];
    for (own, other) in [(0, 1), (1, 0)] {
        let (node, peer) = (&nodes[own], &nodes[other]);
        let path = node.file(KEY);
        fs::write(&path, &keys[own]).with_context(|| format!("write {}", path.display()))?;
        let public = node.run_with_input(&["wg", "pubkey"], &keys[other])?;
        node.batch("link add wg0 type wireguard\n")?;
        let port = PORT.to_string();
        let endpoint = format!("{}:{PORT}", peer.ipv4());
        let ranges = peer.pod_ranges();
        node.run(&[
            "wg",
            "set",
            "wg0",
            "listen-port",
            &port,
            "private-key",
            KEY,
            "peer",
            public.trim(),
            "endpoint",
            &endpoint,
            "allowed-ips",
            &ranges.join(","),
        ])?;
        node.batch(&format!(
            "link set wg0 mtu {} up\nroute add {} dev wg0\nroute add {} dev wg0\n",
            1500 - OVERHEAD,
            ranges[0],
            ranges[1]
        ))?;
    }
    Ok(())
}

fn private_key(place: &Place) -> Result<String> {
    place.run(&["wg", "genkey"])
}

/// Tells both nodes each other's keys, as their agents would tell the API server, and waits until hands are shaken.
fn publish(weir: &Weir, nodes: &[Node; 2]) -> Result<()> {
    for (node, agent) in nodes.iter().zip(&weir.agents) {
        let key = until("a key", PATIENCE, || {
            Ok(status(agent)?["publicKey"].as_str().map(str::to_owned))
        })?;
        let mut object = node_object(node);
        object["metadata"]["annotations"] = json!({ "weir.dev/wireguard-public-key": key });
        let file = format!("node-{}.yaml", node.name());
        weir.manifests.apply_objects(&file, &[object])?;
    }
    for agent in &weir.agents {
        until("hands to be shaken", PATIENCE, || {
            let seconds = status(agent)?["peers"][0]["handshakeSeconds"].as_u64();
            Ok(seconds.map(drop))
        })?;
    }
    Ok(())
}

/// What an agent says of encryption.
fn status(agent: &Agent) -> Result<Value> {
    let (_, said) = agent.proxyctl_verdict(&["status", "-o", "json"])?;
    let status: Value = serde_json::from_str(&said).with_context(|| format!("read {said}"))?;
    // With a word about health around it, or without.
    let told = [&status["encryption"], &status["status"]["encryption"]];
    let told = told.into_iter().find(|told| told.is_object());
    ensure!(told.is_some(), "no word of encryption: {said}");
    Ok(told.cloned().unwrap_or_default())
}
