//! `proxyctl status`: one screen, silent when fine, loud when not.

use std::io::Write as _;

use tokio::time::{Duration, Instant, sleep};

use super::{
    Context, CtlError, Exit,
    args::StatusArgs,
    live,
    output::Output,
    render::status::{Level, rows, write},
};
use crate::{api::messages::Status, config::Period};

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
        let status = match answer {
            Err(error) if args.wait => return Err(timed_out(args, error.to_string())),
            Err(error) => {
                pinned(context);
                return Err(error.into());
            }
            Ok(status) => status,
        };
        print(&status, args, out)?;
        if args.wait && !fine {
            let hint = "the status above says what is awaited or wrong";
            return Err(timed_out(args, hint));
        }
        return Ok(if bad(worst(&status)) {
            Exit::Failed
        } else {
            Exit::Ok
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
    out.object("Status", status, |to| {
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

fn timed_out(args: &StatusArgs, hint: impl Into<String>) -> CtlError {
    let message = format!("waited {} for all to be well", Period(args.wait_duration));
    CtlError::new(Exit::TimedOut, message, hint)
}

/// The agent is down, but the kernel goes on: says by what.
fn pinned(context: &Context) {
    let Ok(reader) = live::reader(context) else {
        return;
    };
    let Ok(usage) = reader.maps().usage() else {
        return;
    };
    let entries = |names: [&str; 2]| -> u32 {
        let maps = usage
            .iter()
            .filter(|map| names.contains(&map.name.as_str()));
        maps.filter_map(|map| map.entries).sum()
    };
    live::note(&format!(
        "the kernel goes on by what is pinned: {} frontends, {} backends, {} endpoints, {} flows",
        entries(["FRONTENDS4", "FRONTENDS6"]),
        entries(["BACKENDS4", "BACKENDS6"]),
        entries(["ENDPOINTS", ""]),
        entries(["FLOWS4", "FLOWS6"]),
    ));
}
