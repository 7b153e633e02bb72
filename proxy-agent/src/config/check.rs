//! What types do not say: which values cannot be, alone or together.

use super::{API_VERSION, Configuration, Conntrack, KIND, encryption, ipam};

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
    let level = &config.logging.level;
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(level) {
        wrong.push(("logging.level", format!("`{level}`: {error}")));
    }
    wrong
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
