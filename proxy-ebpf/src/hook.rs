//! The programs at interfaces, one file each. What a packet needs is decided in the layers below; here is only in
//! which order it is asked.

#[cfg(target_arch = "bpf")]
mod arp;
#[cfg(target_arch = "bpf")]
mod enter;
#[cfg(target_arch = "bpf")]
mod finish;
#[cfg(target_arch = "bpf")]
mod from_host;
#[cfg(target_arch = "bpf")]
mod from_lo;
#[cfg(target_arch = "bpf")]
mod from_net;
#[cfg(target_arch = "bpf")]
mod from_pod;
#[cfg(target_arch = "bpf")]
mod from_tunnel;
#[cfg(target_arch = "bpf")]
mod from_wire;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod to_net;
#[cfg(target_arch = "bpf")]
mod to_pod;
#[cfg(target_arch = "bpf")]
mod to_queue;
#[cfg(target_arch = "bpf")]
mod to_tunnel;
