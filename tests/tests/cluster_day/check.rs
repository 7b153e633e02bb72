//! What the maps hold, beside what the model says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use anyhow::{Context as _, Result, bail, ensure};
use proxy_agent::{
    datapath::{Table as _, Words as _},
    policy::{
        Direction, PolicyTables,
        kernel::{read_cidrs, read_peers},
        lookup::{Question, judge},
        view::LiveView,
    },
};
use proxy_common::policy::{
    peers::PEER_POD,
    words::{PolicyWord, ROW_DENY_ALL},
};
use serde_json::Value;
use weir_tests::{
    datapath::reader,
    world::{Node, program},
};

use super::{
    api::{Id, Kind},
    model::{Model, list, parsed, text},
    objects::POD_ADDRESSES,
    policy::{Side, Transport},
    services::{Claim, Served, Wanted},
    sources::{Vips, same_sources},
};

const TRANSPORTS: [Transport; 13] = [
    (6, 53),
    (6, 79),
    (6, 80),
    (6, 443),
    (6, 8080),
    (6, 8081),
    (6, 65535),
    (17, 53),
    (17, 80),
    (17, 8080),
    (132, 80),
    (1, 8 << 8),
    (47, 0),
];
const ADDRESSES: [&str; 9] = [
    "172.30.0.11",
    "fd30::b",
    "172.30.0.22",
    "10.244.2.77",
    "10.244.1.99",
    "fd00:244:2::77",
    "192.0.2.99",
    "8.8.8.8",
    "2001:db8::1",
];

/// Maps in which nothing is in the evening, when Service `kubernetes` alone is left, which is of IPv4.
const EMPTY: [&str; 21] = [
    "FRONTENDS6",
    "BACKENDS4",
    "BACKENDS6",
    "BACKEND_SLOTS",
    "BACKEND_MEMBERS",
    "MAGLEV",
    "AFFINITY",
    "SOURCES4",
    "SOURCES6",
    "VIPS6",
    "ENDPOINTS",
    "INTERFACES",
    "LOCAL_PODS4",
    "LOCAL_PODS6",
    "FRAGMENTS4",
    "FRAGMENTS6",
    "CLIENTS",
    "RELAYS",
    "PACES",
    "POLICY_CELLS",
    "INTERVALS",
];

/// The port of Service `kubernetes`.
const KUBERNETES: u16 = 443;

/// Looks at a node.
pub(crate) struct Check<'a> {
    pub(crate) node: &'a Node,
}

impl Check<'_> {
    /// Whether all is as the model says.
    pub(crate) fn in_step(&self, model: &Model) -> Result<()> {
        self.endpoints(model)?;
        self.routes(model)?;
        self.services(model)?;
        self.policy(model)
    }

    /// Whether backends that nobody uses are gone, but those that flows may stay at.
    pub(crate) fn rest(&self, model: &Model) -> Result<Option<()>> {
        let lingering = model.services().lingering;
        for row in self.dump("backends")? {
            let backend = text(&row, "/backend");
            let used = !list(&row, "/services").is_empty() || lingering.contains(backend);
            ensure!(used, "nobody uses backend {backend}");
        }
        let reader = reader(self.node)?;
        let maps = reader.maps();
        let slots: BTreeSet<(u32, u32)> = maps
            .backend_slots
            .entries()?
            .into_iter()
            .map(|(key, _)| (key.set, key.index))
            .collect();
        let v4 = maps.frontends4.entries()?.into_iter().map(|(_, f)| f);
        let v6 = maps.frontends6.entries()?.into_iter().map(|(_, f)| f);
        let sets = v4.chain(v6).flat_map(|f| [f.internal, f.external]);
        let used: BTreeSet<(u32, u32)> = sets
            .flat_map(|set| (0..set.count).map(move |index| (set.id, index)))
            .collect();
        ensure!(slots == used, "slots {slots:?}, used {used:?}");
        Ok(Some(()))
    }

    /// Whether nothing is left but what belongs to the node itself.
    pub(crate) fn empty(&self) -> Result<Option<()>> {
        let reader = reader(self.node)?;
        let maps = reader.maps();
        for usage in maps.usage()? {
            let left = usage.entries.unwrap_or(0);
            let empty = left == 0 || !EMPTY.contains(&usage.name.as_str());
            ensure!(empty, "{left} entries are left in {}", usage.name);
        }
        let used: Vec<(u32, u64)> = (0..maps.node_ports.len())
            .map(|index| (index, maps.node_ports.get(index)))
            .filter(|(_, word)| *word != 0)
            .collect();
        let port = u32::from(KUBERNETES);
        let wanted = (port / u64::BITS, 1 << (port % u64::BITS));
        ensure!(used == [wanted], "ports {used:?}, wanted {wanted:?}");
        // An id that is free keeps the epoch, which no pod after it may have again.
        let words = (0..maps.policy_words.len()).map(|id| maps.policy_words.get(id));
        let open = words.map(PolicyWord::unpack);
        let mut open = open.filter(|word| {
            let deny = [ROW_DENY_ALL; 2];
            [word.ingress_row, word.egress_row] != deny
        });
        let left = open.next();
        ensure!(left.is_none(), "a row is still in force: {left:?}");
        let tables = PolicyTables::from(maps);
        for (_, address, peer) in read_peers(&tables)? {
            ensure!(
                peer.flags & PEER_POD == 0,
                "{address} is still a pod's, {peer:?}"
            );
        }
        let ranges = read_cidrs(&tables)?;
        // The node's own ranges and the rest of the world are of no policy's class.
        let named = ranges.iter().find(|(_, _, peer)| peer.class != 0);
        ensure!(named.is_none(), "a policy's range is left: {named:?}");
        Ok(Some(()))
    }

    fn endpoints(&self, model: &Model) -> Result<()> {
        let wanted: BTreeMap<String, Vec<String>> = model
            .wired
            .iter()
            .map(|(name, wired)| {
                let ips = wired.addresses.iter().map(ToString::to_string);
                (format!("default/{name}"), ips.collect())
            })
            .collect();
        let rows = self.dump("endpoints")?.into_iter();
        let actual: BTreeMap<String, Vec<String>> = rows
            .map(|row| {
                let ips = list(&row, "/addresses").iter().filter_map(Value::as_str);
                let ips = ips.map(str::to_owned).collect();
                (text(&row, "/pod").to_owned(), ips)
            })
            .collect();
        ensure!(actual == wanted, "endpoints {actual:?}, wanted {wanted:?}");
        Ok(())
    }

    fn routes(&self, model: &Model) -> Result<()> {
        let on_link = |ip: &IpAddr| {
            let text = ip.to_string();
            text.starts_with("172.30.0.") || text.starts_with("fd30::")
        };
        let wanted = model.nodes.routes(on_link);
        let mut actual = BTreeMap::new();
        for family in ["-4", "-6"] {
            let said = self
                .node
                .run(&["ip", family, "-j", "route", "show", "proto", "87"])?;
            let rows: Value = serde_json::from_str(&said).unwrap_or_default();
            for row in list(&rows, "") {
                let to = text(row, "/dst");
                let gateway: Option<IpAddr> = parsed(text(row, "/gateway"));
                let to = parsed(to).with_context(|| format!("route {row}"))?;
                actual.insert(to, gateway);
            }
        }
        for (to, gateways) in &wanted {
            let there = actual.get(to);
            ensure!(
                there.is_some_and(|gateway| gateways.contains(gateway)),
                "route to {to} by {there:?}, wanted one of {gateways:?}"
            );
        }
        // Where a way cannot be told none is taken away.
        let extra = actual.keys().find(|to| !wanted.contains_key(to));
        if let Some(to) = extra.filter(|_| !model.nodes.has_silent()) {
            bail!("route to {to} is nobody's");
        }
        Ok(())
    }

    fn services(&self, model: &Model) -> Result<()> {
        let Wanted {
            claims: wanted,
            sources,
            ..
        } = model.services();
        let mut vips = Vips::default();
        let mut actual: BTreeMap<String, Value> = BTreeMap::new();
        for row in self.dump("services")? {
            actual.insert(text(&row, "/frontend").to_owned(), row);
        }
        if let Some(extra) = actual.keys().find(|key| !wanted.contains_key(*key)) {
            bail!("frontend {} is nobody's", actual[extra]);
        }
        for (frontend, claims) in &wanted {
            let row = actual.get(frontend);
            let row = row.with_context(|| format!("no frontend {frontend}, wanted {claims:?}"))?;
            let name = text(row, "/service");
            let claim = claims.iter().find(|claim| claim.service == name);
            let claim = claim.with_context(|| format!("{row}, wanted {claims:?}"))?;
            same(row, claim, model).with_context(|| format!("frontend {frontend}"))?;
            vips.note(frontend, claim);
            let others = claims.iter().any(|c| c.id.is_some());
            ensure!(
                claim.id.is_some() || !others,
                "a hostPort holds {frontend}, wanted {claims:?}"
            );
            ensure!(
                is_oldest(model, claim, claims),
                "{frontend} went to {name}, wanted {claims:?}"
            );
        }
        same_sources(&self.dump("sources")?, &sources)?;
        vips.same(self.node)
    }

    fn policy(&self, model: &Model) -> Result<()> {
        let reader = reader(self.node)?;
        let tables = PolicyTables::from(reader.maps());
        let view = LiveView::new(&tables)?;
        let mut peers: BTreeSet<IpAddr> = ADDRESSES.iter().filter_map(|a| parsed(a)).collect();
        peers.extend(
            POD_ADDRESSES
                .iter()
                .flatten()
                .filter_map(|a| parsed::<IpAddr>(a)),
        );
        peers.extend(model.wired.values().flat_map(|wired| wired.addresses));
        for row in self.dump("endpoints")? {
            let id = row["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            let endpoint = id.context("no id")?;
            let name = text(&row, "/pod").trim_start_matches("default/");
            let pod = Id::new(Kind::Pod, "default", name);
            for (peer, side) in peers
                .iter()
                .flat_map(|p| [(*p, Side::Ingress), (*p, Side::Egress)])
            {
                for what in TRANSPORTS {
                    let direction = match side {
                        Side::Ingress => Direction::Ingress,
                        Side::Egress => Direction::Egress,
                    };
                    let (protocol, port) = what;
                    let question = Question {
                        endpoint,
                        direction,
                        peer,
                        protocol,
                        port,
                    };
                    let answer = judge(&view, &question)?;
                    let wanted = model.allows(&pod, side, peer, what);
                    ensure!(
                        answer.allowed == wanted,
                        "{name} {side:?} {peer} {what:?}: allowed {}, wanted {wanted}: {answer:?}\n{}",
                        answer.allowed,
                        model.about(&pod, peer)
                    );
                }
            }
        }
        Ok(())
    }

    fn dump(&self, subject: &str) -> Result<Vec<Value>> {
        let proxyctl = program("proxyctl")?;
        let proxyctl = proxyctl.to_str().context("path")?;
        let said = self.node.run(&[proxyctl, "dump", subject, "-o", "json"])?;
        let list: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
        let items = list["items"].as_array();
        Ok(items.context("no items")?.clone())
    }
}

fn same(row: &Value, claim: &Claim, model: &Model) -> Result<()> {
    let plain = |name| unmarked(name, model);
    ensure!(text(row, "/type") == claim.kind, "{row}, wanted {claim:?}");
    ensure!(
        row["affinitySeconds"] == claim.affinity,
        "{row}, wanted {claim:?}"
    );
    let ranges = row["sourceRanges"].as_u64().unwrap_or(0);
    ensure!(
        ranges == claim.sources.len() as u64,
        "{row}, wanted {claim:?}"
    );
    if claim.unclear {
        return Ok(());
    }
    for (side, wanted) in [("internal", &claim.internal), ("external", &claim.external)] {
        let Served {
            backends,
            otherwise,
        } = wanted;
        let set = &row[side];
        let actual: BTreeSet<&str> = list(set, "/backends")
            .iter()
            .filter_map(Value::as_str)
            .map(plain)
            .collect();
        let wanted: BTreeSet<&str> = backends.iter().map(|name| plain(name)).collect();
        ensure!(set.get("broken").is_none(), "{row}");
        ensure!(
            actual == wanted && (!wanted.is_empty() || text(set, "/otherwise") == *otherwise),
            "{side} of {row}, wanted {claim:?}"
        );
    }
    Ok(())
}

/// Without the mark of local servers, where that is in dispute.
fn unmarked<'a>(name: &'a str, model: &Model) -> &'a str {
    let bare = name.trim_end_matches('*');
    let disputed = parsed(bare).is_some_and(|at| model.disputed.contains(&at));
    if disputed { bare } else { name }
}

/// Of several Services the oldest has a frontend; of two of one second the one whose name comes first.
fn is_oldest(model: &Model, claim: &Claim, claims: &[Claim]) -> bool {
    let age = |id: &Id| {
        let object = model.get(id.kind, &id.namespace, &id.name);
        let created = object.map_or("", |object| text(object, "/metadata/creationTimestamp"));
        (created.to_owned(), id.namespace.clone(), id.name.clone())
    };
    let services = claims.iter().filter_map(|c| c.id.as_ref());
    services.min_by_key(|id| age(id)) == claim.id.as_ref()
}
