use std::sync::Arc;

use super::*;

fn node(name: &str, key: Option<&str>) -> Node {
    Node {
        name: name.to_owned(),
        wireguard_key: key.map(ToOwned::to_owned),
        ..Node::default()
    }
}

fn key_of(byte: u8) -> PublicKey {
    PublicKey([byte; 32])
}

fn snapshot(nodes: &[&Node]) -> Snapshot {
    let nodes = nodes.iter().map(|node| {
        let name: Arc<str> = node.name.as_str().into();
        (name, Arc::new((*node).clone()))
    });
    Snapshot {
        nodes: nodes.collect(),
        ..Snapshot::default()
    }
}

fn keys(nodes: &[&Node], ready: Ready, strict: bool) -> Keys {
    Keys::of(&snapshot(nodes), "here", ready, strict)
}

#[test]
fn a_node_without_a_key_is_reached_as_before_or_not_at_all() {
    let (text, own) = (key_of(7).to_string(), Ready::Able(key_of(1)));
    let (with, without, wrong) = (
        node("with", Some(&text)),
        node("without", None),
        node("wrong", Some("AAAA")),
    );
    let all = [&with, &without, &wrong];
    let open = keys(&all, own, false);
    assert_eq!(open.cipher(&with), Cipher::Key(key_of(7)));
    assert_eq!(open.cipher(&without), Cipher::Plain);
    assert_eq!(open.cipher(&wrong), Cipher::Plain);
    let strict = keys(&all, own, true);
    assert_eq!(strict.cipher(&with), Cipher::Key(key_of(7)));
    assert!(matches!(strict.cipher(&without), Cipher::Closed(_)));
    assert!(matches!(strict.cipher(&wrong), Cipher::Closed(_)));
    let unable = keys(&all, Ready::Unable, true);
    assert!(matches!(unable.cipher(&with), Cipher::Closed(_)));
    assert_eq!(
        keys(&all, Ready::Unable, false).cipher(&with),
        Cipher::Plain
    );
    assert_eq!(keys(&all, Ready::Off, true).cipher(&without), Cipher::Plain);
    assert!(mistake(&wrong).unwrap().contains("of node wrong"));
    assert_eq!(mistake(&with), None);
}

#[test]
fn nobody_gets_anything_with_a_key_of_another_node() {
    let (text, own) = (key_of(7).to_string(), key_of(1).to_string());
    let (one, other, clone) = (
        node("one", Some(&text)),
        node("other", Some(&text)),
        node("clone", Some(&own)),
    );
    let all = [&one, &other, &clone];
    let keys = keys(&all, Ready::Able(key_of(1)), false);
    for (node, rival) in all.into_iter().zip(["other", "one", "here"]) {
        let why = format!("node {rival} has published the same key");
        assert_eq!(keys.cipher(node), Cipher::Closed(why), "{node:?}");
    }
    let shown = |present| shown(&snapshot(&all), "one", Some(present));
    assert_eq!(
        shown(key_of(7)),
        Shown {
            own: Some(key_of(7)),
            shared: true
        }
    );
    assert!(shown(key_of(1)).shared, "not its own");
    assert!(!shown(key_of(2)).shared);
    let named = conflicts(&snapshot(&all));
    assert_eq!(
        named.keys().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["one", "other"]
    );
    assert!(
        named["one"].contains("key of node other: none of them is reached"),
        "{named:?}"
    );
}

/// A machine that is known by another name now.
#[test]
fn who_is_gone_leaves_its_key() {
    let text = key_of(7).to_string();
    let gone = Node {
        gone: true,
        ..node("one", Some(&text))
    };
    let there = node("other", Some(&text));
    let all = [&gone, &there];
    let keys = keys(&all, Ready::Able(key_of(1)), false);
    assert!(matches!(keys.cipher(&gone), Cipher::Closed(_)));
    assert_eq!(keys.cipher(&there), Cipher::Key(key_of(7)));
    assert_eq!(conflicts(&snapshot(&all)), BTreeMap::new());
}

#[test]
fn a_peer_has_its_pods_and_its_own_addresses() {
    let node = Node {
        internal_ips: vec!["192.0.2.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        pod_cidrs: vec!["10.244.2.7/24".parse().unwrap()],
        ..node("b", None)
    };
    let mut encrypted = Encrypted::default();
    encrypted.add(&node, key_of(7), "192.0.2.2:51871".parse().unwrap());
    let peer = &encrypted.peers[&key_of(7)];
    let allowed: Vec<String> = peer.allowed.iter().map(ToString::to_string).collect();
    assert_eq!(allowed, ["10.244.2.0/24", "192.0.2.2/32", "fd00::2/128"]);
    encrypted.narrow(1440);
    encrypted.narrow(1420);
    encrypted.narrow(1500);
    assert_eq!(encrypted.mtu, 1420);
}
