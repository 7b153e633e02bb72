//! One dropped packet: from what a program tells, to a line of the log.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use proxy_common::{
    address::{ICMP, ICMPV6, SCTP, TCP, UDP},
    counters::reason_name,
    dropped::Dropped,
};

use crate::{datapath::bpfsys::interface_name, model::Protocol};

/// Ethernet types of IPv4 and IPv6.
const ETH_IP: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;

/// A dropped packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told(Dropped);

impl Told {
    /// From the bytes of a [`Dropped`], two digits each.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = words.chars().map(digit).collect();
        let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else {
            return None;
        };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        let bytes = bytes.try_into().ok()?;
        Some(Self(Dropped::from_bytes(bytes)))
    }

    /// Source and destination; nothing for a frame that is not IP's.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        self.ends().map(Vec::from).unwrap_or_default()
    }

    fn ends(&self) -> Option<[IpAddr; 2]> {
        let ends = [self.0.source, self.0.destination];
        match u16::from_be(self.0.ethertype) {
            ETH_IP => Some(ends.map(|[a, b, c, d, ..]| IpAddr::from([a, b, c, d]))),
            ETH_IPV6 => Some(ends.map(IpAddr::from)),
            _ => None,
        }
    }

    /// Says it, with the names of the ends that have one.
    pub(super) fn log(&self, names: &BTreeMap<IpAddr, String>) {
        let Dropped {
            reason,
            ifindex,
            length,
            ethertype,
            ..
        } = self.0;
        let reason = reason_name(reason);
        let interface = interface_name(ifindex).unwrap_or_else(|_gone| ifindex.to_string());
        let Some(ends) = self.ends() else {
            let ethertype = format!("{:#06x}", u16::from_be(ethertype));
            tracing::info!(reason, %interface, length, %ethertype, "packet dropped");
            return;
        };
        let [from, to] = ends.map(|end| names.get(&end).map(String::as_str));
        let [source, destination] = self.with_ports(ends);
        let protocol = Protocol::name_of(self.0.protocol);
        let [icmp_type, icmp_code] = self.type_and_code();
        tracing::info!(
            reason, %interface, length, protocol, icmp_type, icmp_code, source, destination, from, to,
            "packet dropped"
        );
    }

    /// The ends, with their ports where the packet has them.
    fn with_ports(&self, ends: [IpAddr; 2]) -> [String; 2] {
        let [a, b, c, d] = self.0.first;
        if self.0.begins == 0 || !matches!(self.0.protocol, TCP | UDP | SCTP) {
            return ends.map(|end| end.to_string());
        }
        let [source, destination] = ends;
        let ports = [[a, b], [c, d]].map(u16::from_be_bytes);
        [(source, ports[0]), (destination, ports[1])].map(|end| SocketAddr::from(end).to_string())
    }

    /// Type and code of ICMP.
    fn type_and_code(&self) -> [Option<u8>; 2] {
        let [icmp_type, icmp_code, ..] = self.0.first;
        let is_icmp = self.0.begins != 0 && matches!(self.0.protocol, ICMP | ICMPV6);
        [icmp_type, icmp_code].map(|number| is_icmp.then_some(number))
    }
}

/// The value of a hexadecimal digit.
fn digit(digit: char) -> Option<u8> {
    digit.to_digit(16)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proxy_common::counters::SPOOFED_SOURCE;

    use super::*;

    fn words(dropped: &Dropped) -> String {
        let bytes = dropped.bytes();
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    #[test]
    fn what_programs_tell_is_understood() {
        let dropped = Dropped {
            reason: SPOOFED_SOURCE,
            ifindex: 7,
            length: 74,
            ethertype: ETH_IP.to_be(),
            protocol: UDP,
            begins: 1,
            first: [0x9c, 0x40, 0, 53],
            source: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            destination: [10, 96, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        };
        let told = Told::parse(&words(&dropped)).unwrap();
        let ends = told.ends().unwrap();
        assert_eq!(told.with_ports(ends), ["10.0.0.1:40000", "10.96.0.10:53"]);
        assert_eq!(told.type_and_code(), [None, None]);

        let v6 = Dropped {
            ethertype: ETH_IPV6.to_be(),
            protocol: ICMPV6,
            first: [128, 0, 0, 0],
            source: "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            ..dropped
        };
        let told = Told::parse(&words(&v6)).unwrap();
        assert_eq!(told.with_ports(told.ends().unwrap())[0], "fd00::1");
        assert_eq!(told.type_and_code(), [Some(128), Some(0)]);

        let later = Told(Dropped {
            begins: 0,
            ..dropped
        });
        assert_eq!(later.with_ports(ends)[1], "10.96.0.10");
        let other = Told(Dropped {
            ethertype: 0x88b5_u16.to_be(),
            ..dropped
        });
        assert!(other.addresses().is_empty());
    }

    #[test]
    fn other_words_are_not() {
        let right = words(&Dropped::default());
        for wrong in ["", "0", &right[1..], &right[2..], &format!("{right}00")] {
            assert_eq!(Told::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Told::parse(&right.replacen('0', "x", 1)), None);
    }
}
