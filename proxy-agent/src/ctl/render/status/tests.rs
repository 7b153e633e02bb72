//! The screen, silent and loud.

use super::{rows, write};
use crate::{
    api::messages::{
        AnnouncementStatus, CniStatus, CutOffPod, FamilyFlows, FlowsStatus, GivenAddress,
        HostStatus, LinkStatus, LoadBalancersStatus, MapStatus, PoolStatus, RepairStatus,
        SourcePorts, Status,
    },
    api::version::{VERSION, layout},
};

fn fine() -> Status {
    let mut status = Status::default();
    status.agent.version = VERSION.to_owned();
    status.agent.layout = layout();
    status.agent.node = "a".to_owned();
    status.agent.ready = true;
    status.agent.uptime_seconds = 3 * 3600 + 12 * 60;
    status.agent.kernel = "6.12.9".to_owned();
    status.observe.complete = true;
    status.observe.objects = [("Service".to_owned(), 41), ("EndpointSlice".to_owned(), 57)].into();
    status.observe.last_event_seconds = Some(2);
    status.sync.services = 41;
    status.sync.backends = 163;
    status.sync.last_full_seconds = Some(41);
    status.sync.last_full_millis = 3.125;
    status.cni = CniStatus {
        enabled: true,
        conflist: Some("/etc/cni/net.d/05-weir.conflist".to_owned()),
        pods: 23,
        tcx: 21,
        clsact: 2,
        limited: 1,
        timed: 1,
        device: "netkit".to_owned(),
        problems: Vec::new(),
        notes: Vec::new(),
        cut_off: Vec::new(),
    };
    status.host = HostStatus {
        attached: true,
        ranges: vec!["10.96.0.0/16".to_owned(), "fd00:10:96::/112".to_owned()],
        source: "ServiceCIDRs".to_owned(),
        elsewhere: Vec::new(),
    };
    let link = |name: &str, ethernet| LinkStatus {
        name: name.to_owned(),
        ethernet,
        attached: Some("tcx".to_owned()),
        xdp: ethernet.then(|| "native".to_owned()),
        no_xdp: None,
        sources: Vec::new(),
    };
    status.links.links = vec![link("eth0", true), link("wg0", false)];
    let families = [("IPv4".to_owned(), true), ("IPv6".to_owned(), false)];
    status.masquerade.families = families.into();
    status.masquerade.inside = 12;
    status.health.healthz_address = ":10256".to_owned();
    status.health.metrics_address = ":10249".to_owned();
    status.health.healthy = true;
    status.health.node_eligible = true;
    status
}

fn text(status: &Status) -> String {
    let mut text = Vec::new();
    write(&rows(status), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn map(entries: u64) -> MapStatus {
    MapStatus {
        name: "FLOWS4".to_owned(),
        kind: "array".to_owned(),
        entries: Some(entries),
        max_entries: 65536,
    }
}

fn flows(taken: u32) -> FlowsStatus {
    FlowsStatus {
        families: vec![FamilyFlows {
            family: "IPv4".to_owned(),
            capacity: 65536,
            assured: 600,
            unassured: 55,
            ..FamilyFlows::default()
        }],
        source_ports: 4536,
        busiest: vec![SourcePorts {
            backend: "10.0.0.9:80/TCP".to_owned(),
            source: "192.0.2.1".to_owned(),
            taken,
            masqueraded: false,
        }],
    }
}

#[test]
fn is_silent_when_fine() {
    let mut status = fine();
    status.maps = vec![map(655)];
    status.flows = flows(10);
    assert_eq!(
        text(&status),
        format!("\
Agent      OK        v{VERSION}  up 3h12m   kernel 6.12.9   node a
API        OK        services 41   slices 57   pods 0   policies 0   last event 2s ago
Sync       OK        41/41 services, 163 backends, 0 endpoints, 0 policies   last full 41s ago in 3.1ms
Maps       OK        FLOWS4 655/65536 (1%)
Flows      OK        IPv4 655/65536, 600 assured
CNI        OK        /etc/cni/net.d/05-weir.conflist  pods 23   tcx 21   clsact 2   limited 1 (edt)   new pods netkit
Host       OK        weir_host  10.96.0.0/16, fd00:10:96::/112 by ServiceCIDRs
Links      OK        eth0, wg0 (no Ethernet)
XDP        OK        eth0 native
Masquerade OK        IPv4 yes   IPv6 no   12 ranges inside
Pod ranges OK        as spec.podCIDRs of the Node say
Ways       OK        no other nodes
Encryption OK        off
Addresses  OK        no pools of addresses
Repairs    OK        0 since the start, none in the last 10 minutes
Health     OK        :10256 /healthz 200   :10249 /metrics
")
    );
}

#[test]
fn load_balancers_addresses_are_named_with_who_has_and_who_announces_them() {
    let on = |node: Option<&str>| AnnouncementStatus {
        link: "eth0".to_owned(),
        node: node.map(str::to_owned),
    };
    let address = |address: &str, services: &[&str], announced| GivenAddress {
        address: address.to_owned(),
        services: services.iter().map(ToString::to_string).collect(),
        announced,
    };
    let mut status = fine();
    status.load_balancers = LoadBalancersStatus {
        pools: vec![PoolStatus {
            name: "lan".to_owned(),
            addresses: 16,
            given: 3,
        }],
        leader: Some("b".to_owned()),
        addresses: vec![
            address("192.0.2.1", &["x/a", "x/b"], vec![on(Some("c"))]),
            address("192.0.2.2", &["x/c"], vec![on(None)]),
            address("2001:db8::1", &["x/c"], Vec::new()),
        ],
        problems: vec!["Service x/d: no IPv4 address is free in lan".to_owned()],
    };
    let told = text(&status);
    for line in [
        "Addresses  WARNING   lan 3/16   given by b   (192.0.2.1 x/a and x/b by c on eth0, 192.0.2.2 x/c by no node on eth0, \
         2001:db8::1 x/c on no link here)",
        "Service x/d: no IPv4 address is free in lan",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
}

#[test]
fn is_loud_when_not() {
    let mut status = fine();
    status.maps = vec![map(58213)];
    status.flows = flows(3629);
    status.sync.services_failed = 1;
    status.sync.errors = vec!["Service default/web: the map is full".to_owned()];
    status.agent.version = "9.0.0".to_owned();
    status.agent.restart_for = vec!["maps.size".to_owned(), "cni.mtu".to_owned()];
    status.health.healthy = false;
    let cut_off = |pod: &str| CutOffPod {
        pod: pod.to_owned(),
        interface: "weir1a2b".to_owned(),
        why: "its interface weir1a2b is gone: delete the pod, which makes it anew".to_owned(),
    };
    status.cni.cut_off = ["shop/a", "shop/b", "shop/c", "shop/d"].map(cut_off).into();
    status.host.elsewhere = vec!["10.96.7.0/24 is routed elsewhere".to_owned()];
    status.links.links[1].attached = None;
    status.links.links[1].no_xdp = Some("its driver has no XDP".to_owned());
    status.links.notes = vec!["ib0 is left alone".to_owned()];
    status.way_notes = vec!["annotation weir.dev/routing of node b: no".to_owned()];
    status.masquerade.problems = vec!["x: no file".to_owned()];
    let told = text(&status);
    for line in [
        "Maps       WARNING   FLOWS4 58213/65536 (89%)",
        "Sync       ERROR     40/41 services, 163 backends, 0 endpoints, 0 policies   last full 41s ago in 3.1ms",
        "ERROR Sync: Service default/web: the map is full",
        "WARNING Maps: FLOWS4 58213/65536 (89%) is filling up: raise its capacity, or `memory`, in `maps:` of the configuration",
        "Flows      WARNING   IPv4 655/65536, 600 assured",
        "WARNING Flows: 10.0.0.9:80/TCP has 3629 of the 4536 source ports of 192.0.2.1 that it may have: more backends, or externalTrafficPolicy Local, make room",
        "ERROR CNI: pod shop/a has no network: its interface weir1a2b is gone: delete the pod, which makes it anew",
        "ERROR CNI: pod shop/c has no network: its interface weir1a2b is gone: delete the pod, which makes it anew",
        "ERROR CNI: and 1 more pods have none: `proxyctl status -o json` names them",
        "WARNING Host: 10.96.7.0/24 is routed elsewhere: socket hooks and the programs of links serve it, weir_host does not",
        "ERROR Links: programs are not attached to wg0: NodePorts and pods are not served there",
        "ERROR Links: ib0 is left alone",
        "XDP        OK        eth0 native   wg0 none (its driver has no XDP)",
        "WARNING Ways: annotation weir.dev/routing of node b: no",
        "WARNING Masquerade: x: no file",
        "WARNING Agent: changed in its file, but in force only after a restart: maps.size, cni.mtu",
        "ERROR Health: an update has waited too long to be applied",
    ] {
        assert!(told.lines().any(|l| l == line), "{line} is not in\n{told}");
    }
    assert!(told.contains("WARNING Agent: proxyctl is v"), "{told}");
}

#[test]
fn what_was_put_back_is_told_for_a_minute_and_a_fight_for_as_long_as_it_lasts() {
    let repair = |thing: &str, times, last_seconds| RepairStatus {
        what: "Forwarding".to_owned(),
        thing: thing.to_owned(),
        times,
        last_seconds,
    };
    let mut status = fine();
    status.repairs.times = [("Forwarding".to_owned(), 9)].into();
    status.repairs.recent = vec![repair("sysctl a", 2, 100)];
    let told = text(&status);
    let fine = "Repairs    OK        9 since the start, the last 1m40s ago\n";
    assert!(told.contains(fine), "{told}");
    status.repairs.recent = vec![repair("sysctl a", 2, 7), repair("sysctl b", 7, 300)];
    let told = text(&status);
    for line in [
        "Repairs    WARNING   9 since the start, the last 7s ago\n",
        "WARNING Repairs: put back 7 times, the last 5m0s ago, what somebody changes: sysctl b: find who wants it otherwise\n\
         WARNING Repairs: put back 7s ago what somebody changed or took away: sysctl a\n",
    ] {
        assert!(told.contains(line), "{told}");
    }
}
