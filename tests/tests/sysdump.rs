//! `proxyctl sysdump`: what is in it, how large it is, and that no secret is.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tar::Archive;
use weir_tests::world::{Cluster, Node, program};

/// 32 bytes in base64, as WireGuard has keys.
const KEY: &str = "GHuMwljFfqd2a7cs6BaUOmHflK23zME8VNvC5B37S3k=";
const OTHER_KEY: &str = "aPxGwq8zERHQ3Q1cOZFdJ+cvJX5Ka4mLN38AyYKYF10=";
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJwbGFudGVkIn0.cGxhbnRlZC1zaWduYXR1cmU";
const PEM: &str = "MIIBplantedCertificateOfNobodyAtAll0123456789";

/// None of these may be in a dump.
const PLANTED: [&str; 8] = [
    KEY,
    OTHER_KEY,
    TOKEN,
    "cGxhbnRlZC1zaWduYXR1cmU",
    PEM,
    "planted-password",
    "planted-bearer-0123",
    "fe80:0000:0000:0000:0000:0000:0000:dead",
];

/// Files of a dump, by name.
type Dump = BTreeMap<String, String>;

fn run(node: &Node, words: &[&str], path: &str) -> Dump {
    let mut command = node.command(program("proxyctl").unwrap()).unwrap();
    let done = command
        .args(["sysdump", "/run/dump.tgz"])
        .args(words)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}");
    assert_eq!(String::from_utf8_lossy(&done.stdout), "/run/dump.tgz\n");
    let file = node.file("/run/dump.tgz");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    read(File::open(file).unwrap())
}

fn read(from: impl std::io::Read) -> Dump {
    let mut archive = Archive::new(GzDecoder::new(from));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let name = name.strip_prefix("weir-sysdump/").unwrap();
        (name.to_owned(), text)
    });
    entries.collect()
}

fn path() -> String {
    std::env::var("PATH").unwrap()
}

/// Where secrets are found on nodes, and where they have been seen in logs.
fn plant(node: &Node) {
    let conf = format!(
        "{{\"type\": \"other\", \"token\": \"{TOKEN}\", \"ca\": \"-----BEGIN CERTIFICATE-----\\n{PEM}\\n-----END CERTIFICATE-----\"}}"
    );
    let log = format!(
        "Authorization: Bearer planted-bearer-0123\nhttps://me:planted-password@192.0.2.1/x\n\
         peer {OTHER_KEY}\n-----BEGIN EC PRIVATE KEY-----\n{PEM}\n"
    );
    fs::write(node.file("/run/weir/wireguard.key"), KEY).unwrap();
    fs::write(node.file("/run/cni/net.d/99-other.conf"), conf).unwrap();
    fs::write(node.file("/run/other.log"), log).unwrap();
    let script = "
        mount -t tmpfs tmpfs /var/log
        mkdir -p /var/log/pods/kube-system_weir-x7k2p_0123/agent
        echo fe80::dead > /proc/sys/net/ipv6/conf/lo/stable_secret
        nft add table inet planted '{ comment \"password=planted-password\" ; }'
    ";
    node.run(&["sh", "-ec", script]).unwrap();
    // A secret at each place where it may be cut.
    let rest = "and so on ".repeat(20);
    let line = format!("token={TOKEN} key {KEY} {rest}\n");
    let long = line.repeat(40_000);
    let log = "/var/log/pods/kube-system_weir-x7k2p_0123/agent/0.log";
    fs::write(node.file(log), long).unwrap();
}

fn no_secret(dump: &Dump) {
    for (name, text) in dump {
        for secret in PLANTED {
            assert!(!text.contains(secret), "{secret} is in {name}");
        }
    }
}

#[test]
fn a_dump_has_all_but_secrets() {
    let mut cluster = Cluster::start("sysdump", &["a"], &[]).unwrap();
    let pod = cluster.pod(0, "web").unwrap();
    cluster.service("web", 10, &[&pod], &json!({})).unwrap();
    cluster
        .eventually("the Service", || {
            let services = cluster.agent(0).proxyctl(&["dump", "services"]).ok()?;
            services.contains("default/web").then_some(())
        })
        .unwrap();
    let node = cluster.node(0).clone();
    plant(&node);
    let dump = run(&node, &["--log", "/run/other.log"], &path());
    no_secret(&dump);
    what_is_in_it(&dump);
    let log = &dump["logs/var/log/pods/kube-system_weir-x7k2p_0123/agent/0.log"];
    assert_eq!(
        log.len(),
        4 << 20,
        "the end of it: {}",
        &dump["contents.txt"]
    );
    assert!(dump["logs/run/other.log"].contains("(redacted)"));

    // Without tools and without the agent there is less in it, which it says.
    cluster.agent_mut(0).crash().unwrap();
    let dump = run(&node, &["--limit", "1"], "/nowhere");
    no_secret(&dump);
    let list = &dump["contents.txt"];
    for missing in [
        "agent/status.json: not collected: cannot reach the agent on /run/weir/agent.sock",
        "network/nft.txt: not collected: there is no nft here",
    ] {
        assert!(list.contains(missing), "{missing} is not in\n{list}");
    }
    let all: usize = dump.values().map(String::len).sum();
    assert!(all - list.len() <= 1 << 20, "{all}");
    assert!(dump["network/facts.txt"].contains("eth0"));
    assert!(dump["maps/services.json"].contains("10.96.0.10"));
    cluster.agent_mut(0).restart().unwrap();
}

fn what_is_in_it(dump: &Dump) {
    let list = &dump["contents.txt"];
    for name in dump.keys().filter(|name| *name != "contents.txt") {
        assert!(
            list.contains(&format!("{name}: ")),
            "{name} is not in\n{list}"
        );
    }
    let json = |name: &str| -> Value {
        let text = dump.get(name).unwrap_or_else(|| panic!("{name}: {list}"));
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    assert_eq!(json("agent/status.json")["agent"]["node"], "a");
    assert_eq!(
        json("configuration.json")["agentConfiguration"]["nodeName"],
        "a"
    );
    assert_eq!(json("check.json")["pre"], false);
    let services = json("maps/services.json");
    let of_web = |row: &Value| row["service"] == "default/web:tcp";
    assert!(services["items"].as_array().unwrap().iter().any(of_web));
    let programs = json("programs/programs.json");
    let mut programs = programs.as_array().unwrap().iter();
    let ours = programs.find(|row| row["name"] == "from_pod").unwrap();
    assert!(
        ours["verifiedInstructions"].as_u64().unwrap() > 100,
        "{ours}"
    );
    let attached = json("programs/attachments.json");
    let mut attached = attached.as_array().unwrap().iter();
    assert!(attached.any(|row| row["name"] == "connect4"));
    for name in [
        "links",
        "addresses",
        "routes4",
        "routes6",
        "rules4",
        "neighbours",
    ] {
        assert!(json(&format!("network/{name}.json")).is_array(), "{name}");
    }
    for (name, part) in [
        ("maps/raw/FRONTENDS4.txt", "MapInfo"),
        ("agent/metrics.txt", "weir_build_info"),
        ("network/nft.txt", "table inet planted"),
        ("network/sysctls.txt", "ipv4/ip_forward = 1"),
        ("run/node.json", "podCidrs"),
    ] {
        let text = dump.get(name).unwrap_or_else(|| panic!("{name}: {list}"));
        assert!(
            text.contains(part),
            "{name} has no {part}:\n{}",
            &text[..text.len().min(2000)]
        );
    }
    // Every pinned map is in it, by its bytes.
    let raw = dump.keys().filter(|name| name.starts_with("maps/raw/"));
    assert!(raw.count() > 30, "{list}");
}

#[test]
fn standard_output_takes_it_too() {
    let cluster = Cluster::start("sysdump-out", &["a"], &[]).unwrap();
    let mut command = cluster
        .node(0)
        .command(program("proxyctl").unwrap())
        .unwrap();
    let done = command
        .args(["sysdump", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success());
    let dump = read(done.stdout.as_slice());
    assert!(dump.contains_key("agent/status.json"));
}
