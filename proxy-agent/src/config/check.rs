//! What types do not say: which values cannot be, alone or together.

use super::{
    API_VERSION, Configuration, Conntrack, KIND, encryption, encryption::cluster_ranges, ipam,
    logging::check_filter,
};

/// All that cannot be: paths and why.
pub(super) fn check(config: &Configuration) -> Vec<(&'static str, String)> {
    let mut wrong = Vec::new();
    if config.api_version != API_VERSION {
        let found = &config.api_version;
        wrong.push(("apiVersion", format!("`{found}` is not {API_VERSION}")));
    }
    if config.kind != KIND {
        wrong.push(("kind", format!("`{}` is not {KIND}", config.kind)));
    }
    if config.node_name.is_empty() {
        let message = "not given, and the host has no name";
        wrong.push(("nodeName", message.to_owned()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if config.instance.is_empty() || !config.instance.chars().all(plain) {
        let found = &config.instance;
        let message = format!("`{found}` is not made of letters, digits, - and _");
        wrong.push(("instance", message));
    }
    wrong.extend(config.node.check().err());
    wrong.extend(listeners(config));
    wrong.extend(config.metrics_tls.check().err());
    wrong.extend(config.tunnel.check().err());
    wrong.extend(config.load_balancer.check().err());
    wrong.extend(ipam::check(config));
    wrong.extend(encryption::check(config));
    if config.manifests.is_some() && config.client_connection.kubeconfig.is_some() {
        let message = "manifests are served in place of an API server: give one of them";
        wrong.push(("manifests", message.to_owned()));
    }
    if config.sync.full_period.0.is_zero() {
        wrong.push(("sync.fullPeriod", "must be longer than 0s".to_owned()));
    }
    wrong.extend(time_outs(&config.conntrack));
    wrong.extend(mtu(config));
    let level = &config.logging.level;
    if let Err(error) = check_filter(level) {
        wrong.push(("logging.level", format!("`{level}`: {error}")));
    }
    wrong
}

/// Both listen by themselves.
fn listeners(config: &Configuration) -> Option<(&'static str, String)> {
    let [health, metrics] = [config.healthz_bind_address, config.metrics_bind_address];
    let (one, other) = (health.ip(), metrics.ip());
    let meet = one == other || one.is_unspecified() || other.is_unspecified();
    (health.port() == metrics.port() && health.port() != 0 && meet).then(|| {
        let message = format!("`{metrics}` is taken by healthzBindAddress, {health}");
        ("metricsBindAddress", message)
    })
}

/// What every link of IPv6 carries: with less the kernel takes IPv6 off an interface.
pub const LEAST_MTU_OF_IPV6: u32 = 1280;
/// What every link of IPv4 carries, of IPv6, and what no packet exceeds.
const MTUS: [u32; 3] = [576, LEAST_MTU_OF_IPV6, 65535];

/// The MTU of pods' interfaces. Which families pods have is known here only where the file names their ranges; else the agent
/// says so when it knows.
fn mtu(config: &Configuration) -> Option<(&'static str, String)> {
    let [least, least_of_ipv6, most] = MTUS;
    let mtu = config.cni.mtu;
    let mut ranges = cluster_ranges(config).chain(config.node.pod_cidrs.iter().copied());
    let ipv6 = ranges.any(|range| range.is_ipv6());
    let why = match mtu {
        0 => return None,
        mtu if mtu < least => format!("is less than {least}, which every link of IPv4 carries"),
        mtu if mtu < least_of_ipv6 && ipv6 => {
            format!("is less than {least_of_ipv6}: pods would have no IPv6")
        }
        mtu if mtu > most => format!("is more than {most}, the longest packet"),
        _ => return None,
    };
    Some((
        "cni.mtu",
        format!("`{mtu}` {why}; 0 finds what the way to other nodes carries"),
    ))
}

/// They are counted in whole seconds: what is shorter would be taken for 0, the default.
fn time_outs(conntrack: &Conntrack) -> impl Iterator<Item = (&'static str, String)> {
    let all = [
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
    ];
    let too_short = all
        .into_iter()
        .filter(|(_, period)| !period.0.is_zero() && period.0.as_secs() == 0);
    too_short.map(|(path, period)| (path, format!("`{period}` is shorter than a second")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cannot_listen_at_one_place() {
        let places = [
            "127.0.0.1:9",
            "0.0.0.0:9",
            "[::]:9",
            "[::1]:9",
            "127.0.0.1:8",
            "0.0.0.0:8",
        ];
        let places = places.map(|place| place.parse::<std::net::SocketAddr>().unwrap());
        for (health, metrics) in places
            .iter()
            .flat_map(|one| places.map(|other| (*one, other)))
        {
            let config = Configuration {
                healthz_bind_address: health,
                metrics_bind_address: metrics,
                ..Configuration::default()
            };
            let all = |place: std::net::SocketAddr| place.ip().is_unspecified();
            let same = health.ip() == metrics.ip() || all(health) || all(metrics);
            let expected = same && health.port() == metrics.port();
            assert_eq!(listeners(&config).is_some(), expected, "{health} {metrics}");
        }
    }

    #[test]
    fn mtus_that_a_family_cannot_have() {
        let wrong = |mtu, ranges: &[&str]| {
            let mut config = Configuration::default();
            config.cni.mtu = mtu;
            config.node.pod_cidrs = ranges.iter().map(|range| range.parse().unwrap()).collect();
            super::mtu(&config).is_some()
        };
        let both = ["10.1.0.0/24", "fd00::/64"];
        for (mtu, ranges, expected) in [
            (0, &both[..], false),
            (200, &[], true),
            (575, &both[..1], true),
            (576, &both[..1], false),
            (576, &[], false),
            (1279, &both[..], true),
            (1280, &both[..], false),
            (65535, &[], false),
            (65536, &[], true),
        ] {
            assert_eq!(wrong(mtu, ranges), expected, "{mtu} {ranges:?}");
        }
    }
}
