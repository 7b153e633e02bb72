//! Which process has a port, by `/proc` alone: there may be no `ss` here.

use std::{fmt, fs};

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// TCP, listening.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// The process that has a port of this network namespace, in words, if it can be seen from here.
pub(super) fn of(protocol: Protocol, port: u16) -> Option<String> {
    let tables = match protocol {
        Protocol::Tcp => ["tcp", "tcp6"],
        Protocol::Udp => ["udp", "udp6"],
    };
    let inodes = tables.into_iter().flat_map(|table| {
        let text = fs::read_to_string(format!("/proc/self/net/{table}")).unwrap_or_default();
        inodes(&text, protocol, port)
    });
    let inodes: Vec<String> = inodes.map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?;
    let mut pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| has_one(*pid, &inodes))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid}, {}", name.trim()))
}

/// Whether a process, in these words, is an agent of ours.
pub(super) fn is_agent(words: &str) -> bool {
    words.ends_with(", proxy-agent")
}

fn has_one(pid: u32, sockets: &[String]) -> bool {
    let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    let links = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let mut links = links.map(|link| link.to_string_lossy().into_owned());
    links.any(|link| sockets.contains(&link))
}

/// Inodes of sockets that have a port, by a table of `/proc/net` (`net/ipv4/tcp_ipv4.c`, `get_tcp4_sock`).
fn inodes(table: &str, protocol: Protocol, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let rows = table.lines().skip(1).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (_, number) = local.rsplit_once(':')?;
        let number = u16::from_str_radix(number, 16).ok()?;
        let listens = protocol == Protocol::Udp || *state == LISTEN;
        (number == port && listens).then_some(inode.parse().ok()?)
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn our_own_ports_are_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ours = format!("process {}, ", std::process::id());
        assert!(of(Protocol::Tcp, port).unwrap().starts_with(&ours));
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(of(Protocol::Udp, port).unwrap().starts_with(&ours));
        drop(socket);
        assert_eq!(of(Protocol::Udp, port), None);
        assert!(is_agent("process 1, proxy-agent") && !is_agent("process 1, kube-proxy"));
    }
}
