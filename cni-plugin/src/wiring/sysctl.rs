//! `/proc/sys/net`, which shows the namespace of the thread that looks.

use std::{fs, io, path::PathBuf};

/// In a container `/proc/sys` is read-only, and the agent's `DaemonSet` mounts the host's here. What is seen through
/// either follows the network namespace of the reader.
const MOUNTED: &str = "/host/proc/sys/net";

/// Where the node's settings can be written.
pub fn root() -> PathBuf {
    let mounted = PathBuf::from(MOUNTED);
    if mounted.exists() {
        mounted
    } else {
        PathBuf::from("/proc/sys/net")
    }
}

/// Writes one value unless it is there. `path` is below [`root`]. A kernel without the key (IPv6 built out) has nothing to set.
///
/// Some keys of the kernel try the RTNL lock and, where another one holds it, begin the system call anew (`restart_syscall` in
/// <https://github.com/torvalds/linux/blob/v6.12/net/ipv6/addrconf.c>): a crowd of writers spins, and takes the processors from
/// the one that has the lock. To read takes no lock.
pub fn set(path: &str, value: &str) -> io::Result<()> {
    let path = root().join(path);
    if fs::read_to_string(&path).is_ok_and(|present| present.trim() == value) {
        return Ok(());
    }
    match fs::write(&path, value) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(io::Error::new(
            e.kind(),
            format!("write {value} to {}: {e}", path.display()),
        )),
        Ok(()) => Ok(()),
    }
}

/// In the pod's namespace, before an interface with an IPv6 address exists: IPv6 is on, addresses are usable at
/// once, and routers on the link (there are none) are not believed. Without such an address nothing is touched.
pub fn prepare_pod() -> io::Result<()> {
    for group in ["all", "default"] {
        set(&format!("ipv6/conf/{group}/disable_ipv6"), "0")?;
        set(&format!("ipv6/conf/{group}/accept_dad"), "0")?;
        set(&format!("ipv6/conf/{group}/accept_ra"), "0")?;
    }
    set("ipv6/conf/lo/disable_ipv6", "0")
}

/// What the host's side is set to, with [`veth::without_link_local`](super::veth::without_link_local): packets are forwarded, replies
/// may come from anywhere, and no router is believed.
pub fn of_host(ifname: &str, ipv6: bool) -> Vec<(String, &'static str)> {
    let of = |family: &str, key: &str| format!("{family}/conf/{ifname}/{key}");
    let mut settings = vec![
        (of("ipv4", "rp_filter"), "0"),
        (of("ipv4", "forwarding"), "1"),
        (format!("ipv4/neigh/{ifname}/proxy_delay"), "0"),
        (of("ipv6", "accept_ra"), "0"),
        (of("ipv6", "accept_dad"), "0"),
    ];
    if ipv6 {
        settings.push((of("ipv6", "disable_ipv6"), "0"));
        settings.push((of("ipv6", "forwarding"), "1"));
    }
    settings
}

/// Sets the host's side.
pub fn prepare_host(ifname: &str, ipv6: bool) -> io::Result<()> {
    let mut settings = of_host(ifname, ipv6).into_iter();
    settings.try_for_each(|(key, value)| set(&key, value))
}

/// Whether the interface can have addresses of IPv6.
pub fn has_ipv6(ifname: &str) -> bool {
    root().join("ipv6/conf").join(ifname).exists()
}

/// On a pair through which a pod sends: the entry speaks for itself to nobody, the end takes what comes out of it for the
/// stack as the pod's interface would.
pub fn prepare_queue([entry, end]: &[String; 2]) -> io::Result<()> {
    set(&format!("ipv6/conf/{entry}/disable_ipv6"), "1")?;
    prepare_host(end, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody can write this key, root neither.
    #[test]
    fn what_is_there_is_not_written() {
        let path = "ipv4/tcp_available_congestion_control";
        let present = fs::read_to_string(root().join(path)).unwrap();
        set(path, present.trim()).unwrap();
        set(path, "none").unwrap_err();
    }
}
