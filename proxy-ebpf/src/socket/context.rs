//! The context of the `cgroup/sock_addr` programs, and what it says about the socket.
//!
//! Each field is read and written volatile: the compiler would merge neighbouring accesses into wider ones,
//! which the verifier refuses.

use core::ptr;

use aya_ebpf::{
    EbpfContext as _,
    bindings::{bpf_sock, bpf_sock_addr},
    helpers::{bpf_get_netns_cookie, bpf_get_socket_cookie},
    programs::SockAddrContext,
};

/// A socket call in progress, with the address that it is about.
pub struct SocketCall {
    /// The context as aya wraps it.
    pub context: SockAddrContext,
}

impl SocketCall {
    /// IP protocol number; 0 for numbers beyond 255 (MPTCP), which are left to the packet path.
    #[inline(always)]
    pub fn protocol(&self) -> u8 {
        // SAFETY: the context is valid for as long as the program runs.
        let protocol = unsafe { ptr::read_volatile(&raw const (*self.raw()).protocol) };
        u8::try_from(protocol).unwrap_or(0)
    }

    /// Port, network order.
    #[inline(always)]
    pub fn port(&self) -> u16 {
        // SAFETY: the context is valid for as long as the program runs.
        (unsafe { ptr::read_volatile(&raw const (*self.raw()).user_port) }) as u16
    }

    /// Sets the port, network order.
    #[inline(always)]
    pub fn set_port(&self, port: u16) {
        // SAFETY: the context is valid for as long as the program runs.
        unsafe { ptr::write_volatile(&raw mut (*self.raw()).user_port, u32::from(port)) };
    }

    /// IPv4 address.
    #[inline(always)]
    pub fn address4(&self) -> u32 {
        // SAFETY: the context is valid for as long as the program runs.
        unsafe { ptr::read_volatile(&raw const (*self.raw()).user_ip4) }
    }

    /// Sets the IPv4 address.
    #[inline(always)]
    pub fn set_address4(&self, address: u32) {
        // SAFETY: the context is valid for as long as the program runs.
        unsafe { ptr::write_volatile(&raw mut (*self.raw()).user_ip4, address) };
    }

    /// IPv6 address.
    #[inline(always)]
    pub fn address6(&self) -> [u32; 4] {
        [self.word(0), self.word(1), self.word(2), self.word(3)]
    }

    /// Sets the IPv6 address.
    #[inline(always)]
    pub fn set_address6(&self, address: [u32; 4]) {
        let [a, b, c, d] = address;
        self.set_word(0, a);
        self.set_word(1, b);
        self.set_word(2, c);
        self.set_word(3, d);
    }

    /// Names the socket while the kernel runs.
    #[inline(always)]
    pub fn cookie(&self) -> u64 {
        // SAFETY: the helper takes the program's context.
        unsafe { bpf_get_socket_cookie(self.context.as_ptr()) }
    }

    /// Names the network namespace of the socket.
    #[inline(always)]
    pub fn netns_cookie(&self) -> u64 {
        // SAFETY: the helper takes the program's context.
        unsafe { bpf_get_netns_cookie(self.context.as_ptr()) }
    }

    /// The socket.
    #[inline(always)]
    pub fn socket(&self) -> *mut bpf_sock {
        // SAFETY: the context is valid for as long as the program runs.
        let place = unsafe { &raw const (*self.raw()).__bindgen_anon_1.sk };
        // SAFETY: as above.
        unsafe { ptr::read_volatile(place) }
    }

    #[inline(always)]
    fn raw(&self) -> *mut bpf_sock_addr {
        self.context.sock_addr
    }

    #[inline(always)]
    fn word(&self, index: usize) -> u32 {
        // SAFETY: the context is valid for as long as the program runs; the index is below four.
        let words = unsafe { &raw const (*self.raw()).user_ip6 }.cast::<u32>();
        // SAFETY: as above.
        unsafe { ptr::read_volatile(words.add(index)) }
    }

    #[inline(always)]
    fn set_word(&self, index: usize, value: u32) {
        // SAFETY: the context is valid for as long as the program runs; the index is below four.
        let words = unsafe { &raw mut (*self.raw()).user_ip6 }.cast::<u32>();
        // SAFETY: as above.
        unsafe { ptr::write_volatile(words.add(index), value) };
    }
}
