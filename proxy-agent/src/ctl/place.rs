//! Who is meant by a word on the command line: an address, `namespace/pod`, or `node/name`.

use std::{collections::BTreeSet, net::IpAddr};

use ipnetwork::IpNetwork;

use super::{CtlError, Exit, live};
use crate::{
    api::messages::Names,
    datapath::{Maps, Table as _, TableError},
    model::Protocol,
};
use proxy_common::{
    address::{address4, address6, octets4, octets6},
    node::NODE_ALLOW_EGRESS_TO_NODE,
};

const PORT_HINT: &str = "for example 80, 53/udp or 5060/sctp";

/// The addresses that a word stands for.
pub fn addresses(word: &str, names: &Names) -> Result<Vec<IpAddr>, CtlError> {
    if let Ok(address) = word.parse() {
        return Ok(vec![address]);
    }
    let known = names
        .addresses
        .iter()
        .filter(|(_, name)| name.as_str() == word);
    let found: Vec<_> = known.map(|(address, _)| *address).collect();
    if found.is_empty() {
        return Err(CtlError::new(
            Exit::Usage,
            format!("`{word}` is no address, and no pod or node that the agent knows"),
            "write an address, namespace/pod or node/name; names need a running agent",
        ));
    }
    Ok(found)
}

/// The first address of each that are of one family.
pub fn pair(from: &[IpAddr], to: &[IpAddr]) -> Option<(IpAddr, IpAddr)> {
    let of = |from: &IpAddr| {
        to.iter()
            .find(|to| to.is_ipv4() == from.is_ipv4())
            .map(|to| (*from, *to))
    };
    from.iter().find_map(of)
}

/// `80`, `80/udp`: a port and its protocol, TCP if none is named.
pub fn port(word: &str) -> Result<(u16, Protocol), CtlError> {
    let (port, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => {
            return Err(CtlError::new(
                Exit::Usage,
                format!("`{other}` is not tcp, udp or sctp"),
                PORT_HINT,
            ));
        }
    };
    let Ok(number) = port.parse() else {
        return Err(CtlError::new(
            Exit::Usage,
            format!("`{port}` is no number of a port (1 to 65535)"),
            PORT_HINT,
        ));
    };
    Ok((number, protocol))
}

/// The endpoint id of a pod of this node; none for anyone else.
pub fn endpoint(maps: &Maps, address: IpAddr) -> Result<Option<u32>, TableError> {
    match address {
        IpAddr::V4(ip) => maps.local_pods4.get(&address4(ip.octets())),
        IpAddr::V6(ip) => maps.local_pods6.get(&address6(ip.octets())),
    }
}

/// The `ADDRESS_*` bits of an address of this node; 0 for others.
pub fn node_flags(maps: &Maps, address: IpAddr) -> Result<u32, TableError> {
    let flags = match address {
        IpAddr::V4(ip) => maps.node_addresses4.get(&address4(ip.octets()))?,
        IpAddr::V6(ip) => maps.node_addresses6.get(&address6(ip.octets()))?,
    };
    match flags {
        Some(flags) => Ok(flags),
        None => in_range(maps, address),
    }
}

/// Warns of those of these addresses that are of pods of other nodes, and this node has for its own, by mistake.
pub fn warn_of_taken(
    maps: &Maps,
    names: &Names,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<(), TableError> {
    let all: BTreeSet<IpAddr> = addresses.into_iter().collect();
    for address in all {
        let name = names.addresses.get(&address);
        let Some(pod) = name.filter(|name| !name.starts_with("node/")) else {
            continue;
        };
        if endpoint(maps, address)?.is_none() && node_flags(maps, address)? != 0 {
            live::warning(&format!(
                "this node has {address}, of pod {pod} of another node, for its own, and what is sent there from here ends here: proxyctl check says more (address-of-pods)"
            ));
        }
    }
    Ok(())
}

/// The same, by the longest of the node's large ranges that has it.
fn in_range(maps: &Maps, address: IpAddr) -> Result<u32, TableError> {
    let v4 = maps.node_ranges4.entries()?.into_iter();
    let v6 = maps.node_ranges6.entries()?.into_iter();
    let v4 = v4.map(|(range, flags)| (IpAddr::from(octets4(range.data)), range.length, flags));
    let v6 = v6.map(|(range, flags)| (IpAddr::from(octets6(range.data)), range.length, flags));
    let has = |ip, length: u32| {
        let net = u8::try_from(length)
            .ok()
            .and_then(|length| IpNetwork::new(ip, length).ok());
        net.is_some_and(|net| net.contains(address))
    };
    let ranges = v4.chain(v6).filter(|(ip, length, _)| has(*ip, *length));
    let longest = ranges.max_by_key(|(_, length, _)| *length);
    Ok(longest.map_or(0, |(_, _, flags)| flags))
}

/// Whether a pod may send to an address whatever its policies say, which the programs look at first: it is one of the
/// pod's own node, and the configuration lets that pass.
pub fn passes_to_own_node(maps: &Maps, peer: IpAddr) -> Result<bool, TableError> {
    let config = maps.node_config.get(&0)?.unwrap_or_default();
    Ok(config.flags & NODE_ALLOW_EGRESS_TO_NODE != 0 && node_flags(maps, peer)? != 0)
}

/// An address with its name, if it has one.
pub fn describe(names: &Names, address: IpAddr) -> String {
    names
        .addresses
        .get(&address)
        .map_or_else(|| address.to_string(), |name| format!("{name} ({address})"))
}

#[cfg(test)]
mod tests {
    use super::{addresses, pair, port};
    use crate::{api::messages::Names, model::Protocol};

    #[test]
    fn words_of_the_command_line() {
        assert_eq!(port("53/UDP").unwrap(), (53, Protocol::Udp));
        assert_eq!(port("80").unwrap(), (80, Protocol::Tcp));
        assert_eq!(
            port("80/icmp").unwrap_err().message,
            "`icmp` is not tcp, udp or sctp"
        );
        assert!(port("http").is_err());

        let mut names = Names::default();
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        names.addresses.insert(v4, "default/web".to_owned());
        names.addresses.insert(v6, "default/web".to_owned());
        let web = addresses("default/web", &names).unwrap();
        assert_eq!(web, [v4, v6]);
        assert_eq!(pair(&["fd00::2".parse().unwrap()], &web).unwrap().1, v6);
        assert!(addresses("default/other", &names).is_err());
    }
}
