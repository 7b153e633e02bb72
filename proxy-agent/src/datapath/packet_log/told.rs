//! One packet: from what a program tells, to a line of the log.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use proxy_common::{
    address::{ICMP, ICMPV6, SCTP, TCP, UDP},
    counters::{XDP_ACROSS, XDP_BACK, reason_name},
    told,
};

use crate::{datapath::bpfsys::interface_name, model::Protocol};

/// Ethernet types of IPv4 and IPv6.
const ETH_IP: u16 = 0x0800;
const ETH_IPV6: u16 = 0x86dd;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told(told::Told);

impl Told {
    /// From the bytes of a [`told::Told`], two digits each.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = words.chars().map(digit).collect();
        let (pairs, []) = digits.as_deref()?.as_chunks::<2>() else {
            return None;
        };
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        let bytes = bytes.try_into().ok()?;
        Some(Self(told::Told::from_bytes(bytes)))
    }

    /// Sources and destinations; nothing for a frame that is not IP's.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let came = self.is_sent().then(|| self.came()).flatten();
        self.ends().into_iter().chain(came).flatten().collect()
    }

    const fn is_sent(&self) -> bool {
        matches!(self.0.outcome, XDP_BACK | XDP_ACROSS)
    }

    /// Its ends when the program was done with it.
    fn ends(&self) -> Option<[IpAddr; 2]> {
        self.ips([self.0.source, self.0.destination])
    }

    /// Its ends as it came, of one that is sent.
    fn came(&self) -> Option<[IpAddr; 2]> {
        self.ips([self.0.came_from, self.0.came_to])
    }

    fn ips(&self, ends: [[u8; 16]; 2]) -> Option<[IpAddr; 2]> {
        match u16::from_be(self.0.ethertype) {
            ETH_IP => Some(ends.map(|[a, b, c, d, ..]| IpAddr::from([a, b, c, d]))),
            ETH_IPV6 => Some(ends.map(IpAddr::from)),
            _ => None,
        }
    }

    /// Says it, with the names of the ends that have one.
    pub(super) fn log(&self, names: &BTreeMap<IpAddr, String>) {
        match (self.is_sent(), self.ends(), self.came()) {
            (true, Some(ends), Some(came)) => self.log_sent(ends, came, names),
            (_, Some(ends), _) => self.log_dropped(ends, names),
            _ => self.log_frame(),
        }
    }

    fn log_frame(&self) {
        let ethertype = format!("{:#06x}", u16::from_be(self.0.ethertype));
        tracing::info!(
            reason = reason_name(self.0.outcome), interface = %self.interface(), length = self.0.length, %ethertype,
            "packet dropped"
        );
    }

    fn log_dropped(&self, ends: [IpAddr; 2], names: &BTreeMap<IpAddr, String>) {
        let [from, to] = ends.map(|end| names.get(&end).map(String::as_str));
        let [source, destination] = self.with_ports(ends);
        let [icmp_type, icmp_code] = self.type_and_code();
        tracing::info!(
            reason = reason_name(self.0.outcome), interface = %self.interface(), length = self.0.length,
            protocol = Protocol::name_of(self.0.protocol), icmp_type, icmp_code, source, destination, from, to,
            "packet dropped"
        );
    }

    fn log_sent(&self, ends: [IpAddr; 2], came: [IpAddr; 2], names: &BTreeMap<IpAddr, String>) {
        let [from, _] = came.map(|end| names.get(&end).map(String::as_str));
        let [_, to] = ends.map(|end| names.get(&end).map(String::as_str));
        let [source, destination] = with_ports(came, self.0.came_ports);
        let [sent_source, sent_destination] = self.with_ports(ends);
        let verdict = if self.0.outcome == XDP_BACK {
            "back"
        } else {
            "across"
        };
        tracing::info!(
            verdict, interface = %self.interface(), length = self.0.length, protocol = Protocol::name_of(self.0.protocol),
            source, destination, sent_source, sent_destination, from, to,
            "packet sent by XDP"
        );
    }

    fn interface(&self) -> String {
        let ifindex = self.0.ifindex;
        interface_name(ifindex).unwrap_or_else(|_gone| ifindex.to_string())
    }

    /// The ends, with their ports where the packet has them.
    fn with_ports(&self, ends: [IpAddr; 2]) -> [String; 2] {
        if self.0.begins == 0 || !matches!(self.0.protocol, TCP | UDP | SCTP) {
            return ends.map(|end| end.to_string());
        }
        with_ports(ends, self.0.first)
    }

    /// Type and code of ICMP.
    fn type_and_code(&self) -> [Option<u8>; 2] {
        let [icmp_type, icmp_code, ..] = self.0.first;
        let is_icmp = self.0.begins != 0 && matches!(self.0.protocol, ICMP | ICMPV6);
        [icmp_type, icmp_code].map(|number| is_icmp.then_some(number))
    }
}

/// Ends with ports of network order.
fn with_ports([source, destination]: [IpAddr; 2], [a, b, c, d]: [u8; 4]) -> [String; 2] {
    let ports = [[a, b], [c, d]].map(u16::from_be_bytes);
    [(source, ports[0]), (destination, ports[1])].map(|end| SocketAddr::from(end).to_string())
}

/// The value of a hexadecimal digit.
fn digit(digit: char) -> Option<u8> {
    digit.to_digit(16)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proxy_common::counters::SPOOFED_SOURCE;

    use super::{told::Told as Row, *};

    fn words(row: &Row) -> String {
        let bytes = row.bytes();
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        digits.concat()
    }

    #[test]
    fn what_programs_tell_is_understood() {
        let dropped = Row {
            outcome: SPOOFED_SOURCE,
            ifindex: 7,
            length: 74,
            ethertype: ETH_IP.to_be(),
            protocol: UDP,
            begins: 1,
            first: [0x9c, 0x40, 0, 53],
            source: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            destination: [10, 96, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..Row::default()
        };
        let told = Told::parse(&words(&dropped)).unwrap();
        let ends = told.ends().unwrap();
        assert_eq!(told.with_ports(ends), ["10.0.0.1:40000", "10.96.0.10:53"]);
        assert_eq!(told.type_and_code(), [None, None]);

        let v6 = Row {
            ethertype: ETH_IPV6.to_be(),
            protocol: ICMPV6,
            first: [128, 0, 0, 0],
            source: "fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            ..dropped
        };
        let told = Told::parse(&words(&v6)).unwrap();
        assert_eq!(told.with_ports(told.ends().unwrap())[0], "fd00::1");
        assert_eq!(told.type_and_code(), [Some(128), Some(0)]);

        let later = Told(Row {
            begins: 0,
            ..dropped
        });
        assert_eq!(later.with_ports(ends)[1], "10.96.0.10");
        let other = Told(Row {
            ethertype: 0x88b5_u16.to_be(),
            ..dropped
        });
        assert!(other.addresses().is_empty());
    }

    #[test]
    fn what_is_sent_has_the_ends_that_it_came_with() {
        let mut sent = Row {
            outcome: XDP_BACK,
            ethertype: ETH_IP.to_be(),
            protocol: TCP,
            begins: 1,
            first: [0, 1, 0, 2],
            came_ports: [0, 3, 0, 4],
            ..Row::default()
        };
        let ends = [
            &mut sent.source,
            &mut sent.destination,
            &mut sent.came_from,
            &mut sent.came_to,
        ];
        for (end, last) in ends.into_iter().zip(1..) {
            end[..4].copy_from_slice(&[10, 0, 0, last]);
        }
        let told = Told(sent);
        let came = with_ports(told.came().unwrap(), told.0.came_ports);
        assert_eq!(came, ["10.0.0.3:3", "10.0.0.4:4"]);
        let left = told.with_ports(told.ends().unwrap());
        assert_eq!(left, ["10.0.0.1:1", "10.0.0.2:2"]);
        assert_eq!(told.addresses().len(), 4);
        let dropped = Told(Row {
            outcome: SPOOFED_SOURCE,
            ..told.0
        });
        assert_eq!(dropped.addresses().len(), 2);
    }

    #[test]
    fn other_words_are_not() {
        let right = words(&Row::default());
        for wrong in ["", "0", &right[1..], &right[2..], &format!("{right}00")] {
            assert_eq!(Told::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Told::parse(&right.replacen('0', "x", 1)), None);
    }
}
