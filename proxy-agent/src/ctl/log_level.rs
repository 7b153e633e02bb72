//! `proxyctl log-level [LEVEL]`: shows or changes the agent's log filter while it runs.

use super::{Context, CtlError, Exit, args::LogLevelArgs, output::Output};
use crate::{
    api::{client::ClientError, messages::LogLevelBody},
    config::LEVELS,
};

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
            let set = context.client.put(PATH, &body).await;
            set.map_err(refused)?
        }
    };
    out.object("LogLevel", &body, |to| writeln!(to, "{}", body.level))?;
    Ok(Exit::Ok)
}

fn refused(error: ClientError) -> CtlError {
    let is_refused = matches!(error, ClientError::Refused { .. });
    let mut error = CtlError::from(error);
    if is_refused {
        let levels = LEVELS.join(", ");
        error.hint =
            format!("levels are {levels}; or one for a part, as info,proxy_agent::service=debug");
    }
    error
}
