//! Sysctls: kernel settings without which a node cannot forward.

mod advertisements;
mod conntrack;

use std::{fs, io, path::Path};

pub(crate) use cni_plugin::wiring::sysctl::root;

use super::facts::Facts;
use crate::{config::Conntrack, model::Owned, subject::Repairs};
use advertisements::Heard;

/// `rp_filter`: a source is believed if it is reached by any link.
const LOOSE: &str = "2";

/// The value of a key.
pub(crate) fn get(root: &Path, key: &str) -> io::Result<String> {
    Ok(fs::read_to_string(root.join(key))?.trim().to_owned())
}

/// Writes values, and tells of those that somebody changed.
pub(super) struct Setter<'a> {
    /// The folder of keys.
    pub(super) root: &'a Path,
    /// What the values are part of.
    pub(super) what: Owned,
    /// Who is told.
    pub(super) repairs: &'a mut Repairs,
}

impl Setter<'_> {
    /// Writes a value where it differs. A key that the kernel does not have (IPv6 built out, a link that is gone) needs
    /// no value.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let changed = match get(self.root, key) {
            Ok(now) => now != value,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => true,
        };
        if changed {
            let path = self.root.join(key);
            fs::write(&path, value)
                .map_err(|e| format!("write {value} to {}: {e}", path.display()))?;
            tracing::info!(key, value, "sysctl set");
        }
        let thing = format!("sysctl {key}");
        self.repairs.keep(self.what, &thing, value, changed);
        Ok(())
    }
}

impl Setter<'_> {
    /// Makes a strict check of sources a loose one. None at all is as good.
    fn loosen(&mut self, key: &str) -> Result<(), String> {
        match get(self.root, key).as_deref() {
            Ok("1") => self.set(key, LOOSE),
            Ok(_) => {
                let thing = format!("sysctl {key}");
                self.repairs.keep(self.what, &thing, LOOSE, false);
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}

/// Sets them, and remembers what it must keep.
#[derive(Debug, Default)]
pub struct Sysctls {
    heard: Heard,
}

impl Sysctls {
    /// Lets every link go on hearing router advertisements; returns what could not be set. To be called before
    /// forwarding is turned on for any link, `weir_host` too: from then on the kernel ignores them on links that it was
    /// not told otherwise of, and forgets what they said, at once.
    pub fn hear(&mut self, facts: &Facts, repairs: &mut Repairs) -> Vec<String> {
        let (root, what) = (root(), Owned::Advertisements);
        let root = root.as_path();
        self.heard.keep(
            facts,
            &mut Setter {
                root,
                what,
                repairs,
            },
        )
    }

    /// Makes the node forward by these links, and tunes netfilter's connection tracking where it is there; returns
    /// what could not be set.
    pub fn apply(
        &self,
        links: &[&str],
        conntrack: &Conntrack,
        repairs: &mut Repairs,
    ) -> Vec<String> {
        let root = root();
        let mut to = Setter {
            root: root.as_path(),
            what: Owned::Forwarding,
            repairs,
        };
        let mut errors = forwarding(&mut to, links);
        to.what = Owned::Conntrack;
        errors.extend(conntrack::apply(&mut to, conntrack));
        errors
    }
}

fn forwarding(to: &mut Setter<'_>, links: &[&str]) -> Vec<String> {
    let mut results = vec![
        to.set("ipv4/ip_forward", "1"),
        to.set("ipv6/conf/all/forwarding", "1"),
        // Answers of pods to what the host sends to Services at its own addresses come by the loopback, from one of
        // these addresses. Nobody else sends there.
        to.set("ipv4/conf/lo/accept_local", "1"),
        to.set("ipv4/conf/lo/route_localnet", "1"),
    ];
    for link in links {
        // `bpf_fib_lookup` asks the link by which a packet came.
        for family in ["ipv4", "ipv6"] {
            results.push(to.set(&format!("{family}/conf/{link}/forwarding"), "1"));
        }
    }
    // What is effective on an interface is the greater of `all` and its own. Strict would drop what comes
    // back another way; loose is enough against forgery, pods' sources are checked by program.
    // On links too: answers of Services' backends come by them to the host, which reaches Services by
    // `weir_host`.
    for scope in ["all"].iter().chain(links) {
        results.push(to.loosen(&format!("ipv4/conf/{scope}/rp_filter")));
    }
    results.into_iter().filter_map(Result::err).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::messages::RepairsStatus;

    /// Told are those that were as they should be, loose or none, and strict then.
    #[test]
    fn who_makes_a_check_of_sources_strict_is_told() {
        for (first, then, told) in [
            ("0", "1", 1),
            ("2", "1", 1),
            ("1", "1", 1),
            ("0", "2", 0),
            ("2", "0", 0),
        ] {
            let root = tempfile::tempdir().unwrap();
            let key = "ipv4/conf/all/rp_filter";
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut repairs = Repairs::default();
            for value in [first, then] {
                fs::write(&path, value).unwrap();
                let mut to = Setter {
                    root: root.path(),
                    what: Owned::Forwarding,
                    repairs: &mut repairs,
                };
                assert!(forwarding(&mut to, &[]).is_empty());
                assert_ne!(get(root.path(), key).unwrap(), "1");
            }
            let mut status = RepairsStatus::default();
            repairs.status(&mut status);
            assert_eq!(status.recent.len(), told, "{first}, then {then}");
        }
    }
}
