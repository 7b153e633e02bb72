//! What the CNI plugin answers.

use cni_plugin::protocol::error::code;

use super::{Document, table};

const HEAD: &str = "\
`cni-plugin` answers a call that failed with one JSON document on stdout, `{\"cniVersion\", \"code\", \"msg\", \"details\"}`, and exit code 1. \
Runtimes show `msg; details` in an Event of the pod (`FailedCreatePodSandBox`) and drop the code; `proxyctl cni log` shows what the \
plugin said on a node. Codes below 100 are those of the [CNI specification](https://github.com/containernetworking/cni/blob/main/SPEC.md#error).

";

pub(super) fn page() -> Document {
    let rows = code::ALL
        .iter()
        .map(|(code, meaning)| vec![code.to_string(), (*meaning).to_owned()]);
    let text = table(&["code", "what it means"], rows);
    Document::page("cni-errors", "CNI error codes", &format!("{HEAD}{text}"))
}
