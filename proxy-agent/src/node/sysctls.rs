//! Kernel settings without which a node cannot forward.

use std::{fs, io, path::PathBuf};

/// In a container `/proc/sys` is read-only, and the `DaemonSet` mounts the host's here. What is seen through
/// either follows the network namespace of the reader.
const MOUNTED: &str = "/host/proc/sys/net";

fn path(key: &str) -> PathBuf {
    let mounted = PathBuf::from(MOUNTED);
    let root = if mounted.exists() {
        mounted
    } else {
        PathBuf::from("/proc/sys/net")
    };
    root.join(key)
}

fn get(key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(path(key))?.trim().to_owned())
}

/// Writes a value where it differs. A key that the kernel does not have (IPv6 built out) needs no value.
fn set(key: &str, value: &str) -> Result<(), String> {
    match get(key) {
        Ok(now) if now == value => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    fs::write(path(key), value)
        .map_err(|e| format!("write {value} to {}: {e}", path(key).display()))?;
    tracing::info!(key, value, "sysctl set");
    Ok(())
}

/// Makes the node forward; returns what could not be set.
pub fn apply(uplink: &str) -> Vec<String> {
    let mut results = Vec::new();
    // Forwarding makes the kernel ignore router advertisements unless told otherwise: the node would lose
    // its default route. Before forwarding is turned on.
    let accept_ra = format!("ipv6/conf/{uplink}/accept_ra");
    if get(&accept_ra).is_ok_and(|now| now == "1") {
        results.push(set(&accept_ra, "2"));
    }
    results.push(set("ipv4/ip_forward", "1"));
    results.push(set("ipv6/conf/all/forwarding", "1"));
    // What is effective on an interface is the greater of `all` and its own. Strict would drop what comes
    // back another way; loose is enough against forgery, pods' sources are checked by program.
    if get("ipv4/conf/all/rp_filter").is_ok_and(|now| now == "1") {
        results.push(set("ipv4/conf/all/rp_filter", "2"));
    }
    results.into_iter().filter_map(Result::err).collect()
}
