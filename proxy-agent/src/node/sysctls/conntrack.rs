//! Netfilter's connection tracking, as kube-proxy tunes it. Our programs have their own, but traffic that
//! they leave to the host's stack passes netfilter wherever the host has rules.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{Setter, get};
use crate::config::{Conntrack, Period};

/// Limit of what `maxPerCore` comes to on machines with many cores.
const MAX: u64 = 1 << 20;
/// Entries per bucket of the table.
const PER_BUCKET: u64 = 4;

/// Sets what is configured, if the module is loaded; returns what could not be set.
pub(super) fn apply(to: &mut Setter<'_>, config: &Conntrack) -> Vec<String> {
    if get(to.root, "netfilter/nf_conntrack_max").is_err() {
        return Vec::new();
    }
    let mut results = match fs::read_to_string("/proc/stat") {
        Ok(stat) => vec![grow(to, config, cores(&stat))],
        Err(e) => vec![Err(format!("read /proc/stat: {e}"))],
    };
    let settings = settings(config);
    results.extend(settings.map(|(key, value)| to.set(&format!("netfilter/{key}"), &value)));
    results.into_iter().filter_map(Result::err).collect()
}

fn settings(config: &Conntrack) -> impl Iterator<Item = (&'static str, String)> {
    let seconds = |period: Period| Some(period.0.as_secs()).filter(|s| *s > 0);
    [
        (
            "nf_conntrack_tcp_timeout_established",
            seconds(config.tcp_established_timeout),
        ),
        (
            "nf_conntrack_tcp_timeout_close_wait",
            seconds(config.tcp_close_wait_timeout),
        ),
        ("nf_conntrack_udp_timeout", seconds(config.udp_timeout)),
        (
            "nf_conntrack_udp_timeout_stream",
            seconds(config.udp_stream_timeout),
        ),
        (
            "nf_conntrack_tcp_be_liberal",
            config.tcp_be_liberal.then_some(1),
        ),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key, value?.to_string())))
}

/// Makes the table hold so many entries; one that holds more stays. It is the machine's: where the node is a
/// namespace on it the file is read-only, and the machine's owner decides.
fn grow(to: &mut Setter<'_>, config: &Conntrack, cores: u64) -> Result<(), String> {
    let wanted = entries(config, cores);
    let file = "netfilter/nf_conntrack_max";
    let metadata = fs::metadata(to.root.join(file)).map_err(|e| format!("look at {file}: {e}"))?;
    if metadata.permissions().mode() & 0o222 == 0 {
        return Ok(());
    }
    raise(to, file, wanted)?;
    raise(to, "netfilter/nf_conntrack_buckets", wanted / PER_BUCKET)
}

fn raise(to: &mut Setter<'_>, key: &str, wanted: u64) -> Result<(), String> {
    let now = get(to.root, key).map_err(|e| format!("read {key}: {e}"))?;
    if now.parse::<u64>().is_ok_and(|now| now > wanted) {
        return Ok(());
    }
    to.set(key, &wanted.to_string())
}

/// 0: leave it alone.
fn entries(config: &Conntrack, cores: u64) -> u64 {
    let per_core = u64::from(config.max_per_core);
    match per_core.saturating_mul(cores) {
        0 => 0,
        scaled if scaled > MAX => MAX,
        scaled => scaled.max(config.min.into()),
    }
}

/// Processors of the machine, whatever share of them a container has.
fn cores(stat: &str) -> u64 {
    let is_core = |line: &&str| {
        let number = line.strip_prefix("cpu").unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit())
    };
    stat.lines().filter(is_core).count() as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{model::Owned, subject::Repairs};

    fn applied(root: &Path, config: &Conntrack) -> Vec<String> {
        let (what, repairs) = (Owned::Conntrack, &mut Repairs::default());
        apply(
            &mut Setter {
                root,
                what,
                repairs,
            },
            config,
        )
    }

    /// A folder with these keys, as the kernel has them.
    fn kernel() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("netfilter")).unwrap();
        for (key, value) in [
            ("nf_conntrack_max", "65536"),
            ("nf_conntrack_buckets", "65536"),
            ("nf_conntrack_tcp_timeout_established", "432000"),
            ("nf_conntrack_tcp_timeout_close_wait", "60"),
            ("nf_conntrack_udp_timeout", "30"),
            ("nf_conntrack_udp_timeout_stream", "120"),
            ("nf_conntrack_tcp_be_liberal", "0"),
        ] {
            fs::write(folder.path().join("netfilter").join(key), value).unwrap();
        }
        folder
    }

    fn value(root: &Path, key: &str) -> String {
        get(root, &format!("netfilter/nf_conntrack_{key}")).unwrap()
    }

    #[test]
    fn by_default_it_is_as_kube_proxy_leaves_it() {
        let kernel = kernel();
        let root = kernel.path();
        assert_eq!(applied(root, &Conntrack::default()), [""; 0]);
        assert_eq!(value(root, "tcp_timeout_close_wait"), "3600");
        assert_eq!(value(root, "tcp_timeout_established"), "86400");
        assert_eq!(value(root, "udp_timeout"), "30");
        assert_eq!(value(root, "udp_timeout_stream"), "120");
        assert_eq!(value(root, "tcp_be_liberal"), "0");
        let max: u64 = value(root, "max").parse().unwrap();
        assert!(max >= 131_072, "{max}");
        assert_eq!(value(root, "buckets"), (max / 4).max(65536).to_string());
    }

    #[test]
    fn zero_leaves_it_alone() {
        let kernel = kernel();
        let root = kernel.path();
        let nothing = Conntrack {
            max_per_core: 0,
            tcp_established_timeout: Period::from_secs(0),
            tcp_close_wait_timeout: Period::from_secs(0),
            udp_timeout: Period::from_secs(7),
            tcp_be_liberal: true,
            ..Conntrack::default()
        };
        assert_eq!(applied(root, &nothing), [""; 0]);
        assert_eq!(value(root, "max"), "65536");
        assert_eq!(value(root, "tcp_timeout_close_wait"), "60");
        assert_eq!(value(root, "tcp_timeout_established"), "432000");
        assert_eq!(value(root, "udp_timeout"), "7");
        assert_eq!(value(root, "tcp_be_liberal"), "1");
    }

    #[test]
    fn without_the_module_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(applied(folder.path(), &Conntrack::default()), [""; 0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_larger_table_and_one_that_is_anothers_stay() {
        let kernel = kernel();
        let root = kernel.path();
        let file = root.join("netfilter/nf_conntrack_max");
        fs::write(&file, "9999999").unwrap();
        applied(root, &Conntrack::default());
        assert_eq!(value(root, "max"), "9999999");
        fs::write(&file, "1").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert_eq!(applied(root, &Conntrack::default()), [""; 0]);
        assert_eq!(value(root, "max"), "1");
    }

    #[test]
    fn the_table_grows_with_the_machine_to_a_limit() {
        let config = Conntrack::default();
        let sizes = [1, 4, 8, 32, 64].map(|cores| entries(&config, cores));
        assert_eq!(sizes, [131_072, 131_072, 262_144, MAX, MAX]);
        let none = Conntrack {
            max_per_core: 0,
            ..config
        };
        assert_eq!(entries(&none, 64), 0);
        assert_eq!(cores("cpu  1 2\ncpu0 1\ncpu1 1\nintr 5\n"), 2);
    }
}
