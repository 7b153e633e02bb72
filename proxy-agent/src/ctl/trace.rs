//! `proxyctl service trace CLIENT VIP:PORT[/PROTO]`: what a new connection meets, by the live maps.

mod follow;

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use serde::Serialize;

use self::follow::Follower;
use super::{Context, CtlError, Exit, args::TraceArgs, live, lookup::Asked, output::Output, place};
use crate::model::Protocol;

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    client: String,
    destination: String,
    steps: Vec<Step>,
    /// What becomes of the connection.
    verdict: String,
}

#[derive(Debug, Serialize)]
struct Step {
    what: &'static str,
    found: String,
}

/// What becomes of the connection, and whether it goes anywhere.
struct Verdict {
    good: bool,
    text: String,
}

impl Verdict {
    const fn good(text: String) -> Self {
        Self { good: true, text }
    }

    fn bad(text: &str) -> Self {
        Self {
            good: false,
            text: text.to_owned(),
        }
    }
}

/// Answers; exit code 1 if the connection goes nowhere.
pub async fn run(context: &Context, args: &TraceArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let (to, protocol) = destination(&args.destination)?;
    let reader = live::reader(context)?;
    let names = live::names(context, false).await;
    let clients = place::addresses(&args.client, &names)?;
    let (client, _) = place::pair(&clients, &[to.ip()]).ok_or_else(|| {
        CtlError::new(
            Exit::Usage,
            format!("`{}` has no address of the family of {to}", args.client),
            "name a client's address of that family, or the Service's other one",
        )
    })?;
    let asked = Asked {
        client,
        to,
        protocol,
    };
    let mut follower = Follower::new(reader.maps(), &names, asked)?;
    let verdict = follower.follow()?;
    let trace = Trace {
        client: place::describe(&names, client),
        destination: format!("{to}/{protocol}"),
        steps: follower.steps,
        verdict: verdict.text,
    };
    out.object("ServiceTrace", &trace, |to| write(&trace, to))?;
    Ok(if verdict.good { Exit::Ok } else { Exit::Failed })
}

/// `10.96.0.10:80/udp`, `[fd00::10]:80`.
fn destination(word: &str) -> Result<(SocketAddr, Protocol), CtlError> {
    let (socket, protocol) = word.rsplit_once('/').unwrap_or((word, "tcp"));
    let socket: SocketAddr = socket.parse().map_err(|_none| {
        CtlError::new(
            Exit::Usage,
            format!("`{socket}` is not address:port"),
            "for example 10.96.0.10:80/udp or [fd00::10]:80",
        )
    })?;
    let (_, protocol) = place::port(&format!("{}/{protocol}", socket.port()))?;
    Ok((socket, protocol))
}

fn write(trace: &Trace, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{} -> {}", trace.client, trace.destination)?;
    for step in &trace.steps {
        writeln!(to, "  {:<9} {}", step.what, step.found)?;
    }
    writeln!(to, "{}", trace.verdict)
}

#[cfg(test)]
mod tests {
    use super::destination;
    use crate::model::Protocol;

    #[test]
    fn destinations_of_the_command_line() {
        assert_eq!(
            destination("10.0.0.1:53/udp").unwrap(),
            ("10.0.0.1:53".parse().unwrap(), Protocol::Udp)
        );
        assert_eq!(destination("[fd00::1]:80").unwrap().1, Protocol::Tcp);
        assert_eq!(
            destination("10.0.0.1").unwrap_err().message,
            "`10.0.0.1` is not address:port"
        );
    }
}
