//! A free range of a length.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

/// The first range of a length inside of `whole` that meets none of the taken ones.
pub fn first_free(whole: IpNetwork, length: u8, taken: &[IpNetwork]) -> Option<IpNetwork> {
    if length < whole.prefix() {
        return None;
    }
    let mut taken: Vec<(u128, u128)> = taken
        .iter()
        .filter(|range| range.is_ipv4() == whole.is_ipv4())
        .map(|range| ends(*range))
        .collect();
    taken.sort_unstable();
    let (mut at, last) = ends(whole);
    let size = span(length, whole.is_ipv4());
    for (begin, end) in taken {
        if end < at {
            continue;
        }
        if begin > at.checked_add(size)? {
            break;
        }
        // The next one of this length behind it.
        at = (end | size).checked_add(1)?;
    }
    let fits = at.checked_add(size).is_some_and(|end| end <= last);
    fits.then(|| range(at, length, whole.is_ipv4())).flatten()
}

/// First and last address.
fn ends(range: IpNetwork) -> (u128, u128) {
    let first = match range {
        IpNetwork::V4(range) => u128::from(u32::from(range.network())),
        IpNetwork::V6(range) => u128::from(range.network()),
    };
    (first, first | span(range.prefix(), range.is_ipv4()))
}

/// The last address of a range of this length less the first.
const fn span(length: u8, ipv4: bool) -> u128 {
    let host = if ipv4 { 32 } else { 128 } - length;
    match u128::MAX.checked_shr(128 - host as u32) {
        Some(span) => span,
        None => 0,
    }
}

fn range(first: u128, length: u8, ipv4: bool) -> Option<IpNetwork> {
    let address = if ipv4 {
        Ipv4Addr::from(u32::try_from(first).ok()?).into()
    } else {
        Ipv6Addr::from(first).into()
    };
    IpNetwork::new(address, length).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::claims::book::{overlap, within};

    fn net(text: &str) -> IpNetwork {
        text.parse().unwrap()
    }

    fn free(whole: &str, length: u8, taken: &[&str]) -> Option<String> {
        let taken: Vec<_> = taken.iter().map(|text| net(text)).collect();
        first_free(net(whole), length, &taken).map(|range| range.to_string())
    }

    #[test]
    fn ends_of_the_address_space_are_reached() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(free("0.0.0.0/0", 24, &[]), some("0.0.0.0/24"));
        assert_eq!(free("255.255.255.0/24", 24, &[]), some("255.255.255.0/24"));
        assert_eq!(
            free("255.255.254.0/23", 24, &["255.255.254.0/24"]),
            some("255.255.255.0/24")
        );
        assert_eq!(free("255.255.255.0/24", 24, &["255.255.255.7/32"]), None);
        assert_eq!(free("::/0", 64, &["::/1"]), some("8000::/64"));
        assert_eq!(free("ffff:ffff:ffff:ffff::/64", 64, &["::/0"]), None);
        assert_eq!(free("10.0.0.0/25", 24, &[]), None);
        assert_eq!(
            free("10.0.0.0/24", 32, &["10.0.0.0/31", "fd00::/8"]),
            some("10.0.0.2/32")
        );
    }

    proptest! {
        /// Against trying them all in order.
        #[test]
        fn it_is_the_first_of_all_that_are_free(
            taken in prop::collection::vec((0_u32..64, 26_u8..=32), 0..12),
            length in 26_u8..=32,
        ) {
            let base = u32::from(Ipv4Addr::new(10, 0, 0, 0));
            let whole = net("10.0.0.0/26");
            let at = |n: u32, length| {
                let range = IpNetwork::new(Ipv4Addr::from(base + n).into(), length).unwrap();
                IpNetwork::new(range.network(), length).unwrap()
            };
            let taken: Vec<_> = taken.into_iter().map(|(n, length)| at(n, length)).collect();
            let mut all = (0..64).map(|n| at(n, length));
            let expected = all.find(|range| !taken.iter().any(|t| overlap(*t, *range)));
            let found = first_free(whole, length, &taken);
            prop_assert_eq!(found, expected);
            prop_assert!(found.is_none_or(|range| within(range, whole)));
        }
    }
}
