//! Who is meant by the other side of `policy why`: what has an address, or a Service by its name.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    api::messages::Names,
    ctl::{CtlError, Exit, dump::of_service, place},
    datapath::{Maps, Table as _},
    model::Protocol,
    service::key::FrontendKey,
};

/// The other side.
pub(super) struct Target {
    /// Its addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Its name, where that is not the address's.
    pub(super) name: Option<String>,
}

impl Target {
    /// By a word of the command line. A pod comes before the Service of the same name.
    pub(super) fn of(
        word: &str,
        port: (u16, Protocol),
        maps: &Maps,
        names: &Names,
    ) -> Result<Self, CtlError> {
        let service = word.strip_prefix("service/");
        let unknown = match service {
            Some(_) => unknown(word),
            None => match place::addresses(word, names) {
                Ok(addresses) => {
                    let name = None;
                    return Ok(Self { addresses, name });
                }
                Err(error) => error,
            },
        };
        let service = service.unwrap_or(word);
        let frontends = frontends(maps, names, service)?;
        if frontends.is_empty() {
            return Err(unknown);
        }
        let (number, protocol) = port;
        let of_port = |key: &&FrontendKey| {
            (key.port(), key.protocol()) == (number, protocol.number())
                && !key.address().is_unspecified()
        };
        let addresses: Vec<_> = frontends
            .iter()
            .filter(of_port)
            .map(FrontendKey::address)
            .collect();
        if addresses.is_empty() {
            return Err(no_port(service, port, &frontends));
        }
        Ok(Self {
            addresses,
            name: Some(format!("Service {service}")),
        })
    }
}

fn unknown(word: &str) -> CtlError {
    CtlError::new(
        Exit::Usage,
        format!("`{word}` is no Service that this node serves"),
        "proxyctl dump services lists those; names need a running agent",
    )
}

fn no_port(
    service: &str,
    (port, protocol): (u16, Protocol),
    frontends: &BTreeSet<FrontendKey>,
) -> CtlError {
    let ports: BTreeSet<String> = frontends
        .iter()
        .filter(|key| !key.address().is_unspecified())
        .map(|key| {
            let protocol = Protocol::from_number(key.protocol());
            let protocol = protocol.map_or_else(|| key.protocol().to_string(), |p| p.to_string());
            format!("{}/{protocol}", key.port())
        })
        .collect();
    let ports: Vec<_> = ports.into_iter().collect();
    CtlError::new(
        Exit::Usage,
        format!("Service {service} has no port {port}/{protocol}"),
        format!("its ports are {}", ports.join(", ")),
    )
}

/// The frontends of a Service (`namespace/name`).
fn frontends(maps: &Maps, names: &Names, service: &str) -> Result<BTreeSet<FrontendKey>, CtlError> {
    let is_of = |id: &u32| {
        let name = names.services.get(id);
        name.is_some_and(|port| of_service(port, service))
    };
    let v4 = maps.frontends4.entries()?.into_iter();
    let v4 = v4.filter(|(_, frontend)| is_of(&frontend.service));
    let v6 = maps.frontends6.entries()?.into_iter();
    let v6 = v6.filter(|(_, frontend)| is_of(&frontend.service));
    let v4 = v4.map(|(key, _)| FrontendKey::V4(key));
    Ok(v4.chain(v6.map(|(key, _)| FrontendKey::V6(key))).collect())
}
