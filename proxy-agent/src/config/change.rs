//! What a changed configuration changes, and what of it must wait for a restart.

use serde_json::Value;

use super::{
    Configuration,
    definition::{DEFINITION, Setting, at, put},
};

/// The settings in which two configurations differ.
pub fn between(
    one: &Configuration,
    other: &Configuration,
) -> serde_json::Result<Vec<&'static Setting>> {
    let (one, other) = (serde_json::to_value(one)?, serde_json::to_value(other)?);
    let settings = DEFINITION.settings.iter();
    Ok(settings
        .filter(|setting| at(&one, &setting.path) != at(&other, &setting.path))
        .collect())
}

/// What is in force once `told` was read by an agent that began with `begun`.
pub fn in_force(begun: &Configuration, told: &Configuration) -> serde_json::Result<Configuration> {
    let mut tree = serde_json::to_value(begun)?;
    let told: Value = serde_json::to_value(told)?;
    for setting in DEFINITION.settings.iter().filter(|setting| setting.reload) {
        put(&mut tree, &setting.path, at(&told, &setting.path).clone());
    }
    serde_json::from_value(tree)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Period;

    #[test]
    fn only_what_may_change_changes() {
        let begun = Configuration::default();
        let mut told = begun.clone();
        told.conntrack.udp_timeout = Period::from_secs(20);
        told.maps.cidrs = 7;
        told.cni.mtu = 1400;
        told.logging.level = "debug".to_owned();
        let paths = |one, other| -> Vec<&str> {
            let changed: Vec<&Setting> = between(one, other).unwrap();
            changed.into_iter().map(|s| s.path.as_str()).collect()
        };
        assert_eq!(
            paths(&begun, &told),
            [
                "cni.mtu",
                "conntrack.udpTimeout",
                "logging.level",
                "maps.cidrs"
            ]
        );
        let now = in_force(&begun, &told).unwrap();
        assert_eq!(paths(&now, &told), ["cni.mtu"]);
    }
}
