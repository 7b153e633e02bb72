//! Undoing an attachment: DEL, GC, the undo of a failed ADD and the agent's collector all come here.
//!
//! Needs neither the agent nor the namespace nor a record: the host's interface has a name that follows from
//! the key. The addresses are given back last, and only if the interface is gone.

use std::{path::Path, time::Instant};

use crate::{
    client,
    ipam::file::write_json,
    ledger,
    node_file::boot_id,
    paths::Paths,
    protocol::error::{Error, code},
    rpc::{Call, Key},
    talk::say,
    wiring::{name, netlink::Netlink, netns, netns::Netns, veth},
};

/// How an attachment is undone.
#[derive(Clone, Copy, Debug)]
pub struct Detach<'a> {
    /// Which.
    pub key: &'a Key,
    /// `CNI_NETNS`, if it is known.
    pub netns: Option<&'a str>,
    /// Tell the agent, and leave a tombstone if it does not hear.
    pub tell_agent: bool,
    /// Someone may know its addresses: keep them back for a while.
    pub rest: bool,
    /// When to stop waiting.
    pub deadline: Instant,
}

impl Detach<'_> {
    /// Undoes all that can be undone; what could not be is returned.
    pub fn run(&self, paths: &Paths) -> Vec<Error> {
        let mut errors = Vec::new();
        let removed = self.remove_links();
        if self.tell_agent {
            errors.extend(self.tell(paths).err());
        }
        match removed {
            // The interface may still carry traffic for these addresses. The collector tries again.
            Err(e) => errors.push(e),
            Ok(()) => errors.extend(self.give_back(paths).err()),
        }
        errors
    }

    fn remove_links(&self) -> Result<(), Error> {
        let host = name::host_ifname(self.key);
        let failed = |e: &std::io::Error| {
            Error::new(code::WIRING, format!("remove interface {host}")).because(e.to_string())
        };
        let mut own = Netlink::open().map_err(|e| failed(&e))?;
        let found = veth::remove(&mut own, &host).map_err(|e| failed(&e))?;
        if !found && let Some(path) = self.netns {
            remove_inside(Path::new(path), &self.key.ifname);
        }
        Ok(())
    }

    fn tell(&self, paths: &Paths) -> Result<(), Error> {
        let soon = self
            .deadline
            .min(Instant::now() + std::time::Duration::from_millis(500));
        let call = Call::Del(self.key.clone());
        if client::ask(&paths.socket(), call, Instant::now(), soon).is_ok()
            || !paths.attachment(self.key).exists()
        {
            return Ok(());
        }
        let tombstone = paths.tombstone(self.key);
        write_json(&tombstone, self.key)
            .map_err(|e| Error::io(format!("write {}", tombstone.display()), &e))
    }

    fn give_back(&self, paths: &Paths) -> Result<(), Error> {
        // Nothing was ever written here: leave nothing behind.
        if !paths.root().exists() {
            return Ok(());
        }
        let boot = boot_id().map_err(|e| Error::io("read boot_id", &e))?;
        ledger::give_back(paths, self.key, &boot, self.rest, self.deadline)
    }
}

/// An interface whose host side is gone is gone too, except one that is not ours by name. Namespaces that
/// are gone took it with them.
fn remove_inside(path: &Path, ifname: &str) {
    let Ok(netns) = Netns::open(path) else { return };
    if netns::is_own(&netns).unwrap_or(true) {
        return;
    }
    let removed = netns.inside(|| veth::remove(&mut Netlink::open()?, ifname));
    if let Ok(Err(e)) | Err(e) = removed {
        say(format_args!("remove {ifname} in {}: {e}", path.display()));
    }
}
