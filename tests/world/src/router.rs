//! A router that advertises itself.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::place::Place;

/// `ICMPV6_ROUTER_ADVERTISEMENT`.
const ADVERTISEMENT: u8 = 134;
/// Routers are believed only if nobody has forwarded what they say.
const HOP_LIMIT: u32 = 255;

/// Advertises a place as default router by a link, for so many seconds; 0 takes it back.
pub fn advertise_router(place: &Place, link: &str, seconds: u16) -> Result<()> {
    let index = place.run(&["cat", &format!("/sys/class/net/{link}/ifindex")])?;
    let index: u32 = index.trim().parse().context("index of a link")?;
    let socket = thread::scope(|scope| {
        let made = scope.spawn(|| {
            setns(place.netns(), CloneFlags::CLONE_NEWNET)?;
            Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))
        });
        made.join()
            .map_err(|_panic| anyhow!("making a socket panicked"))
    })??;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_if_v6(index)?;
    let mut packet = [0; 16];
    packet[0] = ADVERTISEMENT;
    // Checksum: the kernel's. Then hop limit, flags, lifetime; reachable and retransmission times: unsaid.
    packet[4] = 64;
    packet[6..8].copy_from_slice(&seconds.to_be_bytes());
    let all = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let to = SocketAddrV6::new(all, 0, 0, index);
    socket
        .send_to(&packet, &SockAddr::from(to))
        .context("send a router advertisement")?;
    Ok(())
}
