//! `proxyctl service trace CLIENT VIP:PORT[/PROTO]`: what a new connection meets, by the live maps.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use proxy_common::{
    address::{address4, address6, mapped},
    affinity::AffinityKey,
    frontends::{FLAG_EXTERNAL_DROP, FLAG_INTERNAL_DROP, Frontend},
    node::{ADDRESS_LOCAL, ADDRESS_NODE_PORT},
};
use serde::Serialize;

use super::{
    Context, CtlError, Exit,
    args::TraceArgs,
    live,
    output::Output,
    place,
    render::words::{named, now},
};
use crate::{
    api::messages::Names,
    config::API_VERSION,
    datapath::{Maps, Table as _},
    model::Protocol,
    policy::{
        PolicyTables,
        lookup::{Question, judge},
        row::Direction,
        view::LiveView,
    },
    service::{
        ServiceTables,
        key::FrontendKey,
        pool::{server4, server6},
    },
};

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    api_version: &'static str,
    kind: &'static str,
    client: String,
    destination: String,
    steps: Vec<Step>,
    /// What becomes of the connection.
    verdict: String,
}

#[derive(Debug, Serialize)]
struct Step {
    what: &'static str,
    found: String,
}

/// One connection that is looked at.
struct Asked {
    client: IpAddr,
    to: SocketAddr,
    protocol: Protocol,
}

/// Answers; exit code 1 if the connection goes nowhere.
pub async fn run(context: &Context, args: &TraceArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let reader = live::reader(context)?;
    let names = live::names(context, false).await;
    let (to, protocol) = destination(&args.destination)?;
    let clients = place::addresses(&args.client, &names)?;
    let (client, _) = place::pair(&clients, &[to.ip()]).ok_or_else(|| {
        CtlError::new(
            Exit::Usage,
            format!("`{}` has no address of the family of {to}", args.client),
        )
    })?;
    let asked = Asked {
        client,
        to,
        protocol,
    };
    let mut steps = Vec::new();
    let (good, verdict) = follow(reader.maps(), &asked, &names, &mut steps)?;
    let trace = Trace {
        api_version: API_VERSION,
        kind: "ServiceTrace",
        client: place::describe(&names, client),
        destination: format!("{to}/{protocol}"),
        steps,
        verdict,
    };
    out.object(&trace, |to| write(&trace, to))?;
    Ok(if good { Exit::Ok } else { Exit::Failed })
}

/// `10.96.0.10:80/udp`, `[fd00::10]:80`.
fn destination(word: &str) -> Result<(SocketAddr, Protocol), CtlError> {
    let (socket, protocol) = word.rsplit_once('/').unwrap_or((word, "tcp"));
    let socket: SocketAddr = socket.parse().map_err(|_none| {
        CtlError::new(Exit::Usage, format!("`{socket}` is not address:port"))
            .hint("for example 10.96.0.10:80/udp or [fd00::10]:80")
    })?;
    let (_, protocol) = place::port(&format!("{}/{protocol}", socket.port()))?;
    Ok((socket, protocol))
}

fn follow(
    maps: &Maps,
    asked: &Asked,
    names: &Names,
    steps: &mut Vec<Step>,
) -> Result<(bool, String), CtlError> {
    let mut say = |what, found: String| steps.push(Step { what, found });
    let endpoint = place::endpoint(maps, asked.client)?;
    let node = place::node_flags(maps, asked.client)? & ADDRESS_LOCAL != 0;
    let inside = endpoint.is_some() || node;
    say(
        "client",
        match (endpoint, node) {
            (Some(id), _) => format!("pod of this node, endpoint {id}"),
            (None, true) => "this node itself".to_owned(),
            (None, false) => "outside this node".to_owned(),
        },
    );
    let Some((key, frontend)) = frontend(maps, asked)? else {
        say("frontend", "none: the address is left as it is".to_owned());
        return Ok((true, format!("not a Service: goes to {} itself", asked.to)));
    };
    let service = named(&names.services, frontend.service);
    say("frontend", format!("{key} of Service {service}"));
    let (word, set, drops) = if inside {
        (
            "internal",
            frontend.internal,
            frontend.flags & FLAG_INTERNAL_DROP != 0,
        )
    } else {
        (
            "external",
            frontend.external,
            frontend.flags & FLAG_EXTERNAL_DROP != 0,
        )
    };
    say(
        "set",
        format!(
            "{word} backends: set {} with {} backends",
            set.id, set.count
        ),
    );
    if set.count == 0 {
        let verdict = if drops {
            "dropped: endpoints exist, but not on this node, and the traffic policy is Local"
        } else {
            "rejected: no usable endpoint (connection refused)"
        };
        return Ok((false, verdict.to_owned()));
    }
    let chosen = affinity(maps, asked, &frontend, &mut say)?;
    let backends = backends(maps, set.id, set.count)?;
    let candidates: Vec<_> = backends
        .iter()
        .filter(|(id, _)| chosen.is_none_or(|chosen| chosen == *id))
        .map(|(_, backend)| *backend)
        .collect();
    let candidates = if candidates.is_empty() {
        backends.iter().map(|(_, b)| *b).collect()
    } else {
        candidates
    };
    judged(maps, asked, names, endpoint, &candidates, &mut say)
}

/// The exact frontend, else the `NodePort` if the address serves them.
fn frontend(maps: &Maps, asked: &Asked) -> Result<Option<(FrontendKey, Frontend)>, CtlError> {
    let (address, port) = (asked.to.ip(), asked.to.port());
    let exact = FrontendKey::new(address, port, asked.protocol);
    if let Some(found) = get(maps, &exact)? {
        return Ok(Some((exact, found)));
    }
    if place::node_flags(maps, address)? & ADDRESS_NODE_PORT == 0 {
        return Ok(None);
    }
    let node_port = FrontendKey::node_port(address.is_ipv6(), port, asked.protocol);
    Ok(get(maps, &node_port)?.map(|found| (node_port, found)))
}

fn get(maps: &Maps, key: &FrontendKey) -> Result<Option<Frontend>, CtlError> {
    Ok(match key {
        FrontendKey::V4(key) => maps.frontends4.get(key)?,
        FrontendKey::V6(key) => maps.frontends6.get(key)?,
    })
}

/// The backend that session affinity holds the client to.
fn affinity(
    maps: &Maps,
    asked: &Asked,
    frontend: &Frontend,
    say: &mut impl FnMut(&'static str, String),
) -> Result<Option<u32>, CtlError> {
    if frontend.affinity_seconds == 0 {
        return Ok(None);
    }
    let client = match asked.client {
        IpAddr::V4(ip) => mapped(address4(ip.octets())),
        IpAddr::V6(ip) => address6(ip.octets()),
    };
    let key = AffinityKey {
        client,
        service: frontend.service,
    };
    let entry = maps.affinity.get(&key)?;
    let idle = |last: u32| now().saturating_sub(last);
    let valid = entry.filter(|entry| idle(entry.last_used) < frontend.affinity_seconds);
    say(
        "affinity",
        match (valid, entry) {
            (Some(entry), _) => format!("backend {} for another {}s", entry.backend, frontend.affinity_seconds - idle(entry.last_used)),
            (None, Some(entry)) => format!("backend {} timed out", entry.backend),
            (None, None) => "none yet for this address (sockets balanced at connect() are remembered by network namespace)".to_owned(),
        },
    );
    Ok(valid.map(|entry| entry.backend))
}

/// The backends of a set, with their ids.
fn backends(maps: &Maps, set: u32, count: u32) -> Result<Vec<(u32, SocketAddr)>, CtlError> {
    let tables = ServiceTables::from(maps);
    let mut found = Vec::new();
    for index in 0..count {
        let slot = proxy_common::backends::SlotKey { set, index };
        let Some(id) = tables.slots.get(&slot)? else {
            continue;
        };
        let v4 = tables.backends4.get(&id)?.map(|backend| server4(&backend));
        let server = match v4 {
            Some(server) => Some(server),
            None => tables.backends6.get(&id)?.map(|backend| server6(&backend)),
        };
        found.extend(server.map(|s| (id, SocketAddr::new(s.address, s.port))));
    }
    found.sort_by_key(|(_, backend)| *backend);
    Ok(found)
}

/// Says for each backend whether policy lets the connection reach it.
fn judged(
    maps: &Maps,
    asked: &Asked,
    names: &Names,
    endpoint: Option<u32>,
    backends: &[SocketAddr],
    say: &mut impl FnMut(&'static str, String),
) -> Result<(bool, String), CtlError> {
    let tables = PolicyTables::from(maps);
    let view = LiveView::new(&tables)?;
    let ask = |endpoint, direction, peer, port| {
        let question = Question {
            endpoint,
            direction,
            peer,
            protocol: asked.protocol.number(),
            port,
        };
        judge(&view, &question).map(|answer| answer.allowed)
    };
    let mut reachable = 0;
    for backend in backends {
        let leaves = match endpoint {
            Some(id) => ask(id, Direction::Egress, backend.ip(), backend.port())?,
            None => true,
        };
        let local = place::endpoint(maps, backend.ip())?;
        let enters = match local {
            Some(id) => ask(id, Direction::Ingress, asked.client, backend.port())?,
            None => true,
        };
        reachable += usize::from(leaves && enters);
        let verdict = match (leaves, enters) {
            (false, _) => "denied by the client's egress policy",
            (true, false) => "denied by the pod's ingress policy",
            (true, true) => "allowed",
        };
        let place = if local.is_some() { "here" } else { "elsewhere" };
        let name = names
            .addresses
            .get(&backend.ip())
            .map_or_else(String::new, |name| format!(" {name}"));
        say("backend", format!("{backend}{name}, {place}: {verdict}"));
    }
    let all = backends.len();
    Ok(match (reachable, all) {
        (_, 0) => (
            false,
            "dropped: the set's slots name no backend (backend-gone)".to_owned(),
        ),
        (0, _) => (
            false,
            "dropped by policy, whichever backend is chosen".to_owned(),
        ),
        (_, 1) => (true, format!("goes to {}", backends[0])),
        (n, all) if n == all => (
            true,
            format!("goes to one of {all} backends, each equally likely"),
        ),
        (n, all) => (
            true,
            format!(
                "goes to one of {all} backends, of which policy denies {}",
                all - n
            ),
        ),
    })
}

fn write(trace: &Trace, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{} -> {}", trace.client, trace.destination)?;
    for step in &trace.steps {
        writeln!(to, "  {:<9} {}", step.what, step.found)?;
    }
    writeln!(to, "{}", trace.verdict)
}

#[cfg(test)]
mod tests {
    use super::destination;
    use crate::model::Protocol;

    #[test]
    fn destinations_of_the_command_line() {
        assert_eq!(
            destination("10.0.0.1:53/udp").unwrap(),
            ("10.0.0.1:53".parse().unwrap(), Protocol::Udp)
        );
        assert_eq!(destination("[fd00::1]:80").unwrap().1, Protocol::Tcp);
        assert_eq!(
            destination("10.0.0.1").unwrap_err().message,
            "`10.0.0.1` is not address:port"
        );
    }
}
