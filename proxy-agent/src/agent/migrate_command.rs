//! Roll-back, by `proxy-agent migrate`: leaves the maps as an older version expects them, and hands the node over to it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use proxy_common::{layout::SCHEMA, v1};
use tokio::signal::unix::{SignalKind, signal};

use super::lock::Lock;
use crate::{
    config::Configuration,
    datapath::{
        Pins,
        migrate::v1::{Handover, down},
    },
};

/// Between two looks; what changes in between is copied by the second.
const PAUSE: Duration = Duration::from_millis(2);

/// Migrates to a schema. Returns when an agent of that version has the node, or the process is asked to end.
pub(super) fn run(config: &Configuration, to: u32) -> anyhow::Result<()> {
    if to == SCHEMA {
        bail!("schema {to} is this version's own: it is migrated to by starting this version");
    }
    if to != v1::SCHEMA {
        bail!(
            "schema {to} is not known: this version migrates to schema {}",
            v1::SCHEMA
        );
    }
    // An agent that runs would go on writing to the maps.
    let mut lock = Lock::take(&config.run_dir)?;
    let pins = Pins::new(&config.bpffs, &config.instance)?;
    lock.add_pins(pins.instance())?;
    if pins.is_exchanging()? {
        bail!(
            "maps are being exchanged under {}: an agent was killed meanwhile\nhint: start this version's agent, which goes on \
             from there, stop it, and migrate",
            pins.instance().display()
        );
    }
    let began = Instant::now();
    let handover = down(&pins, &config.instance)?;
    tracing::info!(schema = to, took = ?began.elapsed(), "migrated: start the other version now");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(hand_over(handover))
}

async fn hand_over(mut handover: Handover) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    loop {
        let began = Instant::now();
        if handover.step()? {
            tracing::info!(took = ?began.elapsed(), "handed over");
            return Ok(());
        }
        let pause = if handover.begins() {
            Duration::ZERO
        } else {
            // As long as it took: half a processor at most.
            PAUSE.max(began.elapsed())
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::warn!(
        "not handed over: flows that begin until the other version runs are unknown to it"
    );
    Ok(())
}
