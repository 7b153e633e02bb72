//! `proxyctl log-level [LEVEL]`: shows or changes the agent's log filter while it runs.

use super::{Context, CtlError, Exit, args::LogLevelArgs, output::Output};
use crate::api::messages::LogLevelBody;

const PATH: &str = "/v1/log-level";

/// Shows or changes the filter.
pub async fn run(
    context: &Context,
    args: &LogLevelArgs,
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let body: LogLevelBody = match &args.level {
        None => context.client.get(PATH).await?,
        Some(level) => {
            let body = LogLevelBody {
                level: level.clone(),
            };
            context.client.put(PATH, &body).await?
        }
    };
    out.object("LogLevel", &body, |to| writeln!(to, "{}", body.level))?;
    Ok(Exit::Ok)
}
