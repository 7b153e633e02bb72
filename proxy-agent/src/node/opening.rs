//! The node opens to pods: the file that the plugin goes by, the plugin itself, and the configuration by which runtimes call it.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use cni_plugin::{heartbeat, ipam::file::write_json, node_file::NodeFile, paths::Paths};

use super::{
    conflist,
    install::{self, Installed},
    pod_devices::PodDevices,
};
use crate::{config::Configuration, model::Owned, subject::Repairs};

/// What was written of it.
pub struct Opening {
    paths: Paths,
    written: Option<NodeFile>,
    installed: Installed,
    rival: Option<String>,
    devices: PodDevices,
    is_open: bool,
}

impl Opening {
    /// For this configuration. A `node.json` that is there stays valid: the plugin goes on meanwhile.
    pub fn new(config: &Configuration) -> Self {
        Self {
            paths: Paths::new(&config.run_dir),
            written: None,
            installed: Installed::default(),
            rival: None,
            devices: PodDevices::find(config.cni.device),
            is_open: false,
        }
    }

    /// Whether pods could start since the agent did.
    pub const fn is_open(&self) -> bool {
        self.is_open
    }

    /// What interfaces new pods get.
    pub const fn devices(&self) -> &PodDevices {
        &self.devices
    }

    /// Shows the plugin that the agent lives. To be called every few seconds.
    pub fn beat(&self) {
        let path = self.paths.heartbeat();
        if let Err(error) =
            fs::create_dir_all(self.paths.root()).and_then(|()| heartbeat::beat(&path))
        {
            tracing::warn!(path = %path.display(), %error, "heartbeat not written");
        }
    }

    /// Writes what the plugin goes by, and sees to it that the runtime calls it.
    pub fn open(
        &mut self,
        config: &Configuration,
        mut file: NodeFile,
        repairs: &mut Repairs,
    ) -> anyhow::Result<()> {
        file.devices.clone_from(&self.devices.kinds);
        let path = self.paths.node();
        let is_new = self.written.as_ref() != Some(&file);
        // Whatever else is there, the plugin could not go by it.
        if is_new || NodeFile::read(&path).ok().as_ref() != Some(&file) {
            write_json(&path, &file).with_context(|| format!("write {}", path.display()))?;
            match &file.closed {
                None => {
                    let device = self.devices.first();
                    tracing::info!(ranges = ?file.pod_cidrs, mtu = file.mtu, %device, "node opened to pods");
                }
                Some(why) => tracing::warn!(why, "node closed to new pods"),
            }
            if !is_new {
                repairs.repaired(Owned::NodeFile, &path.display().to_string());
            }
            self.written = Some(file);
        }
        if config.cni.install {
            self.install(config, repairs)?;
            self.tell_rival(conflist::rival(&config.cni.conf_dir, &config.cni.conf_file));
        }
        self.is_open = true;
        Ok(())
    }

    /// Plugin and network configuration.
    fn install(&mut self, config: &Configuration, repairs: &mut Repairs) -> anyhow::Result<()> {
        let cni = &config.cni;
        let source: PathBuf = install::source(&cni.plugin)?;
        // Reading it all takes long: only if it is another file than the one that was installed.
        if !self.installed.is_whole(&cni.bin_dir) {
            let written = install::binary(&source, &cni.bin_dir)?;
            let before = std::mem::replace(&mut self.installed, Installed::look(&cni.bin_dir));
            if written && before != Installed::default() {
                let plugin = cni.bin_dir.join(install::PLUGIN);
                repairs.repaired(Owned::Plugin, &plugin.display().to_string());
            }
        }
        let written = conflist::write(&cni.conf_dir, &cni.conf_file, &config.run_dir)?;
        let conflist = cni.conf_dir.join(&cni.conf_file);
        let thing = conflist.display().to_string();
        repairs.keep(Owned::Conflist, &thing, "ours", written);
        Ok(())
    }

    /// Says once that another plugin's configuration comes first, and once that it does not any more.
    fn tell_rival(&mut self, rival: Option<String>) {
        if rival == self.rival {
            return;
        }
        if let Some(file) = &rival {
            let what = "another plugin's configuration comes before ours: new pods are not Weir's";
            tracing::warn!(file, "{what}");
        } else {
            tracing::info!("our network configuration comes first again");
        }
        self.rival = rival;
    }
}
