//! `proxyctl service trace CLIENT DESTINATION`: what a new connection meets, by the live maps.

mod follow;

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use serde::Serialize;

use self::follow::Follower;
use super::{
    Context, CtlError, Exit, args::TraceArgs, live, lookup::Asked, output::Output, place,
    service_name, whereabouts::Whereabouts,
};
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
    let by_address = destination(&args.destination).transpose()?;
    let reader = live::reader(context)?;
    let names = live::names(context, false).await;
    let (all, protocol) = match by_address {
        Some(found) => found,
        None => service_name::destinations(&args.destination, reader.maps(), &names)?,
    };
    let clients = place::addresses(&args.client, &names)?;
    let (client, to) = pair(&clients, &all).ok_or_else(|| {
        let all: Vec<String> = all.iter().map(ToString::to_string).collect();
        CtlError::new(
            Exit::Usage,
            format!(
                "`{}` has no address of the family of {}",
                args.client,
                all.join(", ")
            ),
            "name a client's address of that family, or the Service's other one",
        )
    })?;
    let whereabouts = Whereabouts::ask(context).await;
    if let Some(node) = whereabouts.node(&names, client) {
        live::note(&format!(
            "{} is on node {node}, and this is what connections meet that come to node {}; what they meet there: \
             kubectl weir --node {node} service trace {} {}",
            args.client, whereabouts.here, args.client, args.destination
        ));
    }
    let asked = Asked {
        client,
        to,
        protocol,
    };
    let mut follower = Follower::new(reader.maps(), &names, asked)?;
    let verdict = follower.follow()?;
    let met = follower.met.iter().copied().chain([client, to.ip()]);
    live::warn_of_cut_off(&names, met.clone());
    place::warn_of_taken(reader.maps(), &names, met)?;
    let trace = Trace {
        client: place::describe(&names, client),
        destination: format!("{to}/{protocol}"),
        steps: follower.steps,
        verdict: verdict.text,
    };
    out.object("ServiceTrace", &trace, |to| write(&trace, to))?;
    Ok(if verdict.good { Exit::Ok } else { Exit::Failed })
}

/// The first of the destinations of whose family the client has an address.
fn pair(clients: &[IpAddr], all: &[SocketAddr]) -> Option<(IpAddr, SocketAddr)> {
    all.iter().find_map(|to| {
        let (client, _) = place::pair(clients, &[to.ip()])?;
        Some((client, *to))
    })
}

/// `10.96.0.10:80/udp`, `[fd00::10]:80`; none for what may be a Service's name.
fn destination(word: &str) -> Option<Result<(Vec<SocketAddr>, Protocol), CtlError>> {
    let (socket, protocol) = word.rsplit_once('/').unwrap_or((word, "tcp"));
    let Ok(socket) = socket.parse::<SocketAddr>() else {
        return (!word.contains('/') || socket.parse::<IpAddr>().is_ok()).then(|| Err(wrong(word)));
    };
    let port = place::port(&format!("{}/{protocol}", socket.port()));
    Some(port.map(|(_, protocol)| (vec![socket], protocol)))
}

fn wrong(word: &str) -> CtlError {
    CtlError::new(
        Exit::Usage,
        format!("`{word}` is neither address:port nor a Service"),
        "for example 10.96.0.10:80/udp, [fd00::10]:80, shop/web:80 or svc/web",
    )
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
        let found = |word: &str| destination(word).unwrap();
        assert_eq!(
            found("10.0.0.1:53/udp").unwrap(),
            (vec!["10.0.0.1:53".parse().unwrap()], Protocol::Udp)
        );
        assert_eq!(found("[fd00::1]:80").unwrap().1, Protocol::Tcp);
        for word in ["10.0.0.1", "10.0.0.1/udp", "fd00::1", "web"] {
            let message = found(word).unwrap_err().message;
            assert_eq!(
                message,
                format!("`{word}` is neither address:port nor a Service")
            );
        }
        for word in [
            "shop/web",
            "svc/web",
            "shop/web:80",
            "service/shop/web:53/udp",
        ] {
            assert!(destination(word).is_none(), "{word}");
        }
    }
}
