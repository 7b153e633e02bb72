//! `proxyctl version`: ours, the agent's, and the map layout. Differences warn, they do not refuse.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

use super::{Context, CtlError, Exit, output::Output};
use crate::api::{
    messages::Status,
    version::{VERSION, layout},
};

/// What `version` prints.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Of the program that was asked.
    pub client: String,
    /// Its map layout.
    pub client_layout: String,
    agent: Option<String>,
    agent_layout: Option<String>,
}

/// Prints the versions.
pub async fn run(context: &Context, out: &mut Output) -> Result<Exit, CtlError> {
    let agent = context.client.get::<Status>("/v1/status").await;
    let known = agent.as_ref().ok().map(|status| &status.agent);
    let versions = Versions {
        client: VERSION.to_owned(),
        client_layout: layout(),
        agent: known.map(|agent| plain(&agent.version)),
        agent_layout: known.map(|agent| agent.layout.clone()),
    };
    out.object("Version", &versions, |to| {
        writeln!(
            to,
            "client   v{}   layout {}",
            versions.client, versions.client_layout
        )?;
        match (&versions.agent, &versions.agent_layout) {
            (Some(agent), Some(layout)) => writeln!(to, "agent    v{agent}   layout {layout}"),
            _ => Ok(()),
        }
    })?;
    out.flush()?;
    agent?;
    Ok(Exit::Ok)
}

/// Without the leading `v` that people and tags add.
fn plain(version: &str) -> String {
    version.trim_start_matches('v').to_owned()
}

/// A warning if client and agent differ in more than the patch level, or in the layout.
pub fn skew(agent_version: &str, agent_layout: &str) -> Option<String> {
    let minor = |version: &str| {
        let version = plain(version);
        version
            .rsplit_once('.')
            .map_or(version.clone(), |(minor, _)| minor.to_owned())
    };
    if minor(agent_version) != minor(VERSION) {
        return Some(format!(
            "proxyctl is v{VERSION}, the agent is v{}",
            plain(agent_version)
        ));
    }
    (agent_layout != layout())
        .then(|| format!("proxyctl has layout {}, the agent {agent_layout}", layout()))
}
