//! Which node answers for an address on a link: a value that each node computes for itself, by what it has heard.
//!
//! Of the nodes that live and may serve an address the one has it whose name and the address make the highest number
//! (rendezvous hashing): all that have heard the same elect the same, addresses are spread evenly, and only those of a node
//! that goes move. A node that is new listens first; it is elected by all, itself included, with the first frame that says that
//! it is ready. Two answer for an address only as long as one has not heard what the other has: while a frame is under way, or
//! while the link is cut in two, when each part needs one. Neighbours then have the address of either; both forward what they
//! get, by the same choice of backends. When they hear each other again the one that stays says so to all.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use super::{
    asked::AllGiven,
    beat::{Beat, hash, hash_name, mix},
};

/// How often a node says that it lives.
pub const BEAT: Duration = Duration::from_millis(400);
/// A node that has said nothing for so long is dead. Three frames may be lost, and the next node has its addresses within two
/// seconds nevertheless.
pub const DEAD: Duration = Duration::from_millis(1500);
/// How often what has changed is told to neighbours, a beat apart: a frame may be lost.
const REPEATS: u8 = 4;

/// A node on the link.
#[derive(Clone, Debug, Default)]
struct Peer {
    heard: Duration,
    ready: bool,
    /// By part.
    serves: BTreeMap<u8, BTreeSet<u64>>,
}

/// The election on a link, as one node sees it. Times are of a clock of its own.
#[derive(Clone, Debug)]
pub struct Election {
    node: String,
    began: Duration,
    peers: BTreeMap<String, Peer>,
    /// Addresses that are this node's, and how often that is still to be told.
    own: BTreeMap<IpAddr, u8>,
    /// It does not leave.
    willing: bool,
}

impl Election {
    /// Begins to listen.
    pub fn begin(node: &str, now: Duration) -> Self {
        Self {
            node: node.to_owned(),
            began: now,
            peers: BTreeMap::new(),
            own: BTreeMap::new(),
            willing: false,
        }
    }

    /// Somebody else's frame has come. Whether it changes who may be elected.
    pub fn hear(&mut self, now: Duration, beat: Beat) -> bool {
        if beat.node == self.node {
            return false;
        }
        let new = !self.peers.contains_key(&beat.node);
        let peer = self.peers.entry(beat.node).or_default();
        let (part, parts) = beat.part;
        let serves: BTreeSet<u64> = beat.serves.into_iter().collect();
        let changed = new
            || peer.ready != beat.ready
            || peer.serves.get(&part) != Some(&serves)
            || peer.serves.keys().any(|known| *known >= parts);
        peer.heard = now;
        peer.ready = beat.ready;
        peer.serves.retain(|known, _| *known < parts);
        peer.serves.insert(part, serves);
        if new {
            self.repeat();
        }
        changed
    }

    /// Whether this node may be elected.
    pub fn is_ready(&self, now: Duration) -> bool {
        self.willing && now.saturating_sub(self.began) >= DEAD
    }

    /// What this node tells.
    pub fn tell(&self, now: Duration, uid: &str, given: &AllGiven) -> Vec<Beat> {
        let serves = given.iter().filter(|(_, given)| given.local && given.here);
        let serves: Vec<u64> = serves.map(|(ip, _)| hash(*ip)).collect();
        Beat::all(&self.node, uid, self.is_ready(now), &serves)
    }

    /// Elects. `willing`: this node serves and does not leave.
    pub fn elect(&mut self, now: Duration, given: &AllGiven, willing: bool) {
        self.willing = willing;
        let before = self.peers.len();
        self.peers
            .retain(|_, peer| now.saturating_sub(peer.heard) < DEAD);
        let mine = given
            .keys()
            .filter(|ip| self.elected(now, **ip, given) == Some(&self.node));
        let mine: BTreeSet<IpAddr> = mine.copied().collect();
        self.own.retain(|ip, _| mine.contains(ip));
        for ip in mine {
            self.own.entry(ip).or_insert(REPEATS);
        }
        if self.peers.len() != before {
            self.repeat();
        }
    }

    /// Whoever was not heard may have had an address as well, and neighbours may have that from it.
    fn repeat(&mut self) {
        self.own.values_mut().for_each(|left| *left = REPEATS);
    }

    /// Which node answers for an address; none if nobody may.
    pub fn elected(&self, now: Duration, ip: IpAddr, given: &AllGiven) -> Option<&str> {
        let given = given.get(&ip)?;
        let address = hash(ip);
        let peers = self.peers.iter().filter(|(_, peer)| {
            let serves = || peer.serves.values().any(|part| part.contains(&address));
            peer.ready && (!given.local || serves())
        });
        let me = self.is_ready(now) && given.here;
        let me = me.then_some(self.node.as_str());
        let all = peers.map(|(name, _)| name.as_str()).chain(me);
        all.max_by_key(|name| (mix(hash_name(name) ^ address), *name))
    }

    /// The addresses that are this node's.
    pub fn own(&self) -> impl Iterator<Item = IpAddr> {
        self.own.keys().copied()
    }

    /// Whether an address is this node's.
    pub fn has(&self, ip: IpAddr) -> bool {
        self.own.contains_key(&ip)
    }

    /// Addresses that neighbours are to be told of now.
    pub fn due(&mut self) -> Vec<IpAddr> {
        let due = self.own.iter_mut().filter(|(_, left)| **left > 0);
        due.map(|(ip, left)| {
            *left -= 1;
            *ip
        })
        .collect()
    }

    /// Those of them of which nothing was told yet.
    pub fn untold(&mut self) -> Vec<IpAddr> {
        let new = self.own.iter_mut().filter(|(_, left)| **left == REPEATS);
        new.map(|(ip, left)| {
            *left -= 1;
            *ip
        })
        .collect()
    }

    /// Whose it is.
    pub fn node(&self) -> &str {
        &self.node
    }
}
