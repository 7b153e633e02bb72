//! How long a pod's changed label takes to be in force: from the API server's answer to the first packet that passes.

use std::{
    net::UdpSocket,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::pods::Pods;
use crate::bench::{api::Api, objects};

/// Between two questions.
const STEP: Duration = Duration::from_micros(500);
/// How long a change may take.
const LIMIT: Duration = Duration::from_secs(10);
/// For so long nobody answers once a label no longer allows it.
const QUIET: u32 = 40;

/// Changes the client's label `count` times, and gives the seconds that each took, in order of length.
pub(super) fn measure(api: &Api, pods: &Pods, count: usize) -> Result<Vec<f64>> {
    let server = pods.server.udp(pods.server.at(objects::PORT)[0])?;
    server.set_read_timeout(Some(Duration::from_millis(100)))?;
    let client = pods.client.udp(pods.client.at(objects::PORT)[0])?;
    client.connect(pods.server.at(objects::PORT)[0])?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(&server, &over));
        let times: Result<Vec<f64>> = (0..count).map(|_| once(api, &client)).collect();
        over.store(true, Ordering::Relaxed);
        let mut times = times?;
        times.sort_by(f64::total_cmp);
        Ok(times)
    })
}

/// The value below which a share of sorted ones lies.
pub(super) fn rank(times: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few values"
    )]
    let index = (times.len() as f64 * share) as usize;
    times
        .get(index.min(times.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn echo(server: &UdpSocket, over: &AtomicBool) {
    let mut bytes = [0; 8];
    while !over.load(Ordering::Relaxed) {
        // Nothing for a while is as good as an error: whoever asks notices.
        if let Ok((length, from)) = server.recv_from(&mut bytes) {
            server.send_to(&bytes[..length], from).ok();
        }
    }
}

fn once(api: &Api, client: &UdpSocket) -> Result<f64> {
    label(api, "stranger")?;
    let mut quiet = 0;
    let end = Instant::now() + LIMIT;
    while quiet < QUIET {
        ensure!(Instant::now() < end, "the label does not keep the pod out");
        quiet = if ask(client, 5 * STEP)? { 0 } else { quiet + 1 };
    }
    label(api, "friend")?;
    let begin = Instant::now();
    while !ask(client, STEP)? {
        ensure!(begin.elapsed() < LIMIT, "the label does not let the pod in");
    }
    Ok(begin.elapsed().as_secs_f64())
}

fn label(api: &Api, role: &str) -> Result<()> {
    let change = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "client", "labels": { "role": role } },
    });
    api.merge(&change).map(drop)
}

/// Asks once; whether an answer comes.
fn ask(client: &UdpSocket, within: Duration) -> Result<bool> {
    client.set_read_timeout(Some(within))?;
    client.send(b"?").context("ask")?;
    Ok(client.recv(&mut [0; 8]).is_ok())
}
