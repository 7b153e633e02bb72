use std::{fs, io, time::Duration};

use cni_plugin::{
    attachment::Attachment,
    ipam,
    node_file::{NodeFile, boot_id},
    paths::Paths,
    rpc::Key,
};

use super::facts::Attachments;
use super::*;
use crate::config::Cni;
use crate::ctl::check::Outcome;

/// A node on which all is well.
fn well() -> Facts {
    Facts {
        plugin: "/opt/cni/bin/weir".into(),
        version: Ok("0.1.0".into()),
        conflist: "/etc/cni/net.d/05-weir.conflist".into(),
        silence: Some(Duration::from_secs(1)),
        folder: ("/run/weir".into(), Folder::There),
        node: Ok(NodeFile::default()),
        pools: Ok(Vec::new()),
        attachments: Ok(Attachments::default()),
    }
}

/// What is complained of.
fn faults(facts: &Facts) -> Vec<(Fault, Outcome)> {
    [version, folder, attachments, pools, node, heartbeat]
        .iter()
        .flat_map(|look| look(facts).complaints)
        .map(|complaint| (complaint.fault, complaint.level))
        .collect()
}

#[test]
fn each_fault_is_complained_of_by_name() {
    assert_eq!(faults(&well()), []);
    let silent = |seconds| Facts {
        silence: Some(Duration::from_secs(seconds)),
        ..well()
    };
    assert_eq!(faults(&silent(10)), []);
    assert_eq!(
        faults(&silent(11)),
        [(Fault::AgentSilent, Outcome::Warning)]
    );
    assert_eq!(faults(&silent(61)), [(Fault::AgentSilent, Outcome::Error)]);
    let never = Facts {
        silence: None,
        node: Err("read node.json: none".into()),
        pools: Err("read node.json: none".into()),
        ..well()
    };
    let expected = [Fault::NodeFile, Fault::AgentSilent].map(|fault| (fault, Outcome::Error));
    assert_eq!(faults(&never), expected);
    for gone in [Folder::Absent, Folder::Removed] {
        let gone = Facts {
            folder: ("/run/weir".into(), gone),
            ..well()
        };
        let expected = [(Fault::RunFolderGone, Outcome::Error)];
        assert_eq!(faults(&gone), expected);
    }
    let lost = Facts {
        attachments: Ok(Attachments {
            lost: vec!["shop/web (weir0123456789a)".into()],
            ..Attachments::default()
        }),
        ..well()
    };
    assert_eq!(faults(&lost), [(Fault::RecordLost, Outcome::Warning)]);
    let gone = Facts {
        attachments: Ok(Attachments {
            gone: vec!["shop/web (weir0123456789a)".into()],
            ..Attachments::default()
        }),
        ..well()
    };
    assert_eq!(faults(&gone), [(Fault::InterfaceGone, Outcome::Error)]);
    let unread = vec![("/x/c:eth0.json".into(), io::Error::other("EOF"))];
    let unread = Facts {
        attachments: Ok(Attachments {
            unread,
            ..Attachments::default()
        }),
        ..well()
    };
    assert_eq!(faults(&unread), [(Fault::RecordUnread, Outcome::Warning)]);
    let json = serde_json::to_value(&unread).unwrap();
    assert_eq!(json["attachments"]["unread"][0], "/x/c:eth0.json");
    assert_eq!(json["heartbeatSeconds"], 1);
    let broken = |plugin: &str| Facts {
        plugin: plugin.into(),
        version: Err("run it: no".into()),
        ..well()
    };
    assert_eq!(
        faults(&broken("/proc/self/exe")),
        [(Fault::PluginBroken, Outcome::Error)]
    );
    // That it is missing is told by who looks for it.
    assert_eq!(faults(&broken("/proc/self/absent")), []);
}

/// A folder as agent and plugin write it, of a node with room for two pods in IPv4.
#[test]
fn addresses_are_counted_by_family() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths::new(folder.path());
    let boot = boot_id().unwrap();
    let node = NodeFile {
        boot_id: boot.clone(),
        node: "a".into(),
        pod_cidrs: ["10.1.1.0/30", "fd00::/126"]
            .map(|r| r.parse().unwrap())
            .into(),
        mtu: 1400,
        ..NodeFile::default()
    };
    fs::write(paths.node(), serde_json::to_vec(&node).unwrap()).unwrap();
    let give = |ips: &[&str]| {
        let mut state = ipam::State {
            boot_id: boot.clone(),
            ..ipam::State::default()
        };
        for (n, ip) in ips.iter().enumerate() {
            let key = Key {
                container_id: format!("c{n}"),
                ifname: "eth0".into(),
            };
            state.give(key, vec![ip.parse().unwrap()]);
        }
        state.write(&paths.ipam()).unwrap();
        pools(&Facts::look(&Cni::default(), &paths))
    };
    let half = give(&["10.1.1.2", "fd00::2"]);
    assert_eq!(half.complaints, []);
    assert_eq!(
        half.text,
        "IPv4 10.1.1.0/30: 1 of 2 used, 1 free; IPv6 fd00::/126: 1 of 2 used, 1 free"
    );
    let full = give(&["10.1.1.2", "10.1.1.3", "fd00::2"]).complaints;
    assert_eq!((full.len(), full[0].fault), (1, Fault::NoAddressLeft));
    assert_eq!(full[0].text, "IPv4 10.1.1.0/30: 2 of 2 used, 0 free");

    // Without the file of the addresses the records tell.
    fs::remove_file(paths.ipam()).unwrap();
    let mut record = Attachment {
        boot_id: boot,
        ..Attachment::default()
    };
    record.add.key.container_id = "c".into();
    record.add.key.ifname = "eth0".into();
    record.add.ips = vec!["10.1.1.3".parse().unwrap()];
    cni_plugin::ledger::record(&paths, &record).unwrap();
    let facts = Facts::look(&Cni::default(), &paths);
    assert!(pools(&facts).text.contains("IPv4 10.1.1.0/30: 1 of 2 used"));
    assert_eq!(attachments(&facts).text, "0 ready, 1 being made");
}
