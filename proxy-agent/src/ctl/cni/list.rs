//! `proxyctl cni list`: the attachments, as the plugin's records say.

use std::{io::Write as _, net::IpAddr};

use cni_plugin::{
    attachment::{Attachment, Broken, State},
    clock,
    node_file::boot_id,
    paths::Paths,
    rpc::{Add, Bandwidth, PortMapping},
};
use serde::Serialize;

use super::ROOT_HINT;
use crate::ctl::{
    Context, CtlError, Exit,
    args::CniListArgs,
    check::wiring::{
        self, GONE_HINT, LOST_HINT, gone_interfaces, lost_records, record_in_words, unread,
    },
    output::{Output, Row},
    render::{endpoints::rate, words::mac},
};

/// Letters of a container's id that tell it from others, as `crictl` shows them.
const SHORT: usize = 13;

/// An attachment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AttachmentRow {
    /// `namespace/pod`; empty where the runtime gave no names.
    pod: String,
    /// `CNI_CONTAINERID`.
    container: String,
    /// `CNI_IFNAME`.
    interface: String,
    /// Addresses.
    addresses: Vec<IpAddr>,
    /// `creating`, `ready`, `stale`: of another boot, or `gone`: its interface is not there any more.
    state: &'static str,
    /// Name of the host side.
    host_interface: String,
    /// Index of it.
    host_index: u32,
    /// UID of the pod.
    uid: String,
    /// The pod's network namespace, as the runtime named it.
    netns: String,
    /// Hardware address of the pod's side.
    pod_mac: String,
    /// Hardware address of the host's side.
    host_mac: String,
    /// MTU of both; 0 if unknown.
    mtu: u32,
    /// What both are: `veth` or `netkit`.
    device: &'static str,
    /// Limit of what the pod is sent, bits per second, as the runtime told it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ingress_limit: Option<u64>,
    /// Limit of what it sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    egress_limit: Option<u64>,
    /// `hostPort`s.
    ports: Vec<String>,
    /// Seconds since ADD began.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
}

impl AttachmentRow {
    fn new(record: Attachment, boot: &str, is_gone: bool) -> Self {
        let is_stale = record.boot_id != boot;
        let state = match record.state {
            _ if is_stale => "stale",
            _ if is_gone => "gone",
            State::Creating => "creating",
            State::Ready => "ready",
        };
        let add = record.add;
        let pod = of_pod(&add);
        let limits = add.bandwidth.unwrap_or_default();
        let Bandwidth {
            ingress_rate,
            egress_rate,
            ..
        } = limits;
        let limit = |rate: u64| (rate != 0).then_some(rate);
        Self {
            pod,
            container: add.key.container_id,
            interface: add.key.ifname,
            addresses: add.ips,
            state,
            host_interface: add.host_ifname,
            host_index: add.host_ifindex,
            uid: add.pod.uid,
            netns: add.netns,
            pod_mac: mac(add.pod_mac),
            host_mac: mac(add.host_mac),
            mtu: record.mtu,
            device: record.device.name(),
            ingress_limit: limit(ingress_rate),
            egress_limit: limit(egress_rate),
            ports: add.ports.iter().map(port).collect(),
            // Of one whose record was lost nobody knows it.
            age_seconds: (!is_stale && record.since != 0)
                .then(|| clock::age(clock::now(), record.since)),
        }
    }
}

/// `namespace/name`; nothing where the runtime gave no names.
fn of_pod(add: &Add) -> String {
    if add.pod.name.is_empty() {
        return String::new();
    }
    add.pod.to_string()
}

/// `192.0.2.1:8080->80/tcp`.
fn port(mapping: &PortMapping) -> String {
    let PortMapping {
        host_port,
        container_port,
        protocol,
        host_ip,
    } = mapping;
    let at = if host_ip.is_empty() {
        String::new()
    } else {
        format!("{host_ip}:")
    };
    format!("{at}{host_port}->{container_port}/{protocol}")
}

impl Row for AttachmentRow {
    const KIND: &'static str = "CniAttachmentList";
    const COLUMNS: &'static [&'static str] = &[
        "POD",
        "CONTAINER",
        "INTERFACE",
        "ADDRESSES",
        "STATE",
        "HOST-INTERFACE",
    ];
    const WIDE: &'static [&'static str] = &[
        "HOST-INDEX",
        "NETNS",
        "POD-MAC",
        "MTU",
        "DEVICE",
        "INGRESS-LIMIT",
        "EGRESS-LIMIT",
        "PORTS",
        "AGE",
        "CONTAINER-ID",
    ];

    fn cells(&self) -> Vec<String> {
        let addresses: Vec<String> = self.addresses.iter().map(ToString::to_string).collect();
        vec![
            self.pod.clone(),
            self.container.chars().take(SHORT).collect(),
            self.interface.clone(),
            addresses.join(","),
            self.state.to_owned(),
            self.host_interface.clone(),
        ]
    }

    fn wide(&self) -> Vec<String> {
        vec![
            self.host_index.to_string(),
            self.netns.clone(),
            self.pod_mac.clone(),
            self.mtu.to_string(),
            self.device.to_owned(),
            rate(self.ingress_limit),
            rate(self.egress_limit),
            self.ports.join(","),
            self.age_seconds
                .map_or_else(String::new, |s| format!("{s}s")),
            self.container.clone(),
        ]
    }

    fn name(&self) -> String {
        format!("{}:{}", self.container, self.interface)
    }
}

/// Prints those whose records can be read, and complains of the others.
pub(super) fn run(
    context: &Context,
    args: &CniListArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let folder = Paths::new(&context.common.run_dir).attachments();
    let failed = |what: &str, error: &std::io::Error| {
        CtlError::new(Exit::Failed, format!("read {what}: {error}"), ROOT_HINT)
    };
    let boot = boot_id().map_err(|error| failed("boot_id", &error))?;
    let (records, broken) = Attachment::read_all(&folder)
        .map_err(|error| failed(&folder.display().to_string(), &error))?;
    let unlisted = |error| failed("interfaces", &error);
    let is_asked = |add: &Add| args.pod.as_ref().is_none_or(|pod| of_pod(add) == *pod);
    let paths = Paths::new(&context.common.run_dir);
    let ready = records.iter();
    let ready = ready.filter(|r| r.state == State::Ready && r.boot_id == boot);
    let gone: Vec<Attachment> = gone_interfaces(&paths, ready)
        .map_err(unlisted)?
        .into_iter()
        .filter(|record| is_asked(&record.add))
        .cloned()
        .collect();
    let rows = records.into_iter().filter(|record| is_asked(&record.add));
    let mut rows: Vec<AttachmentRow> = rows
        .map(|record| {
            let is_gone = gone.iter().any(|one| one.key() == record.key());
            AttachmentRow::new(record, &boot, is_gone)
        })
        .collect();
    rows.sort();
    out.rows(rows)?;
    // Before what is said of those that are missing.
    out.flush()?;
    let lost = lost_records(&paths).map_err(unlisted)?;
    verdict(&broken, &gone, &lost)
}

/// What is wrong with them, in one error; what a pod lacks counts more than what a file does.
fn verdict(broken: &Broken, gone: &[Attachment], lost: &[String]) -> Result<Exit, CtlError> {
    let mut wrong = Vec::new();
    if !gone.is_empty() {
        let gone: Vec<String> = gone.iter().map(record_in_words).collect();
        wrong.push(wiring::gone(&gone));
    }
    if !broken.is_empty() {
        wrong.push(unread(broken));
    }
    if !lost.is_empty() {
        wrong.push(wiring::lost(lost));
    }
    if wrong.is_empty() {
        return Ok(Exit::Ok);
    }
    let hint = if gone.is_empty() {
        LOST_HINT
    } else {
        GONE_HINT
    };
    Err(CtlError::new(Exit::Failed, wrong.join("; "), hint))
}

#[cfg(test)]
mod tests {
    use cni_plugin::{
        rpc::{Key, PodRef},
        wiring::device::Device,
    };

    use super::*;
    use crate::ctl::output::{Format, render};

    fn record() -> Attachment {
        Attachment {
            state: State::Ready,
            boot_id: "now".into(),
            mtu: 1450,
            device: Device::Netkit,
            add: Add {
                key: Key {
                    container_id: "0123456789abcdef".into(),
                    ifname: "eth0".into(),
                },
                netns: "/run/netns/x".into(),
                host_ifname: "weir1a2b".into(),
                host_ifindex: 7,
                ips: vec!["10.0.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
                pod: PodRef {
                    namespace: "shop".into(),
                    name: "web".into(),
                    uid: "u".into(),
                },
                ports: vec![PortMapping {
                    host_port: 8080,
                    container_port: 80,
                    protocol: "tcp".into(),
                    host_ip: "192.0.2.1".into(),
                }],
                bandwidth: Some(Bandwidth {
                    ingress_rate: 10_000_000,
                    ..Bandwidth::default()
                }),
                ..Add::default()
            },
            ..Attachment::default()
        }
    }

    #[test]
    fn a_record_in_words() {
        let row = |boot: &str| AttachmentRow {
            age_seconds: None,
            ..AttachmentRow::new(record(), boot, false)
        };
        let mut text = Vec::new();
        render(Format::Wide, vec![row("now")], &mut text).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "POD        CONTAINER       INTERFACE   ADDRESSES          STATE   HOST-INTERFACE   HOST-INDEX   NETNS          POD-MAC             MTU    DEVICE   INGRESS-LIMIT   EGRESS-LIMIT   PORTS                    AGE   CONTAINER-ID\n\
             shop/web   0123456789abc   eth0        10.0.0.2,fd00::2   ready   weir1a2b         7            /run/netns/x   00:00:00:00:00:00   1450   netkit   10M             -              192.0.2.1:8080->80/tcp   -     0123456789abcdef\n"
        );
        assert_eq!(row("another").state, "stale");
        assert_eq!(AttachmentRow::new(record(), "now", true).state, "gone");
        assert_eq!(
            AttachmentRow::new(record(), "another", false).age_seconds,
            None
        );
        let mut nobodys = record();
        nobodys.add.pod = PodRef::default();
        nobodys.state = State::Creating;
        let nobodys = AttachmentRow::new(nobodys, "now", false);
        assert_eq!((nobodys.pod.as_str(), nobodys.state), ("", "creating"));
    }
}
