//! How long flows live, in seconds.

/// The time-outs that are configured; 0 is the default. Names and defaults are kube-proxy's (`conntrack` of
/// `KubeProxyConfiguration`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// An established TCP connection (`tcpEstablishedTimeout`).
    pub tcp_established: u32,
    /// A TCP connection that one side has closed (`tcpCloseWaitTimeout`).
    pub tcp_close_wait: u32,
    /// Datagrams that were not answered, or once (`udpTimeout`).
    pub udp: u32,
    /// Datagrams both ways (`udpStreamTimeout`).
    pub udp_stream: u32,
}

/// What holds where nothing is configured.
pub const DEFAULT_TIMEOUTS: Timeouts = Timeouts {
    tcp_established: 24 * 3600,
    tcp_close_wait: 3600,
    udp: 30,
    udp_stream: 120,
};

/// A TCP connection that is not yet established.
pub const FLOW_HALF_OPEN_SECONDS: u32 = 60;
/// A TCP connection that both sides have closed, or one has broken off: as long as a last segment may come again.
pub const FLOW_CLOSED_SECONDS: u32 = 10;
/// An exchange of ICMP echoes.
pub const FLOW_ICMP_SECONDS: u32 = 30;
/// Any other protocol.
pub const FLOW_OTHER_SECONDS: u32 = 600;
