//! What the kernel and a program tell each other of a packet in a tunnel.

use aya_ebpf::helpers::{bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key};

use super::skb::Skb;

/// Where a packet goes or came from: `struct bpf_tunnel_key`
/// (<https://elixir.bootlin.com/linux/v6.1/source/include/uapi/linux/bpf.h#L5893>). IPv4 addresses stand in host order in the
/// first word of their four.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TunnelKey {
    /// VNI.
    pub network: u32,
    /// The other end.
    pub remote: [u32; 4],
    /// Type of service, time to live, flags.
    pub life: [u8; 4],
    /// Flow label.
    pub label: u32,
    /// This end.
    pub local: [u32; 4],
}

const SIZE: u32 = 44;
const _: () = assert!(size_of::<TunnelKey>() == SIZE as usize);

/// `BPF_F_TUNINFO_IPV6`.
const OVER_IPV6: u64 = 1 << 0;
/// `BPF_F_ZERO_CSUM_TX`: UDP goes without a checksum, which IPv4 allows and IPv6 does not (RFC 7348, 5; RFC 6935).
const NO_CHECKSUM: u64 = 1 << 1;
/// `BPF_F_DONT_FRAGMENT`.
const WHOLE: u64 = 1 << 2;

impl<const OWN: bool> Skb<OWN> {
    /// Says to the device of the tunnel where the packet goes; `may_cut`: what is around it may be cut.
    #[inline(always)]
    pub fn enter_tunnel(self, key: *const TunnelKey, over_ipv6: bool, may_cut: bool) -> bool {
        let family = if over_ipv6 { OVER_IPV6 } else { NO_CHECKSUM };
        let flags = if may_cut { family } else { family | WHOLE };
        // SAFETY: the helper reads all of the key.
        unsafe { bpf_skb_set_tunnel_key(self.raw(), key.cast_mut().cast(), SIZE, flags) == 0 }
    }

    /// Asks from where a packet came by the tunnel. False if it did not, or not over this family.
    #[inline(always)]
    pub fn tunnel(self, key: *mut TunnelKey, over_ipv6: bool) -> bool {
        let flags = if over_ipv6 { OVER_IPV6 } else { 0 };
        // SAFETY: the helper writes all of the key.
        unsafe { bpf_skb_get_tunnel_key(self.raw(), key.cast(), SIZE, flags) == 0 }
    }
}
