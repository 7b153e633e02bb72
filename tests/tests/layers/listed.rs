//! What only few files may do, each for a reason: beginning tasks and threads, and reading the calendar.

use std::{collections::BTreeSet, fs, path::Path};

use super::files;

/// What is looked for in the sources, and who may have it.
struct Listed {
    /// Crates, and what of them is left out.
    folders: &'static [&'static str],
    without: &'static [&'static str],
    words: &'static [&'static str],
    /// Files, and why.
    allowed: &'static [(&'static str, &'static str)],
    /// What the others do instead.
    instead: &'static str,
}

/// A task of the agent that ends or hangs in silence is one that nobody misses.
const BEGUN: Listed = Listed {
    folders: &["proxy-agent/src"],
    without: &["proxy-agent/src/ctl"],
    words: &[
        "spawn(",
        "spawn_blocking(",
        "thread::Builder",
        "thread::scope(",
    ],
    allowed: &[
        ("proxy-agent/src/watchdog.rs", "the one way"),
        (
            "proxy-agent/src/api/ask.rs",
            "of who asks, which has a time-out",
        ),
        (
            "proxy-agent/src/api/client.rs",
            "of who asks, which has a time-out",
        ),
        (
            "proxy-agent/src/api/health_check_node_port.rs",
            "a listener that has ended is begun anew",
        ),
        (
            "proxy-agent/src/api/tls.rs",
            "one handshake, which has a time-out",
        ),
        (
            "proxy-agent/src/datapath/load.rs",
            "whoever loads waits for it",
        ),
        (
            "proxy-agent/src/node/monitor.rs",
            "a connection that has ended is begun anew",
        ),
        (
            "proxy-agent/src/node/worker.rs",
            "a thread each of whose jobs is watched",
        ),
        (
            "proxy-agent/src/pod/admit.rs",
            "one request, which has a time-out; the ADD has another",
        ),
        (
            "proxy-agent/src/pod/hands.rs",
            "a thread each of whose jobs is watched",
        ),
        (
            "proxy-agent/src/pod/server.rs",
            "one conversation, which has a time-out",
        ),
        (
            "proxy-agent/src/pools/announcer.rs",
            "a speaker that has ended is begun anew",
        ),
        (
            "proxy-agent/src/service/maglev/builder.rs",
            "a thread each of whose jobs is watched",
        ),
        (
            "proxy-agent/src/service/sync/crowd.rs",
            "the main loop waits for it, and is watched",
        ),
    ],
    instead: "Pulse::spawn, Work::spawn and Work::begin of the watchdog",
};

/// An age or a quarantine by a clock that jumps is wrong after a step.
const DATED: Listed = Listed {
    folders: &["proxy-agent/src", "cni-plugin/src"],
    without: &[],
    words: &["SystemTime", "Timestamp::now", "Zoned::now", ".modified()"],
    allowed: &[
        (
            "cni-plugin/src/leftovers.rs",
            "files are dated so; a date of the future counts as old",
        ),
        ("cni-plugin/src/log.rs", "lines are dated for people"),
        ("proxy-agent/src/agent/lock.rs", "a date for people"),
        (
            "proxy-agent/src/api/health.rs",
            "dates in the body of /healthz, as kube-proxy's",
        ),
        ("proxy-agent/src/ctl/connectivity/dump.rs", "a file's name"),
        ("proxy-agent/src/ctl/sysdump.rs", "a file's name"),
        (
            "proxy-agent/src/ctl/watch.rs",
            "events are dated for people",
        ),
        (
            "proxy-agent/src/model/dirty.rs",
            "the control plane's date of a change, for a metric",
        ),
        (
            "proxy-agent/src/node/encryption/figures.rs",
            "the kernel dates handshakes so; for people",
        ),
        (
            "proxy-agent/src/observe/apply.rs",
            "the control plane's date of a change, for a metric",
        ),
        (
            "proxy-agent/src/observe/kubernetes/pools.rs",
            "the date in a Lease; its end is by another clock",
        ),
        (
            "proxy-agent/src/observe/kubernetes/write.rs",
            "the date of an Event",
        ),
        (
            "proxy-agent/src/observe/update.rs",
            "the control plane's date of a change, for a metric",
        ),
        (
            "proxy-agent/src/service/services.rs",
            "metrics that are dates, and one from the control plane's to now",
        ),
    ],
    instead: "Instant in a process, and cni_plugin::clock in what outlives it",
};

/// A request without a time-out hangs as long as who is asked is silent.
const ASKED: Listed = Listed {
    folders: &["proxy-agent/src"],
    without: &[],
    words: &["Client::try_from(", "ClientBuilder::try_from("],
    allowed: &[
        ("proxy-agent/src/ctl/cluster/clients.rs", "with time-outs"),
        (
            "proxy-agent/src/observe/kubernetes/servers/client.rs",
            "with time-outs",
        ),
    ],
    instead: "Clients of proxyctl, and Server of the agent",
};

impl Listed {
    /// Files that have it, without comments and tests.
    fn found(&self) -> BTreeSet<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut all = Vec::new();
        for folder in self.folders {
            files(&root.join(folder), &mut all);
        }
        let mut found = BTreeSet::new();
        for file in all {
            let name = file.strip_prefix(&root).unwrap().display().to_string();
            let is_test = name.ends_with("/tests.rs") || name.contains("/tests/");
            if is_test || self.without.iter().any(|folder| name.starts_with(folder)) {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let mut lines = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            if lines.any(|line| self.words.iter().any(|word| has(line, word))) {
                found.insert(name);
            }
        }
        found
    }

    fn check(&self) {
        let allowed: BTreeSet<String> = self
            .allowed
            .iter()
            .map(|(file, _)| (*file).to_owned())
            .collect();
        let found = self.found();
        let new: Vec<_> = found.difference(&allowed).collect();
        assert!(
            new.is_empty(),
            "{new:?} use {:?}: there is {}",
            self.words,
            self.instead
        );
        let gone: Vec<_> = allowed.difference(&found).collect();
        assert!(
            gone.is_empty(),
            "{gone:?} do not need to be listed any more"
        );
    }
}

/// Whether a line of code has a call. The watchdog's own is called by a pulse or a work.
fn has(line: &str, word: &str) -> bool {
    let mut parts = line.split(word);
    let before = parts.next().unwrap_or_default();
    if parts.next().is_none() {
        return false;
    }
    let watched = [
        "pulse.",
        "pulse.clone().",
        "work.",
        "looks.",
        "counting.",
        "fn ",
        // Functions of this name, in files that are looked at themselves.
        "reload::",
        "known_nodes::",
        "run_folder::",
        "upkeep::",
        "manifests::",
    ];
    !watched.iter().any(|own| before.ends_with(own))
}

#[test]
fn tasks_and_threads_are_begun_where_somebody_misses_them() {
    BEGUN.check();
}

#[test]
fn api_servers_are_asked_by_clients_with_time_outs() {
    ASKED.check();
}

#[test]
fn ages_are_told_by_a_clock_that_cannot_jump() {
    DATED.check();
}
