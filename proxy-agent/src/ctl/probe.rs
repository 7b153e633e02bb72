//! What the pods of `connectivity test` run: a server that says who it is and who asks, and who asks it. So no image is needed
//! but the agent's own.

mod ask;
mod serve;

use std::{io::Write as _, net::SocketAddr};

use serde::{Deserialize, Serialize};

use super::{CtlError, Exit, args::ProbeVerb, output::Output};

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The server's name: its pod's.
    pub name: String,
    /// Who asked, as the server saw it.
    pub client: SocketAddr,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// Somebody answered; who it was, if it is one of ours.
    Answered {
        /// What it said.
        answer: Option<Answer>,
    },
    /// Somebody said that nobody listens there.
    Refused,
    /// Nobody said anything.
    Silent,
    /// It could not even be asked.
    Failed {
        /// Why.
        error: String,
    },
}

/// Serves for ever, or asks once and prints what came of it as one line of JSON.
pub(super) async fn run(verb: &ProbeVerb, out: &mut Output) -> Result<Exit, CtlError> {
    match verb {
        ProbeVerb::Serve { port } => serve::run(*port).await.map_err(|error| {
            CtlError::new(
                Exit::Failed,
                format!("listen on port {port}: {error}"),
                "does something else listen there?",
            )
        }),
        ProbeVerb::Ask(args) => {
            let outcome = ask::run(args).await;
            let line = serde_json::to_string(&outcome).map_err(std::io::Error::from)?;
            writeln!(out, "{line}")?;
            Ok(match outcome {
                Outcome::Answered { .. } => Exit::Ok,
                _ => Exit::Failed,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use tokio::net::{TcpListener, UdpSocket};

    use super::{Answer, Outcome, ask, serve::Server};
    use crate::ctl::args::AskArgs;

    fn args(to: &str, udp: bool) -> AskArgs {
        AskArgs {
            to: to.to_owned(),
            udp,
            family: IpAddr::from([127, 0, 0, 1]),
            timeout: Duration::from_millis(500),
        }
    }

    #[tokio::test]
    async fn a_server_says_who_it_is_and_who_asks() {
        let server = Server::bind(0).await.unwrap();
        let port = server.port().unwrap();
        let serving = tokio::spawn(server.serve("me".to_owned()));
        for to in ["127.0.0.1", "localhost"] {
            for udp in [false, true] {
                let outcome = ask::run(&args(&format!("{to}:{port}"), udp)).await;
                let Outcome::Answered {
                    answer: Some(Answer { name, client }),
                } = outcome
                else {
                    panic!("{to} {udp}: {outcome:?}");
                };
                assert_eq!(name, "me");
                assert_eq!(client.ip().to_string(), "127.0.0.1");
            }
        }
        serving.abort();
    }

    #[tokio::test]
    async fn silence_refusal_and_what_cannot_be_asked_are_told_apart() {
        // They listen, and never answer.
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent = [tcp.local_addr().unwrap(), udp.local_addr().unwrap()];
        for (to, udp) in silent.iter().zip([false, true]) {
            assert_eq!(ask::run(&args(&to.to_string(), udp)).await, Outcome::Silent);
        }
        drop((tcp, udp));
        for (to, udp) in silent.iter().zip([false, true]) {
            assert_eq!(
                ask::run(&args(&to.to_string(), udp)).await,
                Outcome::Refused
            );
        }
        let of_other_family = ask::run(&args("[::1]:1", false)).await;
        assert!(
            matches!(of_other_family, Outcome::Failed { .. }),
            "{of_other_family:?}"
        );
    }
}
