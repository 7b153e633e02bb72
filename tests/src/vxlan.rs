//! What a node sends by the tunnel, made by hand.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::world::Place;

/// UDP port of the tunnel, unless configured.
pub const TUNNEL: u16 = 4789;
/// Number of its network, unless configured.
pub const VNI: u32 = 0x57_65;

/// A datagram of IPv4 in a frame in VXLAN (RFC 7348).
pub fn vxlan(vni: u32, from: IpAddr, to: SocketAddr) -> Vec<u8> {
    let (IpAddr::V4(from), IpAddr::V4(to_ip)) = (from, to.ip()) else {
        panic!("of IPv4");
    };
    let mut packet = vec![0x08, 0, 0, 0];
    packet.extend(&vni.to_be_bytes()[1..]);
    packet.push(0);
    packet.extend([0x02, b'W', b'e', b'i', b'r', 0x03]);
    packet.extend([0x02, b'W', b'e', b'i', b'r', 0x04, 0x08, 0x00]);
    let mut header = [0_u8; 20];
    header[0] = 0x45;
    header[3] = 20 + 8 + 1;
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to_ip.octets());
    let sum: u32 = header
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet.extend(header);
    packet.extend(4000_u16.to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend([0, 9, 0, 0, b'!']);
    packet
}

/// Sends a packet to the port of a tunnel. Panics where that fails.
pub fn send(from: &Place, own: IpAddr, to: IpAddr, packet: &[u8]) {
    let socket = from.udp(SocketAddr::new(own, 0)).unwrap();
    socket.send_to(packet, SocketAddr::new(to, TUNNEL)).unwrap();
}

/// How many datagrams a socket has received since. Panics where it cannot be asked.
pub fn received(socket: &UdpSocket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut room = [0; 64];
    std::iter::from_fn(|| socket.recv(&mut room).ok()).count()
}
