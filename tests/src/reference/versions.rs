//! What is versioned beside the programs.

use cni_plugin::{protocol::supported::SUPPORTED, rpc};
use proxy_agent::{api::version::VERSION, config::API_VERSION};
use proxy_common::{layout::SCHEMA, v1};

use super::{Document, code, table};

const HEAD: &str = "\
What may differ between two versions of Weir, and what this one, {version}, makes of it. `proxyctl version` tells those of a node. How to \
upgrade and go back: [upgrade](../upgrade.md).

";

pub(super) fn page() -> Document {
    let speaks: Vec<String> = SUPPORTED.iter().map(|version| code(version)).collect();
    let row = |what: &str, version: String, other: String| vec![what.to_owned(), version, other];
    let rows = [
        row(
            "schema of the maps",
            SCHEMA.to_string(),
            format!(
                "Takes over schema {} at its start, with all connections; goes back by `proxy-agent migrate --to {}`. A newer one is \
                 refused before anything is touched.",
                v1::SCHEMA,
                v1::SCHEMA
            ),
        ),
        row(
            "declarations of the maps",
            "by content".to_owned(),
            "Pinned beside the maps. A version that declares more or less goes on with them; one that declares the same otherwise is \
             refused, with the names of what differs."
                .to_owned(),
        ),
        row(
            "configuration",
            code(API_VERSION),
            "There is no other yet. A setting that does not exist is an error, so a file with newer settings is refused by an older \
             version: change the program first going up, the file first going back."
                .to_owned(),
        ),
        row(
            "CNI specification",
            code(cni_plugin::protocol::supported::NEWEST),
            format!("The plugin speaks {}; the conflist says which.", speaks.join(", ")),
        ),
        row(
            "protocol of plugin and agent",
            rpc::VERSION.to_string(),
            "Fields may be added without a change of the number. The agent answers older plugins, and refuses newer ones by name.".to_owned(),
        ),
    ];
    let text = table(&["what", "here", "other versions of it"], rows);
    let head = HEAD.replace("{version}", VERSION);
    Document::page("versions", "Versions", &format!("{head}{text}"))
}
