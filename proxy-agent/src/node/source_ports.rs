//! The ports that translated connections leave by.
//!
//! Nothing is reserved: the datapath tracks the host's own flows whose source port is in the range, so that it never
//! takes a live socket's tuple. That costs little as long as the kernel gives other ports to sockets that ask for none.

use std::path::Path;

use super::sysctls;
use crate::config::SourcePorts;

/// What there is to say about the range, if anything.
pub fn note(ports: SourcePorts) -> Option<String> {
    note_in(&sysctls::root(), ports)
}

fn note_in(root: &Path, ports: SourcePorts) -> Option<String> {
    let key = root.join("ipv4/ip_local_port_range");
    let text = std::fs::read_to_string(key).ok()?;
    let mut words = text.split_whitespace().map(str::parse::<u16>);
    let (Some(Ok(first)), Some(Ok(last))) = (words.next(), words.next()) else {
        return None;
    };
    let overlap = ports.min <= last && first <= ports.max;
    overlap.then(|| {
        format!(
            "node.sourcePorts {ports} meets net.ipv4.ip_local_port_range {first}-{last}: the host's own connections from there are tracked as well, which costs"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_said() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("ipv4")).unwrap();
        let said = |range: &str| {
            std::fs::write(root.path().join("ipv4/ip_local_port_range"), range).unwrap();
            note_in(root.path(), SourcePorts::default())
        };
        assert_eq!(said("32768\t60999\n"), None);
        assert_eq!(said("30000\t60999\n"), None);
        for range in ["1024\t65535\n", "29999\t60999\n", "500\t1024\n"] {
            let note = said(range).unwrap();
            assert!(note.contains("1024-29999"), "{note}");
        }
    }
}
