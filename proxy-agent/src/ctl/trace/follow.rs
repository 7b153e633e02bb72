//! Follows a connection: frontend, set, affinity, then each backend that it may be given.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use proxy_common::{
    address::{address4, address6, mapped},
    affinity::AffinityKey,
    conntrack::{Flow, Head},
    frontends::{FLAG_HOST_PORT, Frontend},
    node::ADDRESS_LOCAL,
};

use super::{Step, Verdict};
use crate::{
    api::messages::Names,
    ctl::{
        CtlError,
        inside::is_masqueraded,
        lookup::{Asked, Ranges, backends, frontend, get, ranges, set},
        place,
        render::words::{named, socket},
    },
    datapath::{FlowState, Flows, Maps, Table as _, clock},
    policy::{
        Direction, PolicyTables,
        lookup::{Question, judge},
        view::LiveView,
    },
    service::key::FrontendKey,
};

/// What is followed, and what was found on the way.
pub(super) struct Follower<'a> {
    maps: &'a Maps,
    names: &'a Names,
    asked: Asked,
    /// The client's endpoint, if it is a pod of this node.
    endpoint: Option<u32>,
    pub(super) steps: Vec<Step>,
    /// Addresses of backends that the connection may be given.
    pub(super) met: BTreeSet<IpAddr>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(maps: &'a Maps, names: &'a Names, asked: Asked) -> Result<Self, CtlError> {
        Ok(Self {
            endpoint: place::endpoint(maps, asked.client)?,
            maps,
            names,
            asked,
            steps: Vec::new(),
            met: BTreeSet::new(),
        })
    }

    fn say(&mut self, what: &'static str, found: String) {
        self.steps.push(Step { what, found });
    }

    pub(super) fn follow(&mut self) -> Result<Verdict, CtlError> {
        let inside = self.is_inside()?;
        let Some((key, frontend)) = frontend(self.maps, &self.asked)? else {
            return self.no_frontend();
        };
        let owner = named(&self.names.services, frontend.service);
        let found = if frontend.flags & FLAG_HOST_PORT != 0 {
            format!("{key}, hostPort of {owner}")
        } else {
            format!("{key} of Service {owner}")
        };
        self.say("frontend", found);
        if !self.may_ask(&frontend)? {
            return Ok(Verdict::bad(
                "dropped: the client is in none of the Service's loadBalancerSourceRanges (source-range)",
            ));
        }
        let (word, set, drops) = set(&frontend, inside);
        let found = format!(
            "{word} backends: set {} with {} backends",
            set.id, set.count
        );
        self.say("set", found);
        if set.count == 0 {
            return Ok(Verdict::bad(if drops {
                "dropped: endpoints exist, but not on this node, and the traffic policy is Local"
            } else {
                "rejected: no usable endpoint (connection refused)"
            }));
        }
        self.begun();
        let held_to = self.affinity(&frontend)?;
        let candidates = candidates(&backends(self.maps, set.id, set.count)?, held_to);
        self.judged(&candidates)
    }

    /// What goes to where no Service is served here; another node may have one at an address of its own.
    fn no_frontend(&mut self) -> Result<Verdict, CtlError> {
        self.say("frontend", "none: the address is left as it is".to_owned());
        let to = self.asked.to;
        let theirs = self.names.addresses.get(&to.ip());
        let Some(node) = theirs.and_then(|name| name.strip_prefix("node/")) else {
            let verdict = format!("not a Service: goes to {to} itself");
            return Ok(Verdict::good(verdict));
        };
        let key = FrontendKey::on_node(to.is_ipv6(), to.port(), self.asked.protocol);
        let served = get(self.maps, &key)?.filter(|any| any.flags & FLAG_HOST_PORT == 0);
        let what = match served {
            Some(any) => format!(
                "NodePort of Service {}",
                named(&self.names.services, any.service)
            ),
            None => "no Service that this node knows".to_owned(),
        };
        Ok(Verdict::good(format!(
            "goes to {to} itself, of node {node} ({what}): what it meets there, kubectl weir --node {node} service trace says"
        )))
    }

    /// Whether a load balancer's address serves the client.
    fn may_ask(&mut self, frontend: &Frontend) -> Result<bool, CtlError> {
        let client = self.asked.client;
        let Some(Ranges { count, has }) = ranges(self.maps, self.names, frontend, client)? else {
            return Ok(true);
        };
        let found = match has {
            Some(range) => format!("{range} of {count} ranges has the client"),
            None => format!("none of {count} ranges has the client"),
        };
        self.say("sources", found);
        Ok(has.is_some())
    }

    /// Whether the connection begins on this node.
    fn is_inside(&mut self) -> Result<bool, CtlError> {
        let node = place::node_flags(self.maps, self.asked.client)? & ADDRESS_LOCAL != 0;
        let found = match (self.endpoint, node) {
            (Some(id), _) => format!("pod of this node, endpoint {id}"),
            (None, true) => "this node itself".to_owned(),
            (None, false) => "outside this node".to_owned(),
        };
        self.say("client", found);
        Ok(self.endpoint.is_some() || node)
    }

    /// What the client has begun already: it stays where it is, whatever a new flow meets.
    fn begun(&mut self) {
        let now = clock::seconds();
        let flows = self.maps.flows().into_iter().flat_map(Flows::iter);
        let begun = flows.filter(|(_, flow)| self.is_asked(flow, now));
        let backends: BTreeSet<SocketAddr> = begun
            .map(|(_, flow)| socket(flow.target[0].destination, flow.target[0].destination_port))
            .collect();
        if !backends.is_empty() {
            let backends: Vec<String> = backends.iter().map(ToString::to_string).collect();
            let found = format!("of this client there are some to {}", backends.join(", "));
            self.say("flows", found);
        }
    }

    fn is_asked(&self, flow: &Flow<IpAddr>, now: u32) -> bool {
        let tuple = flow.tuple(0);
        let asked = (self.asked.client, self.asked.to);
        Head::unpack(flow.head).protocol == self.asked.protocol.number()
            && (
                tuple.source,
                socket(tuple.destination, tuple.destination_port),
            ) == asked
            && !matches!(
                FlowState::of(flow, now),
                FlowState::Closed | FlowState::Reset | FlowState::Expired
            )
    }

    /// The backend that session affinity holds the client to.
    fn affinity(&mut self, frontend: &Frontend) -> Result<Option<u32>, CtlError> {
        let seconds = frontend.affinity_seconds;
        if seconds == 0 {
            return Ok(None);
        }
        let client = match self.asked.client {
            IpAddr::V4(ip) => mapped(address4(ip.octets())),
            IpAddr::V6(ip) => address6(ip.octets()),
        };
        let key = AffinityKey {
            client,
            service: frontend.service,
        };
        let entry = self.maps.affinity.get(&key)?;
        let idle = |last: u32| clock::seconds().saturating_sub(last);
        let valid = entry.filter(|entry| idle(entry.last_used) < seconds);
        let found = match (valid, entry) {
            (Some(entry), _) => format!(
                "backend {} for another {}s",
                entry.backend,
                seconds - idle(entry.last_used)
            ),
            (None, Some(entry)) => format!("backend {} timed out", entry.backend),
            (None, None) => "none yet".to_owned(),
        };
        self.say("affinity", found);
        Ok(valid.map(|entry| entry.backend))
    }

    /// Says for each backend whether policy lets the connection reach it.
    fn judged(&mut self, backends: &[SocketAddr]) -> Result<Verdict, CtlError> {
        let tables = PolicyTables::from(self.maps);
        let view = LiveView::new(&tables)?;
        let (mut reachable, mut left) = (0, 0);
        self.met.extend(backends.iter().map(SocketAddr::ip));
        for backend in backends {
            if self.endpoint.is_some() && backend.ip() == self.asked.client {
                reachable += 1;
                let found = format!("{backend}, the client itself: allowed, policy has no say");
                self.say("backend", found);
                continue;
            }
            let local = place::endpoint(self.maps, backend.ip())?;
            let leaves = self.passes(&view, self.endpoint, Direction::Egress, *backend)?;
            let enters = self.passes(&view, local, Direction::Ingress, *backend)?;
            reachable += usize::from(leaves && enters);
            let verdict = match (leaves, enters) {
                (false, _) => "denied by the client's egress policy",
                (true, false) => "denied by the pod's ingress policy",
                (true, true)
                    if local.is_none()
                        && self.is_pod(backend.ip())?
                        && !self.is_masqueraded(backend.ip())? =>
                {
                    left += 1;
                    "allowed here, its own node decides too"
                }
                (true, true) if self.is_masqueraded(backend.ip())? => "allowed, in the node's name",
                (true, true) => "allowed",
            };
            let place = if local.is_some() { "here" } else { "elsewhere" };
            let name = self.names.addresses.get(&backend.ip());
            let name = name.map_or_else(String::new, |name| format!(" {name}"));
            self.say("backend", format!("{backend}{name}, {place}: {verdict}"));
        }
        Ok(summary(reachable, left, backends))
    }

    /// Whether it is a pod's address; nodes are no subjects of policy. Without names, what is not this node's may be.
    fn is_pod(&self, address: IpAddr) -> Result<bool, CtlError> {
        let name = self.names.addresses.get(&address);
        let is_node = name.is_some_and(|name| name.starts_with("node/"));
        Ok(!is_node && place::node_flags(self.maps, address)? == 0)
    }

    fn is_masqueraded(&self, backend: IpAddr) -> Result<bool, CtlError> {
        let client = self.asked.client;
        Ok(is_masqueraded(self.maps, self.names, client, backend)?)
    }

    /// Whether an endpoint's policy lets the connection to a backend pass; what is no endpoint has none.
    fn passes(
        &self,
        view: &LiveView<'_>,
        endpoint: Option<u32>,
        direction: Direction,
        backend: SocketAddr,
    ) -> Result<bool, CtlError> {
        let Some(endpoint) = endpoint else {
            return Ok(true);
        };
        let leaves = direction == Direction::Egress;
        if leaves && place::passes_to_own_node(self.maps, backend.ip())? {
            return Ok(true);
        }
        let question = Question {
            endpoint,
            direction,
            peer: match direction {
                Direction::Egress => backend.ip(),
                Direction::Ingress => self.asked.client,
            },
            protocol: self.asked.protocol.number(),
            port: backend.port(),
        };
        Ok(judge(view, &question)?.allowed)
    }
}

/// The backend that affinity names, if it is still in the set; else all.
fn candidates(backends: &[(u32, SocketAddr)], held_to: Option<u32>) -> Vec<SocketAddr> {
    let held: Vec<_> = backends
        .iter()
        .filter(|(id, _)| held_to.is_none_or(|held| held == *id))
        .map(|(_, backend)| *backend)
        .collect();
    if held.is_empty() {
        backends.iter().map(|(_, backend)| *backend).collect()
    } else {
        held
    }
}

/// `left`: so many of the reachable ones are on nodes that decide too.
fn summary(reachable: usize, left: usize, backends: &[SocketAddr]) -> Verdict {
    let too = match left {
        0 => "",
        _ => "; `policy why` asks the nodes that decide too",
    };
    match (reachable, backends) {
        (_, []) => Verdict::bad("dropped: the set's slots name no backend (backend-gone)"),
        (0, _) => Verdict::bad("dropped by policy, whichever backend is chosen"),
        (_, [one]) => Verdict::good(format!("goes to {one}")),
        (n, all) if n == all.len() => {
            Verdict::good(format!("goes to one of {n} backends, each equally likely"))
        }
        (n, all) => Verdict::good(format!(
            "goes to one of {} backends, of which policy here denies {}{too}",
            all.len(),
            all.len() - n
        )),
    }
}
