//! Reads, overrides and checks the configuration. An error names file, line and field.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{API_VERSION, Configuration, Conntrack, Flags, KIND};

/// What can be wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is not such a file.
    #[error("{path}:{line}:{column}: {field}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// Path of the field, such as `cni.mtu`; `.` is the document.
        field: String,
        /// What is wrong.
        message: String,
    },
    /// A field has a value that cannot be.
    #[error("{path}: {field}: {message}")]
    Value {
        /// The file, or `flags`.
        path: String,
        /// Path of the field.
        field: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl ConfigError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "is the ConfigMap mounted? --config names the file",
            Self::Parse { .. } | Self::Value { .. } => {
                "`proxy-agent --print-config` without --config prints every field with its default"
            }
        }
    }
}

/// The effective configuration: defaults, file, flags, and what the machine tells.
pub fn load(flags: &Flags) -> Result<Configuration, ConfigError> {
    let mut config = match &flags.config {
        Some(path) => read(path)?,
        None => Configuration::default(),
    };
    let source = flags
        .config
        .as_ref()
        .map_or_else(|| "flags".to_owned(), |path| path.display().to_string());
    flags.apply(&mut config);
    complete(&mut config);
    check(&config).map_err(|(field, message)| ConfigError::Value {
        path: source,
        field,
        message,
    })?;
    Ok(config)
}

fn read(path: &Path) -> Result<Configuration, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text)
}

/// Parses a file's text; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Configuration, ConfigError> {
    let mut field = ".".to_owned();
    let parsed = serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        serde_path_to_error::deserialize::<_, Configuration>(deserializer).map_err(|error| {
            field = error.path().to_string();
            error.into_inner()
        })
    });
    parsed.map_err(|error| {
        let place = error.location();
        ConfigError::Parse {
            path: path.to_owned(),
            line: place.map_or(0, |at| at.line()),
            column: place.map_or(0, |at| at.column()),
            field,
            message: one_line(&error),
        }
    })
}

/// The error without the source excerpt and without the place, which we print ourselves.
fn one_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let end = line.rfind(" at line ").unwrap_or(line.len());
    line[..end].to_owned()
}

/// Fills what the machine knows.
fn complete(config: &mut Configuration) {
    if config.node_name.is_empty()
        && let Ok(name) = nix::unistd::gethostname()
    {
        // As the kubelet does (pkg/util/node GetHostname).
        config.node_name = name.to_string_lossy().trim().to_lowercase();
    }
    if config.cgroup_root.as_os_str().is_empty() {
        // Where none is mounted, the preflight says so of this usual place.
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        config.cgroup_root = cgroup2_mount(&mounts).unwrap_or_else(|| "/sys/fs/cgroup".into());
    }
}

/// Where cgroup2 is mounted, according to the text of `/proc/mounts`.
pub fn cgroup2_mount(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

fn check(config: &Configuration) -> Result<(), (&'static str, String)> {
    if config.api_version != API_VERSION {
        let found = &config.api_version;
        return Err(("apiVersion", format!("`{found}` is not {API_VERSION}")));
    }
    if config.kind != KIND {
        return Err(("kind", format!("`{}` is not {KIND}", config.kind)));
    }
    if config.node_name.is_empty() {
        return Err(("nodeName", "not given, and the host has no name".to_owned()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if config.instance.is_empty() || !config.instance.chars().all(plain) {
        let found = &config.instance;
        return Err((
            "instance",
            format!("`{found}` is not made of letters, digits, - and _"),
        ));
    }
    config.node.check()?;
    if config.manifests.is_some() && config.client_connection.kubeconfig.is_some() {
        let message = "manifests are served in place of an API server: give one of them";
        return Err(("manifests", message.to_owned()));
    }
    if config.sync.full_period.0.is_zero() {
        return Err(("sync.fullPeriod", "must be longer than 0s".to_owned()));
    }
    check_timeouts(&config.conntrack)?;
    tracing_subscriber::EnvFilter::try_new(&config.logging.level)
        .map(drop)
        .map_err(|error| {
            (
                "logging.level",
                format!("`{}`: {error}", config.logging.level),
            )
        })
}

/// They are counted in whole seconds: what is shorter would be taken for 0, the default.
fn check_timeouts(conntrack: &Conntrack) -> Result<(), (&'static str, String)> {
    for (field, period) in [
        (
            "conntrack.tcpEstablishedTimeout",
            conntrack.tcp_established_timeout,
        ),
        (
            "conntrack.tcpCloseWaitTimeout",
            conntrack.tcp_close_wait_timeout,
        ),
        ("conntrack.udpTimeout", conntrack.udp_timeout),
        ("conntrack.udpStreamTimeout", conntrack.udp_stream_timeout),
    ] {
        if !period.0.is_zero() && period.0.as_secs() == 0 {
            return Err((field, format!("`{period}` is shorter than a second")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{cgroup2_mount, load, parse};
    use crate::config::{Configuration, Flags};

    fn error(text: &str) -> String {
        parse(Path::new("agent.yaml"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn prints_what_it_reads() {
        let config = Configuration::default();
        let text = serde_saphyr::to_string(&config).unwrap();
        assert_eq!(parse(Path::new("x"), &text).unwrap(), config, "{text}");
    }

    #[test]
    fn errors_name_file_line_and_field() {
        assert_eq!(
            error("kind: AgentConfiguration\ncni:\n  mut: 1500\n"),
            "agent.yaml:3:3: cni.mut: unknown field `mut`, expected one of install, binDir, confDir, confFile, plugin, mtu"
        );
        assert_eq!(
            error("healthzBindAddress: nowhere\n"),
            "agent.yaml:1:21: healthzBindAddress: invalid socket address syntax"
        );
        assert_eq!(
            error("node:\n  podCIDRs: [10.0.0.0/8, 300.0.0.0/8]\n"),
            "agent.yaml:2:26: node.podCIDRs[1]: invalid address: 300.0.0.0/8"
        );
        assert_eq!(
            error("node:\n  serviceCIDRs: [10.96.0.0/16, fd00:96::/129]\n"),
            "agent.yaml:2:32: node.serviceCIDRs[1]: invalid address: fd00:96::/129"
        );
        assert_eq!(
            error("sync:\n  fullPeriod: soon\n"),
            "agent.yaml:2:15: sync.fullPeriod: `soon` is not a duration such as 5ms, 30s or 1m30s"
        );
        assert!(
            error("a: [\n").starts_with("agent.yaml:"),
            "{}",
            error("a: [\n")
        );
    }

    #[test]
    fn the_range_of_everything_is_no_range_of_services() {
        let flags = Flags {
            service_cidr: vec!["::/0".parse().unwrap()],
            ..Flags::default()
        };
        assert_eq!(
            load(&flags).unwrap_err().to_string(),
            "flags: node.serviceCIDRs: `::/0` would lead all that the host sends to weir_host"
        );
    }

    #[test]
    fn a_time_out_of_less_than_a_second_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.yaml");
        for (text, wrong) in [("0s", false), ("1s", false), ("999ms", true)] {
            std::fs::write(&path, format!("conntrack: {{udpStreamTimeout: {text}}}\n")).unwrap();
            let flags = Flags {
                config: Some(path.clone()),
                ..Flags::default()
            };
            let error = load(&flags).err().map(|error| error.to_string());
            let expected = format!(
                "{}: conntrack.udpStreamTimeout: `999ms` is shorter than a second",
                path.display()
            );
            assert_eq!(error, wrong.then_some(expected), "{text}");
        }
    }

    #[test]
    fn finds_the_cgroup2_mount() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(cgroup2_mount(mounts).unwrap(), Path::new("/sys/fs/cgroup"));
        assert_eq!(cgroup2_mount("proc /proc proc rw 0 0\n"), None);
    }
}
