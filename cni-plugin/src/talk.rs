//! Words for people, on stderr and in the node's log. `eprintln!` would panic when the runtime has closed stderr.

use std::{
    fmt::Display,
    io::{self, Write as _},
    path::PathBuf,
    sync::OnceLock,
};

use crate::{
    log::{self, Entry},
    paths::Paths,
    protocol::env::Call,
};

/// Where this process logs, and on whose behalf. The agent has a log of its own and sets none.
static LOG: OnceLock<(PathBuf, Entry)> = OnceLock::new();

/// From now on logs what is said of this call.
pub fn log_for(paths: &Paths, call: &Call) {
    let pod = if call.pod.name.is_empty() {
        String::new()
    } else {
        call.pod.to_string()
    };
    let entry = Entry {
        verb: call.verb.as_str().to_owned(),
        container_id: call.key.container_id.clone(),
        ifname: call.key.ifname.clone(),
        pod,
        ..Entry::default()
    };
    LOG.get_or_init(|| (paths.log(), entry));
}

/// Writes one line.
pub fn say(text: impl Display) {
    note(&text);
    // Nobody listens: there is no one to tell.
    drop(writeln!(io::stderr(), "weir: {text}"));
}

/// Puts a line in the log alone: what stands in the answer to the runtime, too.
pub fn note(text: &impl Display) {
    let Some((path, entry)) = LOG.get() else {
        return;
    };
    let entry = Entry {
        text: text.to_string(),
        ..entry.clone()
    };
    // No run folder, or no room: the call goes on without a log.
    drop(log::append(path, &entry));
}
