//! `hostPort`s as runtimes write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use cni_plugin::rpc::{Add, PortMapping};

use crate::model::{HostPort, Protocol};

/// The `hostPort`s of an interface: one for each family that the mapping allows and the pod has. An empty
/// `hostIP` stands for both families, an unspecified one for its own (as with the portmap plugin).
pub fn of(add: &Add) -> Result<Vec<HostPort>, String> {
    let mut found = Vec::new();
    for mapping in add.ports.iter().filter(|m| m.host_port != 0) {
        let protocol = protocol(mapping)?;
        let host_ip = host_ip(mapping)?;
        found.extend(add.ips.iter().filter_map(|&ip| {
            Some(HostPort {
                address: address(host_ip, ip)?,
                port: mapping.host_port,
                protocol,
                to: SocketAddr::new(ip, mapping.container_port),
            })
        }));
    }
    Ok(found)
}

fn protocol(mapping: &PortMapping) -> Result<Protocol, String> {
    match mapping.protocol.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        other => Err(format!(
            "hostPort {}: no protocol `{other}`",
            mapping.host_port
        )),
    }
}

fn host_ip(mapping: &PortMapping) -> Result<Option<IpAddr>, String> {
    let PortMapping {
        host_ip, host_port, ..
    } = mapping;
    if host_ip.is_empty() {
        return Ok(None);
    }
    let parsed: Result<IpAddr, _> = host_ip.parse();
    parsed
        .map(|ip| Some(ip.to_canonical()))
        .map_err(|error| format!("hostPort {host_port}: hostIP `{host_ip}`: {error}"))
}

/// Where a pod's address is served; nowhere if the `hostIP` is of the other family.
fn address(host_ip: Option<IpAddr>, pod: IpAddr) -> Option<IpAddr> {
    let any = if pod.is_ipv6() {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let address = host_ip.unwrap_or(any);
    (address.is_ipv6() == pod.is_ipv6()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(host_ip: &str, protocol: &str) -> Add {
        Add {
            ips: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            ports: vec![PortMapping {
                host_port: 80,
                container_port: 8080,
                protocol: protocol.into(),
                host_ip: host_ip.into(),
            }],
            ..Add::default()
        }
    }

    fn found(host_ip: &str, protocol: &str) -> Vec<String> {
        let ports = of(&add(host_ip, protocol)).unwrap();
        let texts = ports
            .iter()
            .map(|p| format!("{} {}/{} {}", p.address, p.port, p.protocol, p.to));
        texts.collect()
    }

    #[test]
    fn host_ips_choose_the_families() {
        let (v4, v6) = ("10.1.0.2:8080", "[fd00::2]:8080");
        assert_eq!(
            found("", ""),
            [format!("0.0.0.0 80/TCP {v4}"), format!(":: 80/TCP {v6}")]
        );
        assert_eq!(found("0.0.0.0", "TCP"), [format!("0.0.0.0 80/TCP {v4}")]);
        assert_eq!(found("::", "udp"), [format!(":: 80/UDP {v6}")]);
        assert_eq!(found("::", "SCTP"), [format!(":: 80/SCTP {v6}")]);
        assert_eq!(
            found("127.0.0.1", "UDP"),
            [format!("127.0.0.1 80/UDP {v4}")]
        );
        assert_eq!(
            found("::ffff:192.0.2.1", "tcp"),
            [format!("192.0.2.1 80/TCP {v4}")]
        );
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let error = of(&add("node", "tcp")).unwrap_err();
        assert!(error.starts_with("hostPort 80: hostIP `node`: "), "{error}");
        assert_eq!(
            of(&add("", "quic")).unwrap_err(),
            "hostPort 80: no protocol `quic`"
        );
    }
}
