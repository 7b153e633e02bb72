//! Names and hardware addresses that follow from the key alone, so that DEL needs no state to find them.

use sha2::{Digest as _, Sha256};

use crate::{paths::HOST_IFNAME_PREFIX, rpc::Key};

fn hash(key: &Key) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(key.container_id.as_bytes());
    hash.update([0]);
    hash.update(key.ifname.as_bytes());
    hash.finalize().into()
}

/// What tells the interfaces of one key from all others: 11 hex digits.
fn digits(key: &Key) -> String {
    if is_stand_in(key)
        && let Some(digits) = key.container_id.strip_prefix(HOST_IFNAME_PREFIX)
    {
        return digits.to_owned();
    }
    let mut digits = [0; 8];
    digits.copy_from_slice(&hash(key)[..8]);
    let eleven = u64::from_be_bytes(digits) >> 20;
    format!("{eleven:011x}")
}

/// Name of the host side: the prefix and 11 hex digits, 15 bytes. The container's id is new for every
/// attempt, so it never meets the interface of a namespace that is still dying.
pub fn host_ifname(key: &Key) -> String {
    format!("{HOST_IFNAME_PREFIX}{}", digits(key))
}

/// The name of an interface in a container of which nobody knows it.
const UNKNOWN: &str = "unknown";

/// Stands for the key of an attachment whose record is lost: names follow from a key, but no key from a name. Has the names of
/// the key that it stands for.
pub fn stand_in(host_ifname: &str) -> Key {
    Key {
        container_id: host_ifname.to_owned(),
        ifname: UNKNOWN.to_owned(),
    }
}

/// Whether a key is that of no container, but of a host side: see [`stand_in`].
pub fn is_stand_in(key: &Key) -> bool {
    key.ifname == UNKNOWN && is_host_ifname(&key.container_id)
}

/// Number of the routing table of an interface that is not the container's first.
pub fn table(key: &Key) -> u32 {
    let mut digits = [0; 4];
    digits[1..].copy_from_slice(&hash(key)[8..11]);
    // Away from the numbers that people choose, and from those below 256 that have names.
    0x5700_0000 | u32::from_be_bytes(digits)
}

/// Names of the pair through which a limited pod sends: entry and end.
pub fn queue_ifnames(key: &Key) -> [String; 2] {
    let nine: String = digits(key).chars().take(9).collect();
    ['i', 'o'].map(|end| format!("{HOST_IFNAME_PREFIX}q{nine}{end}"))
}

/// Whether a name is that of one of such a pair.
pub fn is_queue_ifname(name: &str) -> bool {
    let digits = name.strip_prefix(HOST_IFNAME_PREFIX);
    let digits = digits.and_then(|rest| rest.strip_prefix('q')?.strip_suffix(['i', 'o']));
    digits.is_some_and(|rest| rest.len() == 9 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a name is that of a host side.
pub fn is_host_ifname(name: &str) -> bool {
    name.strip_prefix(HOST_IFNAME_PREFIX)
        .is_some_and(|rest| rest.len() == 11 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether a name is that of an interface of the host that belongs to a pod.
pub fn is_pods_ifname(name: &str) -> bool {
    is_host_ifname(name) || is_queue_ifname(name)
}

/// Hardware address of the pod side: locally administered, unicast.
pub fn pod_mac(key: &Key) -> [u8; 6] {
    let hash = hash(key);
    let mut mac = [0; 6];
    mac.copy_from_slice(&hash[26..]);
    mac[0] = mac[0] & 0xfc | 0x02;
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_enough_and_differ() {
        let key = |id: &str, ifname: &str| Key {
            container_id: id.into(),
            ifname: ifname.into(),
        };
        let name = host_ifname(&key(&"f".repeat(64), "eth0"));
        assert_eq!(name.len(), 15);
        assert!(is_host_ifname(&name));
        assert!(!is_host_ifname("weir_host") && !is_host_ifname("eth0"));
        assert_ne!(name, host_ifname(&key(&"f".repeat(64), "eth1")));
        assert_ne!(host_ifname(&key("ab", "c")), host_ifname(&key("a", "bc")));
        assert_eq!(pod_mac(&key("a", "b"))[0] & 3, 2);
        for queue in queue_ifnames(&key("a", "b")) {
            assert_eq!(queue.len(), 15);
            assert!(
                is_queue_ifname(&queue) && !is_host_ifname(&queue),
                "{queue}"
            );
        }
        assert!(!is_queue_ifname(&name) && !is_queue_ifname("weir_host"));
    }

    #[test]
    fn who_stands_in_for_a_key_has_its_names() {
        let key = Key {
            container_id: "f".repeat(64),
            ifname: "eth0".into(),
        };
        let stand_in = stand_in(&host_ifname(&key));
        assert!(is_stand_in(&stand_in) && !is_stand_in(&key));
        assert_eq!(host_ifname(&stand_in), host_ifname(&key));
        assert_eq!(queue_ifnames(&stand_in), queue_ifnames(&key));
    }
}
