//! What is logged and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Logging {
    /// One JSON object or one line of text per event.
    #[schemars(extend("x-flag" = "log-format"))]
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter such as `info,proxy_agent::service=debug`.
    #[schemars(extend("x-flag" = "log-level", "x-reload" = true, "pattern" = FILTER))]
    pub level: String,
    /// Log each packet that is dropped, with its reason, at level `info`. For debugging: whoever sends much that is
    /// dropped makes as many lines.
    #[schemars(extend("x-flag" = "log-drops"))]
    pub drops: bool,
    /// Log one of so many packets that XDP sends out again, chosen at random (sampling), at level `info`: how it came, and how it was
    /// sent. 0: none.
    #[schemars(extend("x-flag" = "log-xdp-sample"))]
    pub xdp_sample: u32,
}

/// What `level` may say.
pub const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// The same as a regular expression, for schemas.
const FILTER: &str = concat!(
    "^([A-Za-z0-9_:-]+=)?(error|warn|info|debug|trace|off|ERROR|WARN|INFO|DEBUG|TRACE|OFF)",
    "(,([A-Za-z0-9_:-]+=)?(error|warn|info|debug|trace|off|ERROR|WARN|INFO|DEBUG|TRACE|OFF))*$"
);

/// Whether a text is a filter: levels, each for all or for a part. Who parses filters takes any other word for the name of a
/// part, of which alone everything is logged then.
pub fn check_filter(filter: &str) -> Result<(), String> {
    filter.split(',').try_for_each(check_directive)
}

fn check_directive(directive: &str) -> Result<(), String> {
    let (target, level) = directive.split_once('=').unwrap_or(("all", directive));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    if target.is_empty() || !target.chars().all(is_name) {
        return Err(format!("`{target}` is no name of a part of the program"));
    }
    let in_capitals = level.chars().all(|c| c.is_ascii_uppercase());
    if LEVELS.contains(&level) || in_capitals && LEVELS.contains(&&*level.to_ascii_lowercase()) {
        return Ok(());
    }
    Err(format!(
        "`{level}` is no level; there are {}",
        LEVELS.join(", ")
    ))
}

impl Default for Logging {
    fn default() -> Self {
        Self {
            format: LogFormat::Auto,
            level: "info".to_owned(),
            drops: false,
            xdp_sample: 0,
        }
    }
}

/// Shape of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// Text.
    Text,
}

#[cfg(test)]
mod tests {
    use regex::Regex;
    use tracing_subscriber::EnvFilter;

    use super::*;

    #[test]
    fn each_directive_has_a_level_and_the_schema_says_the_same() {
        let pattern = Regex::new(FILTER).unwrap();
        let words = [
            "info", "debg", "loud", "off", "", "INFO", "Info", "3", "a", "a::b_c-d", "a b", "[x]",
        ];
        let single = words.iter().map(|word| (*word).to_owned());
        let pairs = words
            .iter()
            .flat_map(|one| words.map(|other| format!("{one}={other}")));
        let directives: Vec<String> = single.chain(pairs).collect();
        let mut taken = 0;
        for first in &directives {
            for filter in [
                first.clone(),
                format!("info,{first}"),
                format!("{first},a=warn"),
                format!("{first},"),
            ] {
                let is_filter = check_filter(&filter).is_ok();
                assert_eq!(is_filter, pattern.is_match(&filter), "`{filter}`");
                if is_filter {
                    taken += 1;
                    EnvFilter::try_new(&filter).unwrap();
                }
            }
        }
        // Of three levels alone and of the names that can be, each with all; nothing ends in a comma.
        let names = 9;
        assert_eq!(taken, (3 + names * 3) * 3);
        let error = check_filter("info,a=debg").unwrap_err();
        assert_eq!(
            error,
            "`debg` is no level; there are error, warn, info, debug, trace, off"
        );
    }
}
