//! What kube-proxy leaves on a node: found, said, and removed when asked for, without cutting what lives.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
};

use weir_tests::world::{Node, Server, Talk, World, ask_tcp, program};

const NFTABLES: &str = "
table ip kube-proxy {
    chain services {
        ip daddr 10.96.0.1 tcp dport 443 counter
    }
    chain nat-prerouting {
        type nat hook prerouting priority dstnat;
        jump services
    }
}
table ip6 kube-proxy {
    chain services {
        counter
    }
}
table ip mine {
    chain input {
        type filter hook input priority 0;
    }
}
";
const IPTABLES: &str = "
*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-PUHFDAMRBZWCPADU - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:MINE - [0:0]
-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A PREROUTING -j MINE
-A OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-PUHFDAMRBZWCPADU
-A KUBE-SEP-PUHFDAMRBZWCPADU -s 172.30.0.1/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-PUHFDAMRBZWCPADU -p tcp -m tcp -j DNAT --to-destination 172.30.0.1:6443
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
";

fn proxyctl(node: &Node, words: &[&str]) -> (i32, String) {
    proxyctl_with(node, None, words)
}

/// With the tools of one folder only.
fn proxyctl_with(node: &Node, tools: Option<&Path>, words: &[&str]) -> (i32, String) {
    let mut command = node.command(program("proxyctl").unwrap()).unwrap();
    if let Some(tools) = tools {
        command.env("PATH", tools);
    }
    let done = command
        .arg("kube-proxy")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(done.stdout).unwrap() + &String::from_utf8_lossy(&done.stderr);
    (done.status.code().unwrap(), text)
}

fn rules(node: &Node) -> String {
    let tables = node.run(&["nft", "list", "tables"]).unwrap();
    let rules = node.run(&["iptables-nft-save"]).unwrap();
    // Comments tell the time.
    let rules = rules.lines().filter(|line| !line.starts_with('#'));
    tables + &rules.collect::<Vec<_>>().join("\n")
}

#[test]
fn leftovers_are_found_and_removed_only_when_asked_for() {
    let world = World::new("leftovers").unwrap();
    let node = world.node("a").unwrap();
    assert_eq!(proxyctl(&node, &["status"]).0, 0, "nothing is there");
    assert_eq!(proxyctl(&node, &["cleanup"]), (0, String::new()));
    node.run_with_input(&["nft", "-f", "-"], NFTABLES).unwrap();
    for tool in ["iptables-nft-restore", "ip6tables-nft-restore"] {
        let text = if tool.starts_with("ip6") {
            "*mangle\n:KUBE-PROXY-CANARY - [0:0]\nCOMMIT\n"
        } else {
            IPTABLES
        };
        node.run_with_input(&[tool], text).unwrap();
    }
    // A connection to a Service that kube-proxy has translated.
    let outside = world.outside();
    outside
        .batch(&format!("route add 203.0.113.9/32 via {}\n", node.ipv4()))
        .unwrap();
    let at = SocketAddr::new(node.ipv4().into(), 6443);
    let _server = Server::tcp(&node, at, "api").unwrap();
    let rule = format!(
        "*nat\n-A KUBE-SERVICES -d 203.0.113.9/32 -p tcp -m tcp --dport 443 -j DNAT --to-destination {at}\nCOMMIT\n"
    );
    node.run_with_input(&["iptables-nft-restore", "--noflush"], &rule)
        .unwrap();
    let vip = SocketAddr::from(([203, 0, 113, 9], 443));
    let mut live = Talk::open(outside, vip).unwrap();
    let before = rules(&node);
    let (code, text) = proxyctl(&node, &["status"]);
    assert_eq!(code, 1, "{text}");
    for part in [
        "table ip kube-proxy",
        "table ip6 kube-proxy",
        "table nat: 5 chains, 3 rules that lead there",
        "table filter: 1 chains, 1 rules that lead there",
        "table mangle: 1 chains, 0 rules that lead there",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let (code, text) = proxyctl(&node, &["cleanup", "--dry-run"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("nft delete table ip kube-proxy"), "{text}");
    assert_eq!(rules(&node), before, "nothing was asked for");
    let (code, text) = proxyctl(&node, &["cleanup"]);
    assert_eq!(code, 0, "{text}");
    let after = rules(&node);
    for (part, there) in [
        ("table ip kube-proxy", false),
        ("table ip6 kube-proxy", false),
        ("KUBE-S", false),
        ("KUBE-POSTROUTING", false),
        ("KUBE-FORWARD", false),
        ("table ip mine", true),
        ("-A PREROUTING -j MINE", true),
        (":KUBE-KUBELET-CANARY", true),
        ("-A INPUT -j KUBE-FIREWALL", true),
    ] {
        assert_eq!(after.contains(part), there, "{part}:\n{after}");
    }
    assert_eq!(proxyctl(&node, &["status"]).0, 0);
    live.echo("still there").unwrap();
    assert!(ask_tcp(outside, vip).is_err(), "nobody serves there now");
}

/// A tool of this machine.
fn tool(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut folders = std::env::split_paths(&path);
    folders
        .find_map(|folder| fs::canonicalize(folder.join(name)).ok())
        .unwrap()
}

#[test]
fn nothing_is_said_to_be_left_where_nobody_can_look() {
    let world = World::new("left-unseen").unwrap();
    let node = world.node("a").unwrap();
    let rules = "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n";
    node.run_with_input(&["nft", "-f", "-"], NFTABLES).unwrap();
    for tool in ["iptables-nft-restore", "ip6tables-nft-restore"] {
        node.run_with_input(&[tool], rules).unwrap();
    }
    let all = [
        ("nftables", "nft", "nft"),
        ("iptables", "iptables-save", "iptables-nft-save"),
        ("ip6tables", "ip6tables-save", "ip6tables-nft-save"),
    ];
    // Each set of tools that a container or a host may have.
    for here in 0..1 << all.len() {
        let folder = tempfile::tempdir().unwrap();
        let (has, lacks): (Vec<_>, Vec<_>) = (0..all.len()).partition(|tool| here >> tool & 1 == 1);
        for known in &has {
            let name = all[*known].2;
            symlink(tool(name), folder.path().join(name)).unwrap();
        }
        let says = |words: &[&str]| proxyctl_with(&node, Some(folder.path()), words);
        let code = match (has.is_empty(), lacks.is_empty()) {
            (true, _) => 5,
            _ => 1,
        };
        for words in [&["status"][..], &["cleanup", "--dry-run"]] {
            let (said, text) = says(words);
            assert_eq!(said, code, "{words:?} {here:b}: {text}");
            for lacking in &lacks {
                let (place, tool, _) = all[*lacking];
                assert!(
                    text.contains(&format!("{place} ({tool} is not here)")),
                    "{text}"
                );
                assert!(
                    text.contains("\nhint: run it as root on the node itself"),
                    "{text}"
                );
            }
            assert_eq!(
                text.contains("error: "),
                !lacks.is_empty(),
                "{here:b}: {text}"
            );
        }
        let (_, text) = says(&["status", "-o", "json"]);
        let json = text.split("error: ").next().unwrap();
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let unseen = json["notLookedAt"].as_array().unwrap();
        let unseen: Vec<&str> = unseen.iter().map(|it| it["in"].as_str().unwrap()).collect();
        let wanted: Vec<&str> = lacks.iter().map(|it| all[*it].0).collect();
        assert_eq!(unseen, wanted, "{here:b}");
        let found = json["items"].as_array().unwrap();
        for known in &has {
            let place = all[*known].0;
            let is_there = |it: &serde_json::Value| it["in"].as_str().unwrap().starts_with(place);
            assert!(found.iter().any(is_there), "{here:b} {place}: {json}");
        }
    }
}
