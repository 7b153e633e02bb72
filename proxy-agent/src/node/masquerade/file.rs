//! ip-masq-agent's file (<https://github.com/kubernetes-sigs/ip-masq-agent>).

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ipnetwork::IpNetwork;
use serde::Deserialize;

use crate::config::Period;

/// What the file says, with ip-masq-agent's defaults where it is silent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentFile {
    /// Ranges that pods reach under their own address.
    #[serde(rename = "nonMasqueradeCIDRs")]
    pub non_masquerade_cidrs: Vec<IpNetwork>,
    /// Masquerade to 169.254.0.0/16 too.
    pub masq_link_local: bool,
    /// Masquerade to `fe80::/10` too.
    #[serde(rename = "masqLinkLocalIPv6")]
    pub masq_link_local_ipv6: bool,
    /// After how long it is read again.
    pub resync_interval: Period,
}

impl Default for AgentFile {
    fn default() -> Self {
        let private = [
            ([10, 0, 0, 0], 8),
            ([172, 16, 0, 0], 12),
            ([192, 168, 0, 0], 16),
        ];
        let range = |(ip, bits): ([u8; 4], u8)| IpNetwork::new(ip.into(), bits).ok();
        Self {
            non_masquerade_cidrs: private.into_iter().filter_map(range).collect(),
            masq_link_local: false,
            masq_link_local_ipv6: false,
            resync_interval: Period::from_secs(60),
        }
    }
}

impl AgentFile {
    /// Reads one; an empty file says nothing. A range that is named by another than its first address is refused, as
    /// ip-masq-agent does.
    fn parse(text: &str) -> Result<Self, String> {
        let read = serde_saphyr::from_str::<Option<Self>>(text);
        let file = read.map_err(|error| one_line(&error))?.unwrap_or_default();
        for range in &file.non_masquerade_cidrs {
            if range.ip() != range.network() {
                let (whole, bits) = (range.network(), range.prefix());
                return Err(format!(
                    "nonMasqueradeCIDRs: {range} is not a range: {whole}/{bits} is"
                ));
            }
        }
        Ok(file)
    }
}

fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// The file as it was read last. What cannot be read changes nothing.
#[derive(Debug, Default)]
pub struct Follower {
    file: Option<AgentFile>,
    error: Option<String>,
    /// Where it was looked for, and when.
    read: Option<(PathBuf, Instant)>,
}

impl Follower {
    /// Reads the file again if its time has come.
    pub fn look(&mut self, path: &Path, now: Instant) {
        let file = self.file.as_ref();
        let every = file.map_or(Duration::ZERO, |file| file.resync_interval.0);
        let is_fresh = |(read, at): &(PathBuf, Instant)| read == path && now < *at + every;
        if self.read.as_ref().is_some_and(is_fresh) {
            return;
        }
        self.read = Some((path.to_owned(), now));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (self.file, self.error) = (None, None);
                return;
            }
            Err(error) => return self.fail(path, &error.to_string()),
        };
        match AgentFile::parse(&text) {
            Ok(file) => (self.file, self.error) = (Some(file), None),
            Err(error) => self.fail(path, &error),
        }
    }

    fn fail(&mut self, path: &Path, why: &str) {
        let what = format!("{}: {why}; what was in force stays", path.display());
        self.error = Some(what);
    }

    /// What it says, if there is one.
    pub const fn file(&self) -> Option<&AgentFile> {
        self.file.as_ref()
    }

    /// Why it cannot be read.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(file: &AgentFile) -> Vec<String> {
        let ranges = file.non_masquerade_cidrs.iter();
        ranges.map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_file_leaves_out_is_as_with_ip_masq_agent() {
        let private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
        for text in ["", "# nothing\n", "{}", "masqLinkLocal: true\n"] {
            let file = AgentFile::parse(text).unwrap();
            assert_eq!(ranges(&file), private, "{text}");
            assert_eq!(file.resync_interval, Period::from_secs(60));
            assert_eq!(file.masq_link_local, text.contains("true"));
        }
    }

    #[test]
    fn yaml_and_json_are_read_and_other_fields_are_ignored() {
        for text in [
            "nonMasqueradeCIDRs:\n- 10.0.0.0/8\n- fd00::/8\nmasqLinkLocalIPv6: true\ncidrLimit: 64\nresyncInterval: 5m\n",
            r#"{"nonMasqueradeCIDRs":["10.0.0.0/8","fd00::/8"],"masqLinkLocalIPv6":true,"cidrLimit":64,"resyncInterval":"5m"}"#,
        ] {
            let file = AgentFile::parse(text).unwrap();
            assert_eq!(ranges(&file), ["10.0.0.0/8", "fd00::/8"]);
            assert!(file.masq_link_local_ipv6 && !file.masq_link_local);
            assert_eq!(file.resync_interval, Period::from_secs(300));
        }
        for wrong in [
            "nonMasqueradeCIDRs: [10.0.0.1/8]",
            "nonMasqueradeCIDRs: [10]",
            "resyncInterval: 5",
        ] {
            AgentFile::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn it_is_read_again_in_its_own_time_and_a_mistake_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ip-masq-agent");
        let (mut follower, mut now) = (Follower::default(), Instant::now());
        follower.look(&path, now);
        assert!(follower.file().is_none() && follower.error().is_none());
        std::fs::write(
            &path,
            "nonMasqueradeCIDRs: [10.1.0.0/16]\nresyncInterval: 9s",
        )
        .unwrap();
        follower.look(&path, now);
        assert_eq!(ranges(follower.file().unwrap()), ["10.1.0.0/16"]);
        std::fs::write(&path, "nonMasqueradeCIDRs: [a]").unwrap();
        now += Duration::from_secs(8);
        follower.look(&path, now);
        assert_eq!(follower.error(), None, "not yet");
        now += Duration::from_secs(1);
        follower.look(&path, now);
        assert!(
            follower
                .error()
                .unwrap()
                .contains("what was in force stays")
        );
        assert_eq!(ranges(follower.file().unwrap()), ["10.1.0.0/16"]);
        std::fs::remove_file(&path).unwrap();
        now += Duration::from_secs(9);
        follower.look(&path, now);
        assert!(follower.file().is_none() && follower.error().is_none());
    }
}
