//! What of the configuration takes effect without a restart: its file is read again when it changes.

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
    config::{Configuration, Flags, load},
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
    Ok(Some(tokio::spawn(
        async move { pulse.during(follow).await },
    )))
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
        match load::load(&self.flags) {
            Ok(config) => take(&config, shared),
            Err(error) => {
                tracing::error!(%error, "configuration not taken; what was in force stays");
                shared.set_config_error(Some(format!("configuration: {error}")));
            }
        }
    }
}

fn take(config: &Configuration, shared: &Shared) {
    shared.set_config_error(None);
    if shared.set_conntrack(config.conntrack) {
        tracing::info!(conntrack = ?config.conntrack, "configuration changed");
    }
    if shared.configuration() != *config {
        tracing::warn!(
            "of a changed configuration only `conntrack` takes effect before the next start"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    }

    impl Agent {
        fn start(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("agent.yaml");
            fs::write(&path, format!("{HEAD}{text}")).unwrap();
            let flags = Flags {
                config: Some(path),
                node_name: Some("a".into()),
                ..Flags::default()
            };
            let config = load::load(&flags).unwrap();
            let shared = Arc::new(Shared::new(
                config,
                Metrics::new(),
                LogLevel::default(),
                &Store::new(),
            ));
            Self {
                folder,
                flags,
                shared,
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
