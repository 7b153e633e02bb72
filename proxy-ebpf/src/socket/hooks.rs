//! Entry points: what the kernel calls.

use aya_ebpf::{helpers::bpf_set_retval, macros::cgroup_sock_addr, programs::SockAddrContext};

use super::{
    connect::connect,
    context::SocketCall,
    peer::peer_name,
    place::{Ip4, Ip6, Mapped4, is_mapped},
};

/// The system call goes on.
const ALLOW: i32 = 1;
/// The system call fails.
const REFUSE: i32 = 0;
const ECONNREFUSED: i32 = 111;

/// Declares the programs of one call: IPv4, and IPv6 with IPv4 in it.
macro_rules! hooks {
    ($name4:ident, $name6:ident, $run:ident, $verdict:expr) => {
        /// IPv4.
        #[cgroup_sock_addr($name4)]
        pub fn $name4(context: SockAddrContext) -> i32 {
            let call = SocketCall { context };
            $verdict($run::<Ip4>(&call))
        }

        /// IPv6.
        #[cgroup_sock_addr($name6)]
        pub fn $name6(context: SockAddrContext) -> i32 {
            let call = SocketCall { context };
            if is_mapped(call.address6()) {
                $verdict($run::<Mapped4>(&call))
            } else {
                $verdict($run::<Ip6>(&call))
            }
        }
    };
}

hooks!(connect4, connect6, connect, or_refuse);
hooks!(getpeername4, getpeername6, peer_name, always);

#[inline(always)]
fn or_refuse(go_on: bool) -> i32 {
    if go_on {
        return ALLOW;
    }
    // SAFETY: the helper takes a number.
    unsafe { bpf_set_retval(-ECONNREFUSED) };
    REFUSE
}

#[inline(always)]
fn always((): ()) -> i32 {
    ALLOW
}
