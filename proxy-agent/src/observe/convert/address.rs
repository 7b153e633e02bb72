//! Addresses and ranges as Kubernetes accepts them: leading zeros are decimal (CVE-2021-29923), host bits of
//! a range do not count.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

/// Parses an address.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let text = text.trim();
    text.parse()
        .ok()
        .or_else(|| with_leading_zeros(text).map(IpAddr::V4))
        .ok_or_else(|| format!("{text:?} is not an IP address"))
}

/// Parses a range and clears its host bits.
pub fn range(text: &str) -> Result<IpNetwork, String> {
    let invalid = || format!("{text:?} is not a CIDR range");
    let (base, length) = text.trim().split_once('/').ok_or_else(invalid)?;
    let length: u8 = length.parse().ok().ok_or_else(invalid)?;
    let range = IpNetwork::new(address(base)?, length)
        .ok()
        .ok_or_else(invalid)?;
    IpNetwork::new(range.network(), length)
        .ok()
        .ok_or_else(invalid)
}

fn with_leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        *octet = digits.then(|| part.parse().ok()).flatten()?;
    }
    parts.next().is_none().then(|| octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges() {
        assert_eq!(address("10.0.0.011").unwrap().to_string(), "10.0.0.11");
        assert_eq!(address("fd00::1").unwrap().to_string(), "fd00::1");
        for bad in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.1.2",
            "0x7f.0.0.1",
            "name",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert_eq!(range(" 10.1.2.3/16 ").unwrap().to_string(), "10.1.0.0/16");
        for bad in ["10.0.0.0", "10.0.0.0/33", "fd00::/129", "/8"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
