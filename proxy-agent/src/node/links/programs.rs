//! Programs on the links that carry node traffic: on before they are needed, off where they must not be.

use std::collections::BTreeMap;

use cni_plugin::wiring::{name::is_pods_ifname, veth::LO};

use super::{Header, Link, Links, xdp::XdpPrograms};
use crate::{
    api::messages::{LinkStatus, LinksStatus},
    config::Xdp,
    datapath::{Datapath, Hook, SharedDatapath, TcMode},
    model::Owned,
    node::{
        device_programs::{is_there, missing, on},
        facts::Facts,
    },
    subject::Repairs,
};

/// The programs of links.
#[derive(Debug, Default)]
pub struct LinkPrograms {
    attached: BTreeMap<u32, Attached>,
    xdp: XdpPrograms,
    /// The loopback has its program.
    loopback: bool,
    /// What a former agent left is known.
    taken_over: bool,
    status: LinksStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attached {
    header: Header,
    mode: TcMode,
}

const LOOPBACK: [Hook; 1] = [Hook::FromLo];

/// The programs for a kind of link. What undoes translations comes before what makes them.
pub const fn hooks(header: Header) -> &'static [Hook] {
    match header {
        Header::Ethernet => &Datapath::LINK,
        Header::Bare => &Datapath::BARE_LINK,
    }
}

impl LinkPrograms {
    /// Brings them in step; returns what failed.
    pub fn bring(
        &mut self,
        links: &Links,
        facts: &Facts,
        notes: Vec<String>,
        xdp: Xdp,
        (datapath, repairs): (&SharedDatapath, &mut Repairs),
    ) -> Vec<String> {
        let mut errors = Vec::new();
        errors.extend(self.attach_loopback(datapath, repairs).err());
        if !self.taken_over {
            self.take_over(links, facts, datapath, &mut errors);
        }
        for link in links.chosen.values() {
            errors.extend(self.attach(link, datapath, repairs).err());
        }
        let attached = &self.attached;
        let has_tc = |index| attached.contains_key(&index);
        let brought = self.xdp.bring(xdp, links, has_tc, (datapath, repairs));
        errors.extend(brought);
        let attached = self.attached.keys().copied();
        let gone: Vec<u32> = attached
            .filter(|index| !links.chosen.contains_key(index))
            .collect();
        for index in gone {
            match datapath.lock().detach_interface(index) {
                Ok(()) => {
                    tracing::info!(index, "programs taken off a link");
                    self.attached.remove(&index);
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        self.status = LinksStatus {
            links: links
                .chosen
                .values()
                .map(|link| self.describe(link))
                .collect(),
            notes,
        };
        errors
    }

    /// What the host sends to its own addresses.
    fn attach_loopback(
        &mut self,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        let lost = missing(datapath, LO, &LOOPBACK);
        if self.loopback && lost.is_empty() {
            return Ok(());
        }
        let mode = datapath.lock().attach(LO, &LOOPBACK);
        let mode = mode.map_err(|error| error.to_string())?;
        tracing::info!(%mode, "program attached to the loopback");
        if std::mem::replace(&mut self.loopback, true) {
            repairs.repaired(Owned::LinkPrograms, &on("lo", &lost));
        }
        Ok(())
    }

    /// How many links have XDP in which mode, or none.
    pub fn modes(&self) -> BTreeMap<String, i64> {
        let modes = ["native", "none"].map(|mode| (mode.to_owned(), 0));
        let mut modes = BTreeMap::from(modes);
        for link in &self.status.links {
            let mode = link.xdp.as_deref().unwrap_or("none");
            *modes.entry(mode.to_owned()).or_default() += 1;
        }
        modes
    }

    /// For the status.
    pub fn status(&self) -> LinksStatus {
        self.status.clone()
    }

    /// Takes off what a former agent left where it must not be: links may have changed hands meanwhile.
    fn take_over(
        &mut self,
        links: &Links,
        facts: &Facts,
        datapath: &SharedDatapath,
        errors: &mut Vec<String>,
    ) {
        let others = facts.interfaces.iter().filter(|interface| {
            let name = interface.name.as_str();
            interface.index != LO
                && !links.chosen.contains_key(&interface.index)
                && !is_pods_ifname(name)
                && !name.starts_with("weir_")
        });
        let mut done = true;
        match datapath.lock().sweep() {
            Ok(swept) if !swept.is_empty() => {
                tracing::info!(?swept, "pins of links that are gone removed");
            }
            Ok(_) => {}
            Err(error) => {
                done = false;
                errors.push(error.to_string());
            }
        }
        for other in others {
            let all = Datapath::LINK.iter().chain(&Datapath::BARE_LINK);
            let mut left = all.filter(|hook| is_there(datapath, other.index, **hook));
            if left.next().is_none() {
                continue;
            }
            match datapath.lock().detach_interface(other.index) {
                Ok(()) => tracing::info!(link = other.name, "programs of a former agent taken off"),
                Err(error) => {
                    done = false;
                    errors.push(error.to_string());
                }
            }
        }
        self.taken_over = done;
    }

    /// Attaches them, and again if someone took them off.
    fn attach(
        &mut self,
        link: &Link,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<(), String> {
        let hooks = hooks(link.header);
        let failed = |error: crate::datapath::DatapathError| error.to_string();
        let present = self.attached.get(&link.index).map(|present| present.header);
        let lost = missing(datapath, link.index, hooks);
        if present == Some(link.header) && lost.is_empty() {
            return Ok(());
        }
        if present.is_some_and(|header| header != link.header) {
            datapath
                .lock()
                .detach_interface(link.index)
                .map_err(failed)?;
        }
        self.attached.remove(&link.index);
        let mode = datapath.lock().attach(link.index, hooks).map_err(failed)?;
        tracing::info!(link = link.name, index = link.index, header = ?link.header, %mode, "programs attached to a link");
        let header = link.header;
        if present == Some(header) {
            repairs.repaired(Owned::LinkPrograms, &on(&link.name, &lost));
        }
        self.attached.insert(link.index, Attached { header, mode });
        Ok(())
    }

    fn describe(&self, link: &Link) -> LinkStatus {
        let attached = self.attached.get(&link.index);
        let v4 = link.sources.v4.map(|ip| ip.to_string());
        let v6 = link.sources.v6.map(|ip| ip.to_string());
        let (xdp, no_xdp) = self.xdp.of(link.index);
        LinkStatus {
            name: link.name.clone(),
            ethernet: link.header == Header::Ethernet,
            attached: attached.map(|attached| attached.mode.to_string()),
            xdp: xdp.then(|| "native".to_owned()),
            no_xdp,
            sources: v4.into_iter().chain(v6).collect(),
        }
    }
}
