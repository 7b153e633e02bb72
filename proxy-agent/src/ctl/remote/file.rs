//! A sysdump of another node: its file is written here, where the person is.

use std::io::Write as _;

use super::{Agent, Cluster, Said};
use crate::ctl::{
    CtlError, Exit,
    args::SysdumpArgs,
    live,
    output::Output,
    sysdump::{name, with, write},
};

/// What the other `proxyctl` is told.
pub(super) fn words(args: &SysdumpArgs) -> Vec<String> {
    let mut words = vec!["sysdump".to_owned(), "-".to_owned()];
    words.push(format!("--limit={}", args.limit));
    let logs = args.log.iter();
    words.extend(logs.map(|log| format!("--log={}", log.display())));
    let config = args.config.iter();
    words.extend(config.map(|config| format!("--config={}", config.display())));
    words
}

/// What it said, with what the API server has: within a container nobody sees its log.
pub(super) async fn said(
    cluster: &Cluster,
    agent: &Agent,
    words: &[String],
    args: &SysdumpArgs,
) -> Result<Said, CtlError> {
    let (said, files) = tokio::join!(
        cluster.proxyctl(agent, words),
        Box::pin(cluster.about(agent))
    );
    let mut said = said?;
    if said.code == Exit::Ok as u8 {
        said.out = with(&said.out, args, files)?;
    }
    Ok(said)
}

/// Writes what it said into a file, and says its name; gives the exit code.
pub(super) fn keep(
    args: &SysdumpArgs,
    agent: &Agent,
    said: &Said,
    out: &mut Output,
) -> Result<u8, CtlError> {
    live::told(&said.told);
    if said.code != Exit::Ok as u8 {
        return Ok(said.code);
    }
    let path = match &args.file {
        Some(path) => path.clone(),
        None => name(&agent.node),
    };
    write(&path, &said.out)?;
    writeln!(out, "{}", path.display())?;
    Ok(said.code)
}
