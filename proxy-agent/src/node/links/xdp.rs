//! XDP at the links that carry node traffic: where it is wanted and the driver lets it.

use std::{
    collections::BTreeMap,
    error::Error as _,
    time::{Duration, Instant},
};

use super::{Header, Link, Links};
use crate::{
    config::Xdp,
    datapath::{DatapathError, SharedDatapath},
    model::Owned,
    subject::Repairs,
};

/// How often a driver is asked again that has refused.
const RETRY: Duration = Duration::from_mins(1);

/// What is wanted at a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The program, in the driver.
    Native,
    /// Nothing.
    Nothing,
    /// Nothing, for this reason.
    Refused(&'static str),
}

impl Wish {
    /// By configuration and kind of link.
    pub fn of(setting: Xdp, link: &Link) -> Self {
        if setting == Xdp::Off || link.header == Header::Bare {
            return Self::Nothing;
        }
        match (setting, link.kind.as_str()) {
            (_, "bond" | "team") => {
                Self::Refused("it stands for several cards, of which the program would see one")
            }
            (Xdp::Native, _) | (_, "") => Self::Native,
            (_, "veth") => Self::Refused(
                "the other end of a veth would need XDP too; `xdp: native` takes it for granted",
            ),
            _ => Self::Refused("no driver of a card stands behind it"),
        }
    }
}

/// Whether programs at other links may send frames out by a link: a `veth` takes them if its other end has XDP. Which cards do
/// the kernel tells only since Linux 6.3; what would leave by another card is left to tc.
pub fn takes_frames(setting: Xdp, link: &Link) -> bool {
    Wish::of(setting, link) == Wish::Native && link.kind == "veth"
}

/// The XDP programs of links.
#[derive(Debug, Default)]
pub struct XdpPrograms {
    links: BTreeMap<u32, State>,
}

/// What became of a link's wish.
#[derive(Clone, Debug, Default)]
struct State {
    live: bool,
    refused: Option<String>,
    /// When it was refused by the driver.
    asked: Option<Instant>,
}

impl XdpPrograms {
    /// Brings them in step at links that have the programs of tc, which do what is left to them; returns what failed.
    pub fn bring(
        &mut self,
        setting: Xdp,
        links: &Links,
        attached: impl Fn(u32) -> bool,
        (datapath, repairs): (&SharedDatapath, &mut Repairs),
    ) -> Vec<String> {
        self.links
            .retain(|index, _| links.chosen.contains_key(index));
        let mut errors = Vec::new();
        for link in links.chosen.values().filter(|link| attached(link.index)) {
            let state = self.links.entry(link.index).or_default();
            let brought = match Wish::of(setting, link) {
                Wish::Native => state.attach(link, datapath, repairs),
                Wish::Nothing => state.detach(link, None, datapath),
                Wish::Refused(why) => state.detach(link, Some(why), datapath),
            };
            errors.extend(brought.err().map(|error| error.to_string()));
        }
        errors
    }

    /// Whether a link has its program, and why not.
    pub fn of(&self, index: u32) -> (bool, Option<String>) {
        let state = self.links.get(&index).cloned().unwrap_or_default();
        (state.live, state.refused)
    }
}

impl State {
    fn attach(
        &mut self,
        link: &Link,
        datapath: &SharedDatapath,
        repairs: &mut Repairs,
    ) -> Result<(), DatapathError> {
        if self.live && datapath.lock().has_xdp(link.index)? {
            return Ok(());
        }
        let waits = self.asked.is_some_and(|asked| asked.elapsed() < RETRY);
        if waits && !self.live {
            return Ok(());
        }
        match datapath.lock().attach_xdp(link.index) {
            Ok(()) => {
                tracing::info!(link = link.name, "XDP program attached to a link");
                if self.live {
                    let thing = format!("XDP program from_wire on {}", link.name);
                    repairs.repaired(Owned::XdpPrograms, &thing);
                }
                *self = Self {
                    live: true,
                    ..Self::default()
                };
            }
            Err(error) => {
                let why = reason(&error);
                if self.refused.as_ref() != Some(&why) {
                    tracing::warn!(link = link.name, why, "no XDP at a link");
                }
                *self = Self {
                    live: false,
                    refused: Some(why),
                    asked: Some(Instant::now()),
                };
            }
        }
        Ok(())
    }

    fn detach(
        &mut self,
        link: &Link,
        why: Option<&str>,
        datapath: &SharedDatapath,
    ) -> Result<(), DatapathError> {
        if datapath.lock().detach_xdp(link.index)? {
            tracing::info!(link = link.name, "XDP program taken off a link");
        }
        *self = Self {
            refused: why.map(str::to_owned),
            ..Self::default()
        };
        Ok(())
    }
}

/// Why a program is not on a link, in few words.
fn reason(error: &DatapathError) -> String {
    let source = error
        .source()
        .and_then(|s| s.downcast_ref::<std::io::Error>());
    match source.and_then(std::io::Error::raw_os_error) {
        Some(libc::EOPNOTSUPP) => "its driver has no XDP".to_owned(),
        Some(libc::EBUSY | libc::EEXIST) => "another XDP program is there".to_owned(),
        Some(libc::EINVAL | libc::ERANGE | libc::E2BIG) => {
            format!("its driver refuses, as many do with a large MTU or too few queues: {error}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::links::Sources;

    fn wish(setting: Xdp, kind: &str, header: Header) -> Wish {
        let link = Link {
            name: "eth0".to_owned(),
            index: 2,
            header,
            sources: Sources::default(),
            mac: [2; 6],
            kind: kind.to_owned(),
        };
        Wish::of(setting, &link)
    }

    #[test]
    fn cards_have_it_in_their_drivers_and_others_where_that_is_asked_for() {
        let ethernet = |setting, kind| wish(setting, kind, Header::Ethernet);
        assert_eq!(ethernet(Xdp::Auto, ""), Wish::Native);
        for kind in ["veth", "vlan", "bridge", "macvlan", "tun", "bond", "team"] {
            let auto = ethernet(Xdp::Auto, kind);
            assert!(matches!(auto, Wish::Refused(_)), "{kind}: {auto:?}");
            assert_eq!(ethernet(Xdp::Off, kind), Wish::Nothing, "{kind}");
        }
        assert_eq!(ethernet(Xdp::Native, "veth"), Wish::Native);
        assert!(matches!(ethernet(Xdp::Native, "bond"), Wish::Refused(_)));
        for setting in [Xdp::Auto, Xdp::Native] {
            assert_eq!(wish(setting, "", Header::Bare), Wish::Nothing);
        }
    }
}
