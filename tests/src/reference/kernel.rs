//! Why packets are dropped.

use std::fmt::Write as _;

use proxy_common::counters::{REASONS, reason_meaning, reason_name};

use super::Document;

const HEAD: &str = "\
Each packet that Weir does not let through is counted under one reason, with its bytes: `weir_drops_total{reason=\"...\"}` and \
`weir_drop_bytes_total`; `proxyctl top --by drop` shows those of the moment. With `logging.drops: true` the agent's log names each packet. What to do about them: \
[troubleshooting](../troubleshooting.md).

";

pub(super) fn page() -> Document {
    let mut text = HEAD.to_owned();
    for reason in REASONS {
        let (name, meaning) = (reason_name(*reason), reason_meaning(*reason));
        // A heading, so that each has an address.
        writeln!(
            text,
            "## {name}\nNumber {reason} in the map `DROPS`. {meaning}\n"
        )
        .unwrap();
    }
    Document::page("drop-reasons", "Drop reasons", &text)
}
