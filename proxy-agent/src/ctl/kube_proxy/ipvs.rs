//! What kube-proxy's mode `ipvs` leaves: virtual servers, the device with their addresses, sets of netfilter.

use std::{fs, path::Path};

use super::{Leftover, Survey};
use crate::ctl::tool::Call;

/// The device that has all addresses of Services.
const DEVICE: &str = "kube-ipvs0";
const PREFIX: &str = "KUBE-";
/// As the kernel begins the two files (<https://elixir.bootlin.com/linux/v6.12/source/net/netfilter/ipvs/ip_vs_ctl.c>).
const SERVERS: &str = "/proc/net/ip_vs";
const SETS: &str = "/sys/module/ip_set";
const CONNECTIONS: &str = "/proc/net/ip_vs_conn";

/// What is there. Without the device nobody says that virtual servers are kube-proxy's.
pub(super) fn look(survey: &mut Survey) {
    let found = &mut survey.found;
    if Path::new("/sys/class/net").join(DEVICE).exists() {
        let servers = servers(&read(SERVERS));
        let busy = connections(&read(CONNECTIONS));
        if servers > 0 {
            found.push(virtual_servers(servers, busy));
        }
        // Its addresses make the kernel take what IPVS still forwards.
        let stays =
            (servers > 0 && busy > 0).then(|| "virtual servers need its addresses".to_owned());
        found.push(Leftover {
            place: "ipvs".to_owned(),
            what: format!("device {DEVICE}"),
            commands: if stays.is_none() {
                vec![Call::new(&["ip", "link", "delete", DEVICE])]
            } else {
                Vec::new()
            },
            stays,
        });
    }
    // Sets are made for IPVS alone, and by a module of their own.
    if [SERVERS, SETS].iter().all(|path| Path::new(path).exists()) {
        sets(survey);
    }
}

fn virtual_servers(servers: usize, busy: usize) -> Leftover {
    let stays = (busy > 0)
        .then(|| format!("{busy} connections go by them: ask again once these have ended"));
    Leftover {
        place: "ipvs".to_owned(),
        what: format!("{servers} virtual servers"),
        commands: if stays.is_none() {
            vec![Call::new(&["ipvsadm", "--clear"])]
        } else {
            Vec::new()
        },
        stays,
    }
}

/// Sets of addresses, which are free once no rule names them: chains are removed before.
fn sets(survey: &mut Survey) {
    let Some(sets) = survey.ask("ipset", &["ipset", "list", "-name"]) else {
        return;
    };
    let ours = sets.lines().filter(|set| set.starts_with(PREFIX));
    survey.found.extend(ours.map(|set| Leftover {
        place: "ipset".to_owned(),
        what: format!("set {set}"),
        commands: vec![Call::new(&["ipset", "destroy", set])],
        stays: None,
    }));
}

/// Nothing where IPVS is not loaded.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn servers(text: &str) -> usize {
    let begins = |line: &&str| {
        ["TCP ", "UDP ", "SCTP "]
            .iter()
            .any(|p| line.starts_with(p))
    };
    text.lines().filter(begins).count()
}

fn connections(text: &str) -> usize {
    // Behind the head, and without those that only hold ports open for templates of persistence.
    text.lines()
        .skip(1)
        .filter(|line| !line.contains(" NONE "))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_connections_are_counted() {
        let text = "IP Virtual Server version 1.2.1 (size=4096)\n\
                    Prot LocalAddress:Port Scheduler Flags\n\
                    \x20 -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
                    TCP  0A600001:01BB rr\n\
                    \x20 -> AC1E000B:192B      Masq    1      0          0\n\
                    UDP  0A60000A:0035 rr\n";
        assert_eq!(servers(text), 2);
        let text = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
                    TCP 0AF40002 9C40 0A600001 01BB AC1E000B 192B ESTABLISHED    899\n";
        assert_eq!(connections(text), 1);
        assert_eq!(connections(""), 0);
    }

    #[test]
    fn what_has_connections_stays() {
        assert!(virtual_servers(2, 1).commands.is_empty());
        assert_eq!(virtual_servers(2, 0).commands.len(), 1);
    }
}
