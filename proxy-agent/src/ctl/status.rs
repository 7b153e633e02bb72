//! `proxyctl status`: one screen, silent when fine, loud when not.

use std::io::Write as _;

use tokio::time::{Duration, Instant, sleep};

use super::{
    Context, CtlError, Exit,
    args::StatusArgs,
    output::Output,
    render::status::{Level, rows, write},
};
use crate::api::{client::ClientError, messages::Status};

/// How often `--wait` looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Prints the status; with `--wait`, once all is well or time is up.
pub async fn run(context: &Context, args: &StatusArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let deadline = Instant::now() + args.wait_duration;
    let bad =
        |level: Level| level == Level::Error || (level == Level::Warning && args.fail_on_warning);
    loop {
        let answer = context.client.get::<Status>("/v1/status").await;
        let fine = answer
            .as_ref()
            .is_ok_and(|status| status.agent.ready && !bad(worst(status)));
        let late = Instant::now() >= deadline;
        if args.wait && !fine && !late {
            sleep(INTERVAL).await;
            continue;
        }
        let status = answer.map_err(|error| unreachable(context, error))?;
        print(&status, args, out)?;
        return Ok(match (fine || !args.wait, bad(worst(&status))) {
            (false, _) => Exit::TimedOut,
            (true, true) => Exit::Failed,
            (true, false) => Exit::Ok,
        });
    }
}

fn worst(status: &Status) -> Level {
    rows(status)
        .iter()
        .map(|row| row.level)
        .max()
        .unwrap_or(Level::Ok)
}

fn print(status: &Status, args: &StatusArgs, out: &mut Output) -> std::io::Result<()> {
    out.object(status, |to| {
        let rows = rows(status);
        if !args.brief {
            return write(&rows, to);
        }
        let wrong: Vec<_> = rows
            .into_iter()
            .filter(|row| row.level != Level::Ok)
            .collect();
        if wrong.is_empty() {
            writeln!(to, "OK")
        } else {
            write(&wrong, to)
        }
    })?;
    out.flush()
}

/// The agent is down: the kernel goes on by what is pinned.
fn unreachable(_context: &Context, error: ClientError) -> CtlError {
    CtlError::from(error)
}
