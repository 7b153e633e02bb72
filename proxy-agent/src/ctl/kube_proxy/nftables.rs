//! Tables of kube-proxy's mode `nftables`: one of each family, nobody else's.

use super::{KEPT, Leftover, Survey};
use crate::ctl::tool::Call;

const FAMILIES: [&str; 2] = ["ip", "ip6"];
const TABLE: &str = "kube-proxy";

/// A table in which nothing happens, but which has connections tracked and translated further on.
fn keeper(family: &str) -> String {
    let [table, _] = KEPT;
    let hooks = ["prerouting", "input", "output", "postrouting"];
    let chains = hooks.map(|hook| {
        format!("    chain {hook} {{\n        type nat hook {hook} priority 0;\n    }}\n")
    });
    let tracks = "    chain tracks {\n        ct state established\n    }\n";
    format!("table {family} {table} {{\n{}{tracks}}}\n", chains.concat())
}

/// Those that are there.
pub(super) fn look(survey: &mut Survey) {
    let Some(tables) = survey.ask("nftables", &["nft", "list", "tables"]) else {
        return;
    };
    let is_there = |family: &&str| {
        let line = format!("table {family} {TABLE}");
        tables.lines().any(|known| known.trim() == line)
    };
    let found = FAMILIES.into_iter().filter(is_there);
    survey.found.extend(found.map(|family| Leftover {
        place: "nftables".to_owned(),
        what: format!("table {family} {TABLE}"),
        commands: vec![
            Call::new(&["nft", "-f", "-"]).reading(keeper(family)),
            Call::new(&["nft", "delete", "table", family, TABLE]),
        ],
        stays: None,
    }));
}
