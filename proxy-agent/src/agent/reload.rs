//! Live reload: which settings take effect without a restart; the file is read again when it changes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use notify::Watcher as _;
use tokio::{sync::Notify, task::JoinHandle, time};

use crate::{
    api::Shared,
    config::{Configuration, Flags, change, definition::Setting, load},
};

/// How long the file must be quiet before it is read.
const QUIET: Duration = Duration::from_millis(50);
/// It is looked at this often even if no event came (network file systems send none).
const RESCAN: Duration = Duration::from_secs(30);

/// Begins to watch the file, if there is one; it ends with the runtime.
pub fn spawn(flags: Flags, shared: &Arc<Shared>) -> anyhow::Result<Option<JoinHandle<()>>> {
    let Some(path) = flags.config.clone() else {
        return Ok(None);
    };
    let wake = Arc::new(Notify::new());
    let changed = Arc::clone(&wake);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading files is no change of them.
        if event.is_ok_and(|e| !e.kind.is_access()) {
            wake.notify_one();
        }
    })
    .context("watch the configuration")?;
    // Its folder: editors and the kubelet put another file, or another link, in its place.
    watcher
        .watch(folder(&path), notify::RecursiveMode::NonRecursive)
        .with_context(|| format!("watch the configuration {}", path.display()))?;
    let mut file = File::new(path, flags);
    let shared = Arc::clone(shared);
    let pulse = shared.watchdog.register("configuration watch");
    let follow = async move {
        let _watcher = watcher; // Dropping it would end the events.
        loop {
            if time::timeout(RESCAN, changed.notified()).await.is_ok() {
                while time::timeout(QUIET, changed.notified()).await.is_ok() {}
            }
            file.look(&shared);
        }
    };
    Ok(Some(pulse.spawn(follow)))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The file and its content when it was last read.
struct File {
    path: PathBuf,
    flags: Flags,
    text: Option<String>,
}

impl File {
    fn new(path: PathBuf, flags: Flags) -> Self {
        let text = std::fs::read_to_string(&path).ok();
        Self { path, flags, text }
    }

    /// Reads it again if it has changed. What is wrong changes nothing, and the status says so.
    fn look(&mut self, shared: &Shared) {
        let text = std::fs::read_to_string(&self.path).ok();
        if text == self.text {
            return;
        }
        self.text = text;
        let result = match load::load(&self.flags) {
            Ok(effective) => take(&effective.configuration, shared),
            Err(error) => Err(format!("{error}")),
        };
        if let Err(error) = &result {
            tracing::error!(error, "configuration not taken; what was in force stays");
        }
        let told = result.err().map(|error| format!("configuration: {error}"));
        shared.set_config_error(told);
    }
}

/// Puts in force what may change while the agent runs, and notes what waits for a restart.
fn take(told: &Configuration, shared: &Shared) -> Result<(), String> {
    let unread = |error: serde_json::Error| error.to_string();
    let before = shared.configuration();
    let now = change::in_force(&shared.config, told).map_err(unread)?;
    let changed = change::between(&before, &now).map_err(unread)?;
    if before.logging.level != now.logging.level {
        shared.log_level.set(&now.logging.level)?;
    }
    let waiting = change::between(&now, told).map_err(unread)?;
    let paths = |settings: Vec<&Setting>| -> Vec<String> {
        settings.into_iter().map(|s| s.path.clone()).collect()
    };
    let (changed, waiting) = (paths(changed), paths(waiting));
    if !changed.is_empty() {
        tracing::info!(settings = changed.join(","), "configuration changed");
    }
    if waiting != shared.restart_for() && !waiting.is_empty() {
        tracing::warn!(
            settings = waiting.join(","),
            "changed settings wait for a restart"
        );
    }
    shared.set_configuration(now);
    shared.set_restart_for(waiting);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tracing_subscriber::{EnvFilter, Registry, reload};

    use super::*;
    use crate::{
        api::{log_level::LogLevel, metrics::Metrics},
        config::Period,
        observe::Store,
    };

    const HEAD: &str = "apiVersion: weir.dev/v1alpha1\nkind: AgentConfiguration\n";

    /// An agent's configuration, from a file with this text.
    struct Agent {
        folder: tempfile::TempDir,
        flags: Flags,
        shared: Arc<Shared>,
        /// The log level's handle works as long as this lives.
        _filter: reload::Layer<EnvFilter, Registry>,
    }

    impl Agent {
        fn start(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("agent.yaml");
            fs::write(&path, format!("{HEAD}{text}")).unwrap();
            let flags = Flags::of_file(path).set("nodeName", "a");
            let config = load::load(&flags).unwrap().configuration;
            let (filter, handle) = reload::Layer::new(EnvFilter::new(&config.logging.level));
            let shared = Arc::new(Shared::new(
                config,
                Metrics::new(),
                LogLevel::new(handle),
                &Store::new(),
            ));
            Self {
                folder,
                flags,
                shared,
                _filter: filter,
            }
        }

        /// As the kubelet and editors do.
        fn write(&self, text: &str) {
            let new = self.folder.path().join("new");
            fs::write(&new, format!("{HEAD}{text}")).unwrap();
            fs::rename(new, self.flags.config.as_ref().unwrap()).unwrap();
        }

        fn file(&self) -> File {
            File::new(self.flags.config.clone().unwrap(), self.flags.clone())
        }
    }

    #[test]
    fn time_outs_change_and_what_is_wrong_changes_nothing() {
        let agent = Agent::start("conntrack: {udpTimeout: 10s}\n");
        let mut file = agent.file();
        let shared = &agent.shared;
        let udp = || (shared.conntrack().udp_timeout, shared.config_error());
        agent.write("conntrack: {udpTimeout: 20s}\nhealthzBindAddress: 127.0.0.1:1\n");
        file.look(shared);
        assert_eq!(udp(), (Period::from_secs(20), None));
        assert_ne!(shared.configuration().healthz_bind_address.port(), 1);
        assert_eq!(shared.restart_for(), ["healthzBindAddress"]);
        agent.write("conntrack: {udpTimeout: soon}\n");
        file.look(shared);
        let (period, error) = udp();
        assert_eq!(period, Period::from_secs(20));
        let error = error.unwrap();
        assert!(error.contains("conntrack.udpTimeout: `soon`"), "{error}");
        agent.write("conntrack: {udpTimeout: 20s}\n");
        file.look(shared);
        assert_eq!(udp(), (Period::from_secs(20), None));
        agent.write("");
        file.look(shared);
        assert_eq!(udp(), (Period::from_secs(0), None));
        assert!(shared.restart_for().is_empty());
    }

    #[test]
    fn the_log_level_changes_where_its_setting_does() {
        let agent = Agent::start("");
        let (mut file, shared) = (agent.file(), &agent.shared);
        agent.write("logging: {level: warn}\n");
        file.look(shared);
        assert_eq!(
            (shared.log_level.get(), shared.config_error()),
            ("warn".into(), None)
        );
        // Another change of the file leaves alone what `proxyctl log-level` has set.
        shared.log_level.set("debug").unwrap();
        agent.write("logging: {level: warn}\nconntrack: {udpTimeout: 9s}\n");
        file.look(shared);
        assert_eq!(shared.log_level.get(), "debug");
        assert_eq!(shared.conntrack().udp_timeout, Period::from_secs(9));
    }

    #[tokio::test]
    async fn a_change_of_the_file_is_noticed() {
        let agent = Agent::start("");
        let task = spawn(agent.flags.clone(), &agent.shared).unwrap().unwrap();
        agent.write("conntrack: {tcpEstablishedTimeout: 1h}\n");
        let changed = async {
            while agent.shared.conntrack().tcp_established_timeout != Period::from_secs(3600) {
                time::sleep(Duration::from_millis(5)).await;
            }
        };
        time::timeout(Duration::from_secs(10), changed)
            .await
            .unwrap();
        task.abort();
    }
}
