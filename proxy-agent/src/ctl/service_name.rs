//! A Service that is meant by its name on the command line.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use proxy_common::frontends::{FLAG_CLUSTER_IP, Frontend};

use super::{CtlError, Exit, dump::of_service, place};
use crate::{
    api::messages::Names,
    datapath::{Maps, Table as _},
    model::Protocol,
    service::key::FrontendKey,
};

/// Where a Service is served.
pub(super) type Frontends = BTreeMap<FrontendKey, Frontend>;

/// Its `namespace/name`, of a word that says that it is one: `service/shop/web`, `svc/web`.
pub(super) fn prefixed(word: &str) -> Option<String> {
    let name = word
        .strip_prefix("service/")
        .or_else(|| word.strip_prefix("svc/"))?;
    Some(if name.contains('/') {
        name.to_owned()
    } else {
        format!("default/{name}")
    })
}

/// The addresses, port and protocol of `namespace/name[:PORT[/PROTO]]`, also after `svc/` or `service/`; the port by number
/// or by name, and the only one if none is named. A `ClusterIP` comes first.
pub(super) fn destinations(
    word: &str,
    maps: &Maps,
    names: &Names,
) -> Result<(Vec<SocketAddr>, Protocol), CtlError> {
    let (name, port) = match word.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (word, None),
    };
    let service = prefixed(name).unwrap_or_else(|| name.to_owned());
    let all = frontends(maps, names, &service)?;
    if all.is_empty() {
        return Err(unknown(word));
    }
    let (number, protocol) = match port {
        None => only(&service, &all)?,
        Some(port) => match named(&all, names, port) {
            Some(found) => found,
            None => match place::port(port) {
                Ok(found) => found,
                Err(_) => return Err(no_port(&service, port, &all)),
            },
        },
    };
    let mut found: Vec<_> = all
        .iter()
        .filter(|(key, _)| !key.address().is_unspecified())
        .filter(|(key, _)| (key.port(), key.protocol()) == (number, protocol.number()))
        .collect();
    if found.is_empty() {
        return Err(no_port(&service, &format!("{number}/{protocol}"), &all));
    }
    found.sort_by_key(|(_, frontend)| frontend.flags & FLAG_CLUSTER_IP == 0);
    let addresses = found
        .into_iter()
        .map(|(key, _)| SocketAddr::new(key.address(), number));
    Ok((addresses.collect(), protocol))
}

/// The port of this name.
fn named(all: &Frontends, names: &Names, port: &str) -> Option<(u16, Protocol)> {
    let of_name = |frontend: &Frontend| {
        let service = names.services.get(&frontend.service);
        service
            .and_then(|service| service.rsplit_once(':'))
            .is_some_and(|(_, name)| name == port)
    };
    let mut found = all.iter().filter(|(_, frontend)| of_name(frontend));
    let key = found.find_map(|(key, _)| (!key.address().is_unspecified()).then_some(key))?;
    Some((key.port(), Protocol::from_number(key.protocol())?))
}

/// The only port.
fn only(service: &str, all: &Frontends) -> Result<(u16, Protocol), CtlError> {
    let ports = ports(all);
    match &ports[..] {
        [port] => place::port(port),
        _ => Err(CtlError::new(
            Exit::Usage,
            format!("Service {service} has several ports"),
            format!("name one, as {service}:PORT: {}", ports.join(", ")),
        )),
    }
}

/// It is none.
pub(super) fn unknown(word: &str) -> CtlError {
    CtlError::new(
        Exit::Usage,
        format!("`{word}` is no Service that this node serves"),
        "proxyctl dump services lists those; a headless Service (clusterIP: None) is none, its name leads to pods; names need a running agent",
    )
}

/// It has other ports.
pub(super) fn no_port(service: &str, port: &str, frontends: &Frontends) -> CtlError {
    CtlError::new(
        Exit::Usage,
        format!("Service {service} has no port {port}"),
        format!("its ports are {}", ports(frontends).join(", ")),
    )
}

fn ports(frontends: &Frontends) -> Vec<String> {
    let ports: BTreeSet<String> = frontends
        .keys()
        .filter(|key| !key.address().is_unspecified())
        .map(|key| {
            let protocol = Protocol::from_number(key.protocol());
            let protocol = protocol.map_or_else(|| key.protocol().to_string(), |p| p.to_string());
            format!("{}/{protocol}", key.port())
        })
        .collect();
    ports.into_iter().collect()
}

/// The frontends of a Service (`namespace/name`).
pub(super) fn frontends(maps: &Maps, names: &Names, service: &str) -> Result<Frontends, CtlError> {
    let is_of = |id: &u32| {
        let name = names.services.get(id);
        name.is_some_and(|port| of_service(port, service))
    };
    let v4 = maps.frontends4.entries()?.into_iter();
    let v4 = v4.filter(|(_, frontend)| is_of(&frontend.service));
    let v6 = maps.frontends6.entries()?.into_iter();
    let v6 = v6.filter(|(_, frontend)| is_of(&frontend.service));
    let v4 = v4.map(|(key, frontend)| (FrontendKey::V4(key), frontend));
    Ok(v4
        .chain(v6.map(|(key, frontend)| (FrontendKey::V6(key), frontend)))
        .collect())
}
