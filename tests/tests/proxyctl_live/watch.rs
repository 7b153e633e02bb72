//! `dump conntrack --watch`: what happens to flows, while it happens.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use weir_tests::world::{Talk, program, until};

use super::{PATIENCE, Stage};

/// A watch that runs, and the lines that it has printed.
struct Watch {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn begin(stage: &Stage, form: &str) -> Self {
        let mut command = stage
            .cluster
            .node(0)
            .command(program("proxyctl").unwrap())
            .unwrap();
        let words = [
            "dump",
            "conntrack",
            "--watch",
            "--interval",
            "50ms",
            "-o",
            form,
        ];
        command.args(words).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        thread::spawn(move || {
            for line in printed.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits for an event about a flow to the Service, of this client if there is one; gives the flow.
    fn await_event(&self, stage: &Stage, event: &str, client: Option<&Value>) -> Value {
        let destination = format!("{}:80", stage.vip);
        until(event, PATIENCE, || {
            let lines = self.lines();
            let events = lines.iter().map(|line| serde_json::from_str::<Value>(line));
            let events: Vec<Value> = events.collect::<Result<_, _>>()?;
            Ok(events.into_iter().find(|row| {
                row["event"] == event
                    && row["destination"] == destination.as_str()
                    && client.is_none_or(|client| row["client"] == *client)
            }))
        })
        .unwrap()
    }

    /// As with the keyboard.
    fn interrupt(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
        self.child.wait().unwrap().code()
    }
}

#[test]
fn what_happens_to_flows_is_watched_with_and_without_the_agent() {
    let mut stage = Stage::set("ctl-watch").unwrap();
    let watch = Watch::begin(&stage, "json");
    let to = (stage.vip.parse::<std::net::IpAddr>().unwrap(), 80).into();
    // What is there already when the watch begins is not told.
    thread::sleep(std::time::Duration::from_millis(500));
    let mut talk = Talk::open(&stage.client, to).unwrap();
    talk.echo("x").unwrap();
    let begun = watch.await_event(&stage, "begin", None);
    assert_eq!(begun["apiVersion"], "weir.dev/v1alpha1");
    assert_eq!(begun["kind"], "ConntrackEvent");
    assert_eq!(begun["clientName"], "default/client");
    assert_eq!(begun["serverName"], "default/web");
    assert_eq!(begun["service"], "default/web:tcp");
    let backend = format!("{}:8080", stage.web.ipv4());
    assert_eq!(begun["translatedDestination"], backend.as_str());
    assert_eq!(begun["ingressPolicy"], "default/only-client ingress[0]");
    drop(talk);
    let ended = watch.await_event(&stage, "end", Some(&begun["client"]));
    assert_eq!(ended["state"], "expired");
    assert_eq!(watch.interrupt(), Some(0));

    stage.cluster.agent_mut(0).crash().unwrap();
    let watch = Watch::begin(&stage, "table");
    until("the heads", PATIENCE, || {
        Ok(watch.lines().first().map(|_| ()))
    })
    .unwrap();
    thread::sleep(std::time::Duration::from_millis(500));
    let talk = Talk::open(&stage.client, to).unwrap();
    let line = until("the flow to be told", PATIENCE, || {
        let told = watch.lines().into_iter();
        Ok(told.into_iter().find(|line| line.contains(" begin ")))
    })
    .unwrap();
    assert!(
        line.contains(&format!("{}:80", stage.vip)) && line.contains('#'),
        "{line}"
    );
    drop(talk);
    assert_eq!(watch.interrupt(), Some(0));
    let refused = stage.ctl(&["dump", "services", "--watch"]).unwrap();
    assert_eq!(refused.status.code(), Some(2));
}
