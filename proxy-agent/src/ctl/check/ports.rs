//! Ports that Weir listens on: who else does.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use proxy_common::tunnel::{ENCRYPTION_DEVICE, TUNNEL_DEVICE};

use super::{
    Complaint, Fault, Verdict,
    owner::{self, Protocol},
    scene::Scene,
};
use crate::{
    api::listen,
    config::{Configuration, Routing},
    node::facts::Facts,
};

/// Ports after one that is taken, of which the first free one is offered.
const OFFERED: u16 = 64;

/// A port that Weir needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    /// The setting that names it; none: Kubernetes does.
    setting: Option<&'static str>,
    /// What it is for.
    what: String,
    protocol: Protocol,
    at: SocketAddr,
    /// The device of ours that has it when it is ours.
    device: Option<&'static str>,
}

/// Tries to listen on each.
pub(super) fn look(scene: &Scene) -> Verdict {
    let ports = needed(&scene.config, health_checks(scene));
    let names = ports
        .iter()
        .map(|port| format!("{} {}", port.what, port.at.port()));
    let text = names.collect::<Vec<_>>().join(", ");
    let ours = scene.agent.is_ok();
    let taken = ports.iter().filter_map(|port| try_one(port, scene, ours));
    Verdict::of(text, taken)
}

fn try_one(port: &Port, scene: &Scene, ours: bool) -> Option<Complaint> {
    let facts = scene.facts.as_ref().ok();
    let held_by_us = match port.device {
        Some(device) => facts.is_some_and(|facts| has(facts, device)),
        None => ours,
    };
    if held_by_us {
        return None;
    }
    let error = open(port.protocol, port.at).err()?;
    let who = owner::of(port.protocol, port.at.port()).or_else(|| device_of(port, facts?));
    if !scene.before && who.as_deref().is_some_and(owner::is_agent) {
        return None; // It does not answer, which is told by itself.
    }
    let free = next_free(port);
    Some(judge(port, &error, who.as_deref(), free))
}

fn judge(port: &Port, error: &io::Error, who: Option<&str>, free: Option<SocketAddr>) -> Complaint {
    let Port {
        what, protocol, at, ..
    } = port;
    let by = who.map_or_else(String::new, |who| format!(" ({who})"));
    let text = format!("{protocol} {at} for {what}: {error}{by}");
    let Some(setting) = port.setting else {
        let hint =
            "stop what listens there, or delete the Service and make it anew: it gets another port";
        return Complaint::error(Fault::PortTaken, text, hint);
    };
    let hint = format!("stop what listens there, or set {setting} to another one");
    let complaint = Complaint::error(Fault::PortTaken, text, hint);
    match (free, port.device) {
        (Some(free), Some(_)) => complaint.setting(setting, free.port()),
        (Some(free), None) => complaint.setting(setting, free),
        (None, _) => complaint,
    }
}

fn needed(config: &Configuration, health_checks: Vec<(String, u16)>) -> Vec<Port> {
    let tcp = |setting, what: &str, at| Port {
        setting,
        what: what.to_owned(),
        protocol: Protocol::Tcp,
        at,
        device: None,
    };
    let udp = |setting, what: &str, port: u16, device| Port {
        setting: Some(setting),
        what: what.to_owned(),
        protocol: Protocol::Udp,
        at: (Ipv4Addr::UNSPECIFIED, port).into(),
        device: Some(device),
    };
    let mut ports = vec![
        tcp(
            Some("healthzBindAddress"),
            "health",
            config.healthz_bind_address,
        ),
        tcp(
            Some("metricsBindAddress"),
            "metrics",
            config.metrics_bind_address,
        ),
    ];
    if config.routing != Routing::Direct {
        ports.push(udp(
            "tunnel.port",
            "tunnel",
            config.tunnel.port,
            TUNNEL_DEVICE,
        ));
    }
    if config.encryption.is_on() {
        let port = config.encryption.port;
        ports.push(udp(
            "encryption.port",
            "encryption",
            port,
            ENCRYPTION_DEVICE,
        ));
    }
    let checks = health_checks.into_iter();
    ports.extend(checks.map(|(service, port)| {
        let what = format!("the health check of Service {service}");
        tcp(None, &what, (Ipv4Addr::UNSPECIFIED, port).into())
    }));
    ports
}

fn health_checks(scene: &Scene) -> Vec<(String, u16)> {
    let snapshot = scene.store.read();
    let services = snapshot.services.iter();
    let with = services.filter(|(_, service)| service.health_check_node_port != 0);
    with.map(|(name, service)| (name.to_string(), service.health_check_node_port))
        .collect()
}

fn open(protocol: Protocol, at: SocketAddr) -> io::Result<()> {
    match protocol {
        Protocol::Tcp => listen::bind(at).map(drop),
        // Devices take their ports for themselves, in both families.
        Protocol::Udp => {
            UdpSocket::bind(at)?;
            match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, at.port())) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
                _ => Ok(()),
            }
        }
    }
}

fn next_free(port: &Port) -> Option<SocketAddr> {
    let after = port.at.port().checked_add(1)?;
    let ports = after..=after.saturating_add(OFFERED);
    let mut offers = ports.map(|number| SocketAddr::new(port.at.ip(), number));
    offers.find(|at| open(port.protocol, *at).is_ok())
}

fn has(facts: &Facts, device: &str) -> bool {
    facts.interfaces.iter().any(|link| link.name == device)
}

/// Devices have sockets that no process has.
fn device_of(port: &Port, facts: &Facts) -> Option<String> {
    let kinds = ["vxlan", "geneve", "wireguard"];
    let links = facts.interfaces.iter();
    let links = links.filter(|link| kinds.contains(&link.kind.as_str()));
    let names: Vec<&str> = links.map(|link| link.name.as_str()).collect();
    let may = port.protocol == Protocol::Udp && !names.is_empty();
    may.then(|| format!("perhaps device {}", names.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::check::Remedy;

    #[test]
    fn ports_are_those_of_the_configuration() {
        let mut config = Configuration::default();
        let settings = |config: &Configuration| -> Vec<_> {
            let ports = needed(config, vec![("shop/web".to_owned(), 31000)]);
            ports.into_iter().map(|port| port.setting).collect()
        };
        let [health, metrics] = ["healthzBindAddress", "metricsBindAddress"].map(Some);
        let tunnel = Some("tunnel.port");
        assert_eq!(settings(&config), [health, metrics, tunnel, None]);
        config.routing = Routing::Direct;
        config.encryption.mode = crate::config::Encryption::Wireguard;
        let encryption = Some("encryption.port");
        assert_eq!(settings(&config), [health, metrics, encryption, None]);
    }

    #[test]
    fn who_listens_is_named_and_another_port_is_offered() {
        let ports = needed(
            &Configuration::default(),
            vec![("shop/web".to_owned(), 31000)],
        );
        let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
        let free: SocketAddr = "0.0.0.0:4790".parse().unwrap();
        let found = judge(&ports[2], &error, Some("process 7, vxlan"), Some(free));
        assert!(
            found.text.ends_with("(os error 98) (process 7, vxlan)"),
            "{found:?}"
        );
        let set = Remedy::Setting("tunnel.port=4790".to_owned());
        assert_eq!(found.remedy, Some(set));
        let found = judge(&ports[3], &error, None, Some(free));
        assert!(found.text.contains("of Service shop/web"), "{found:?}");
        assert_eq!(found.remedy, None);
    }
}
