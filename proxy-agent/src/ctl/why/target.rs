//! Who is meant by the other side of `policy why`: what has an address, or a Service by its name.

use std::net::IpAddr;

use crate::{
    api::messages::Names,
    ctl::{
        CtlError, place,
        service_name::{frontends, no_port, prefixed, unknown},
    },
    datapath::Maps,
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
        let service = prefixed(word);
        let unknown = match (place::addresses(word, names), &service) {
            (Ok(addresses), _) => {
                let name = None;
                return Ok(Self { addresses, name });
            }
            (Err(_), Some(_)) => unknown(word),
            (Err(error), None) => error,
        };
        let service = service.unwrap_or_else(|| word.to_owned());
        let service = service.as_str();
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
            .keys()
            .filter(of_port)
            .map(FrontendKey::address)
            .collect();
        if addresses.is_empty() {
            return Err(no_port(
                service,
                &format!("{number}/{protocol}"),
                &frontends,
            ));
        }
        Ok(Self {
            addresses,
            name: Some(format!("Service {service}")),
        })
    }
}
