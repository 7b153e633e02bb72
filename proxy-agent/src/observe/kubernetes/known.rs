//! The API servers that the cluster itself names: the endpoints of its Service `kubernetes`. They are kept on
//! disk for the next start, when that Service may not be served yet.

use std::{collections::BTreeSet, fs, io, net::SocketAddr, path::Path};

use cni_plugin::ipam::file::write_json;
use serde::{Deserialize, Serialize};

use crate::model::{Kind, ObjectName, Snapshot};

/// Name of the file in `runDir`.
pub const KNOWN_SERVERS: &str = "api-servers.json";

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    api_servers: Vec<String>,
}

/// What is remembered. A file that cannot be read is said, and is none.
pub(super) fn read(file: &Path) -> Vec<String> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "API servers not remembered");
            return Vec::new();
        }
    };
    match serde_json::from_slice::<Document>(&text) {
        Ok(document) => document.api_servers,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "API servers not remembered");
            Vec::new()
        }
    }
}

/// Whether this is remembered.
pub(super) fn holds(file: &Path, urls: &[String]) -> bool {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice::<Document>(&text).is_ok_and(|document| document.api_servers == urls)
}

/// Remembers; says whether it could.
pub(super) fn write(file: &Path, urls: &[String]) -> bool {
    let document = Document {
        api_servers: urls.to_vec(),
    };
    match write_json(file, &document) {
        Ok(()) => {
            tracing::info!(?urls, "API servers remembered");
            true
        }
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "API servers not remembered");
            false
        }
    }
}

/// The URLs of the ready endpoints of `default/kubernetes`; none before slices are listed.
pub(super) fn of(snapshot: &Snapshot) -> Vec<String> {
    if !snapshot.complete.has(&[Kind::EndpointSlice]) {
        return Vec::new();
    }
    let slices = snapshot.slices_of(&ObjectName::new("default", "kubernetes"));
    let mut found = BTreeSet::new();
    for slice in slices {
        let https = slice.ports.iter().find(|port| &*port.name == "https");
        let Some(https) = https.or_else(|| slice.ports.iter().next()) else {
            continue;
        };
        let ready = slice.endpoints.iter().filter(|e| e.conditions.ready);
        found.extend(ready.map(|e| SocketAddr::new(e.address, https.port)));
    }
    found.iter().map(|at| format!("https://{at}")).collect()
}

#[cfg(test)]
mod tests {
    use super::{holds, read, write};

    #[test]
    fn what_is_written_is_read_and_what_is_broken_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api-servers.json");
        assert!(read(&file).is_empty());
        let urls = ["https://192.0.2.1:6443", "https://[2001:db8::1]:6443"];
        let urls = urls.map(str::to_owned);
        assert!(write(&file, &urls));
        // A file that cannot be written is not told as written: no folder can be made below a file.
        assert!(!write(&file.join("below"), &urls));
        assert_eq!(read(&file), urls);
        assert!(holds(&file, &urls) && !holds(&file, &urls[..1]));
        std::fs::write(&file, "{").unwrap();
        assert!(read(&file).is_empty() && !holds(&file, &urls));
    }
}
