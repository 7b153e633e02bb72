//! Paths as the agent sees them, where it lives in a container and whoever asks does not: below `/proc/PID/root`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Context;
use crate::{config::Configuration, observe::kubernetes::ServiceAccount};

/// Where the kubelet puts a pod's service account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How to read what the agent reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The folder that is the agent's root; none if it is ours, too.
    root: Option<PathBuf>,
    /// The plugin in the agent's image.
    plugin: PathBuf,
}

impl View {
    /// Of the process behind the agent's socket. Without an answer, or where that is in another namespace of processes, all
    /// is taken for ours.
    pub async fn of_agent(context: &Context) -> Self {
        match context.client.peer().await {
            Some(process) => Self::of(&PathBuf::from(format!("/proc/{process}"))),
            None => Self::default(),
        }
    }

    /// Of a process.
    pub(super) fn of(process: &Path) -> Self {
        let mounts = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
        let (theirs, ours) = (mounts(process), mounts(Path::new("/proc/self")));
        if theirs.is_none() || theirs == ours {
            return Self::default();
        }
        let program = fs::read_link(process.join("exe")).unwrap_or_default();
        Self {
            root: Some(process.join("root")),
            plugin: program.with_file_name("cni-plugin"),
        }
    }

    /// Whether the agent has mounts of its own.
    pub const fn is_elsewhere(&self) -> bool {
        self.root.is_some()
    }

    /// Whether the process is there no more by whose root all this is read.
    pub fn is_gone(&self) -> bool {
        let root = self.root.as_ref();
        root.is_some_and(|root| !root.exists())
    }

    /// Where to read what is at this path for the agent.
    pub fn path(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) if path.is_absolute() => root.join(path.strip_prefix("/").unwrap_or(path)),
            _ => path.to_owned(),
        }
    }

    /// The agent's service account, if it has one and we do not share it.
    pub fn service_account(&self) -> Option<ServiceAccount> {
        let root = self.root.as_ref()?;
        let variables = fs::read(root.with_file_name("environ")).ok()?;
        let variable = |name: &str| {
            let mut all = variables.split(|byte| *byte == 0);
            let told = all.find_map(|one| one.strip_prefix(format!("{name}=").as_bytes()))?;
            String::from_utf8(told.to_vec()).ok()
        };
        let folder = self.path(Path::new(ACCOUNT));
        folder.join("token").exists().then(|| ServiceAccount {
            host: variable("KUBERNETES_SERVICE_HOST").unwrap_or_default(),
            port: variable("KUBERNETES_SERVICE_PORT").unwrap_or_default(),
            folder,
        })
    }

    /// The agent's configuration with the paths by which we reach the same.
    pub fn configuration(&self, config: &Configuration) -> Configuration {
        let mut config = config.clone();
        if self.root.is_none() {
            return config;
        }
        if config.cni.plugin.as_os_str().is_empty() {
            config.cni.plugin.clone_from(&self.plugin);
        }
        let paths = [
            &mut config.bpffs,
            &mut config.cgroup_root,
            &mut config.run_dir,
            &mut config.cni.bin_dir,
            &mut config.cni.conf_dir,
            &mut config.cni.plugin,
        ];
        let optional = [
            &mut config.manifests,
            &mut config.client_connection.kubeconfig,
        ];
        for path in paths.into_iter().chain(optional.into_iter().flatten()) {
            *path = self.path(path);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shares_our_mounts_has_our_paths() {
        let here = View::of(Path::new("/proc/self"));
        assert_eq!(here, View::default());
        let config = Configuration::default();
        assert_eq!(here.configuration(&config), config);
    }

    #[test]
    fn a_container_has_its_own() {
        let view = View {
            root: Some("/proc/7/root".into()),
            plugin: "/usr/bin/cni-plugin".into(),
        };
        let mut config = Configuration {
            cgroup_root: "/host/cgroup".into(),
            ..Configuration::default()
        };
        config.manifests = Some("/etc/objects".into());
        let seen = view.configuration(&config);
        assert_eq!(seen.cgroup_root, Path::new("/proc/7/root/host/cgroup"));
        assert_eq!(
            seen.cni.plugin,
            Path::new("/proc/7/root/usr/bin/cni-plugin")
        );
        assert_eq!(
            seen.manifests.unwrap(),
            Path::new("/proc/7/root/etc/objects")
        );
    }
}
