//! What `proxy-agent cleanup` leaves to be said of its node: `NetworkUnavailable`, or nothing where another plugin is there.

use std::{env, path::Path};

use crate::{
    config::Configuration,
    model::NetworkUnavailable,
    node::conflist,
    observe::kubernetes::{self, NodeWriter},
};

/// Says it, where the API server can be asked: by the kubeconfig of the configuration, or as a pod.
pub(super) struct Farewell {
    writer: Option<NodeWriter>,
    said: Said,
}

/// What was said last.
enum Said {
    Nothing,
    /// None: another plugin speaks.
    Last(Option<NetworkUnavailable>),
}

impl Farewell {
    /// Finds out how to ask.
    pub(super) async fn prepare(config: &Configuration) -> Self {
        let client = &config.client_connection;
        let may_ask =
            client.kubeconfig.is_some() || env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let mut writer = None;
        if may_ask && config.manifests.is_none() {
            match kubernetes::Servers::new(&kubernetes::Options::of(config)).await {
                Ok(servers) => writer = Some(NodeWriter::of(servers)),
                Err(error) => tracing::warn!(%error, "the Node is not told"),
            }
        }
        Self {
            writer,
            said: Said::Nothing,
        }
    }

    /// Says what is so now, if it is news. Where that fails the next call tries again; nothing else depends on it.
    pub(super) async fn say(&mut self, config: &Configuration) {
        let Some(writer) = &self.writer else {
            return;
        };
        let now = network(&config.cni.conf_dir, &config.cni.conf_file);
        if matches!(&self.said, Said::Last(last) if *last == now) {
            return;
        }
        let node = &config.node_name;
        let done = match &now {
            Some(network) => writer.network(node, network, true).await,
            None => writer.no_network_condition(node).await,
        };
        match done {
            Ok(()) => {
                let reason = now.as_ref().map_or("removed", |now| now.reason.as_str());
                tracing::info!(node, reason, "condition NetworkUnavailable");
                self.said = Said::Last(now);
            }
            Err(error) => tracing::warn!(%error, "condition NetworkUnavailable not set"),
        }
    }
}

/// Another plugin says for itself what it has.
fn network(conf_dir: &Path, conf_file: &str) -> Option<NetworkUnavailable> {
    let gone = || {
        let message = "Weir was removed from this node, and no other network is there";
        NetworkUnavailable::yes(NetworkUnavailable::GONE, message)
    };
    (!conflist::is_another_there(conf_dir, conf_file)).then(gone)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_said_where_another_plugin_is() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, ours) = (folder.path(), "05-weir.conflist");
        for file in [conflist::FAREWELL, "readme.txt"] {
            fs::write(dir.join(file), "").unwrap();
            let said = network(dir, ours).unwrap();
            assert!(said.is_true && said.is_ours(), "{said:?}");
        }
        fs::write(dir.join("zz-other.conflist"), "").unwrap();
        assert_eq!(network(dir, ours), None);
    }
}
