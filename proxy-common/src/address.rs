//! Addresses as they stand in maps and packets.

/// An IPv4 address, the four bytes of the wire read as one native integer.
pub type Address4 = u32;
/// An IPv6 address, the sixteen bytes of the wire read as four native integers.
pub type Address6 = [u32; 4];

/// ICMP (RFC 792).
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv6 (RFC 4443).
pub const ICMPV6: u8 = 58;
/// SCTP.
pub const SCTP: u8 = 132;

/// An IPv4 address in map form.
#[must_use]
pub const fn address4(octets: [u8; 4]) -> Address4 {
    u32::from_ne_bytes(octets)
}

/// The octets of an IPv4 address in map form.
#[must_use]
pub const fn octets4(address: Address4) -> [u8; 4] {
    address.to_ne_bytes()
}

/// An IPv6 address in map form.
#[must_use]
pub const fn address6(o: [u8; 16]) -> Address6 {
    [
        u32::from_ne_bytes([o[0], o[1], o[2], o[3]]),
        u32::from_ne_bytes([o[4], o[5], o[6], o[7]]),
        u32::from_ne_bytes([o[8], o[9], o[10], o[11]]),
        u32::from_ne_bytes([o[12], o[13], o[14], o[15]]),
    ]
}

/// The octets of an IPv6 address in map form.
#[must_use]
pub const fn octets6(address: Address6) -> [u8; 16] {
    let [a, b, c, d] = [
        address[0].to_ne_bytes(),
        address[1].to_ne_bytes(),
        address[2].to_ne_bytes(),
        address[3].to_ne_bytes(),
    ];
    [
        a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], c[0], c[1], c[2], c[3], d[0], d[1], d[2],
        d[3],
    ]
}

/// Whether an address in map form is an IPv4 address mapped into IPv6.
#[must_use]
#[inline(always)]
#[expect(clippy::inline_always, reason = "BPF: on the path of every packet")]
pub const fn is_mapped(address: &Address6) -> bool {
    let [a, b, prefix, _] = *address;
    a | b == 0 && prefix == mapped(0)[2]
}

/// An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`), in map form.
#[must_use]
pub const fn mapped(address: Address4) -> Address6 {
    [0, 0, 0xffff_u32.to_be(), address]
}
