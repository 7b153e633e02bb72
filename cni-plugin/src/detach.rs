//! Teardown of an attachment: DEL, GC, the roll-back of a failed ADD and the agent's garbage collection all come here.
//!
//! Needs neither the agent nor the namespace nor a record: the host's interface has a name that follows from
//! the key. The addresses are given back last, and only if the interface is gone.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    attachment::Attachment,
    client::{self, Patience},
    ipam::file::write_json,
    ledger,
    node_file::boot_id,
    paths::Paths,
    protocol::error::{Error, code},
    rpc::{Call, Key},
    talk::say,
    wiring::{name, netlink::Netlink, netns, netns::Netns, queue, rule, veth},
};

/// How long the agent may take to hear.
const HEARING: Duration = Duration::from_millis(500);

/// How an attachment is undone.
#[derive(Clone, Copy, Debug)]
pub struct Detach<'a> {
    /// Which.
    pub key: &'a Key,
    /// Only what this ADD has made: another may have the key by now.
    pub of: Option<&'a Attachment>,
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
        let removed = self.remove_links(paths);
        if self.tell_agent && !self.is_anothers(paths) {
            errors.extend(self.tell(paths).err());
        }
        match removed {
            // The interface may still carry traffic for these addresses. The collector tries again.
            Err(e) => errors.push(e),
            Ok(()) => errors.extend(self.give_back(paths).err()),
        }
        errors
    }

    /// The key is another ADD's by now.
    fn is_anothers(&self, paths: &Paths) -> bool {
        let record = paths.attachment(self.key);
        self.of
            .is_some_and(|mine| record.exists() && !ledger::is_ours(paths, mine))
    }

    fn remove_links(&self, paths: &Paths) -> Result<(), Error> {
        let host = name::host_ifname(self.key);
        let failed = |e: &std::io::Error| {
            Error::new(code::WIRING, format!("remove interface {host}")).because(e.to_string())
        };
        let mut own = Netlink::open().map_err(|e| failed(&e))?;
        if !self.is_anothers(paths) {
            queue::remove(&mut own, self.key).map_err(|e| {
                let what = format!("remove the queue of interface {host}");
                Error::new(code::WIRING, what).because(e.to_string())
            })?;
        }
        if let Some(mine) = self.of {
            let removed = match mine.add.host_ifindex {
                // It may have been made, but not been found again.
                0 if ledger::is_ours(paths, mine) => veth::remove(&mut own, &host),
                0 => Ok(false),
                index => veth::remove_index(&mut own, index),
            };
            return removed.map(drop).map_err(|e| failed(&e));
        }
        // Before the link, with which it may lose its routes, but not its rules.
        let beside = Attachment::read(&paths.attachment(self.key)).is_ok_and(|r| r.beside);
        let found = veth::remove(&mut own, &host).map_err(|e| failed(&e))?;
        if let Some(path) = self.netns.filter(|_| !found || beside) {
            remove_inside(Path::new(path), self.key, found);
        }
        Ok(())
    }

    fn tell(&self, paths: &Paths) -> Result<(), Error> {
        let soon = self.deadline.min(Instant::now() + HEARING);
        let call = Call::Del(self.key.clone());
        if client::ask(&paths.socket(), call, Patience::until(soon)).is_ok()
            || !paths.attachment(self.key).exists()
        {
            return Ok(());
        }
        let tombstone = paths.tombstone(self.key);
        write_json(&tombstone, self.key)
            .map_err(|e| Error::io(format!("write {}", tombstone.display()), &e))
    }

    fn give_back(&self, paths: &Paths) -> Result<(), Error> {
        // Nothing was ever written here: leave nothing behind, not even a lock.
        if !paths.ipam().exists() && !paths.attachments().exists() {
            return Ok(());
        }
        let boot = boot_id().map_err(|e| Error::io("read boot_id", &e))?;
        ledger::give_back(paths, self.key, self.of, &boot, self.rest, self.deadline)
    }
}

/// What goes with no link, and the interface, if its host side is gone but it is not (one that is not ours by name).
/// Namespaces that are gone took both with them.
fn remove_inside(path: &Path, key: &Key, link_is_gone: bool) {
    let Ok(netns) = Netns::open(path) else { return };
    if netns::is_own(&netns).unwrap_or(true) {
        return;
    }
    let ifname = &key.ifname;
    let removed = netns.inside(|| {
        let mut inside = Netlink::open()?;
        rule::remove(&mut inside, name::table(key))?;
        if !link_is_gone {
            veth::remove(&mut inside, ifname)?;
        }
        Ok::<_, std::io::Error>(())
    });
    if let Ok(Err(e)) | Err(e) = removed {
        say(format_args!("remove {ifname} in {}: {e}", path.display()));
    }
}
