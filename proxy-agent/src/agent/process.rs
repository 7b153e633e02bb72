//! Start and end of the agent.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use super::{
    known_nodes,
    lock::Lock,
    main_loop::MainLoop,
    reload, run_folder, servers,
    sources::{self, Source},
    status::Figures,
    subjects::Live,
    upkeep,
};
use crate::{
    api::{Shared, log_level::LogLevel, metrics::Metrics, readiness::Readiness},
    config::{Configuration, Flags},
    datapath::Pins,
    observe::Store,
    pools::Pools,
};

/// Threads for watches and servers; the main loop has the main thread to itself.
const WORKERS: usize = 2;

/// Runs until SIGTERM or SIGINT. What is pinned stays: the kernel goes on by it. `flags` are those that `config` was
/// loaded by.
pub fn run(config: Configuration, flags: Flags, log_level: LogLevel) -> anyhow::Result<()> {
    let text = serde_json::to_string(&config).context("print the configuration")?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        node = config.node_name,
        config = text,
        "starting"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(serve(config, flags, log_level));
    // Watches may be in the middle of a request that nobody waits for any more.
    runtime.shutdown_background();
    result
}

async fn serve(config: Configuration, flags: Flags, log_level: LogLevel) -> anyhow::Result<()> {
    // Whoever comes second must have touched nothing.
    let mut lock = Lock::take(&config.run_dir)?;
    let pins = Pins::new(&config.bpffs, &config.instance)?;
    lock.add_pins(pins.instance())?;
    let bound = servers::bind(&config)?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let store = Store::for_ipam(config.ipam);
    let shared = Arc::new(Shared::new(config, Metrics::new(), log_level, &store));
    let prepared = sources::prepare(&shared).await?;
    let readiness = Readiness::default();
    let datapath = readiness.register("programs and maps");
    shared.publish(Figures::new(readiness.clone()).at_start(&shared));
    let servers = bound.serve(&shared);
    let live = Live::default();
    let (pools, addresses) = Pools::new(&shared);
    let mut main_loop = MainLoop::open(&shared, &store, &readiness, (&live, pools))?;
    drop(datapath);
    lock.add_pins(pins.instance())?;
    known_nodes::recall(&shared, &store);
    let mut source = prepared.observe(&shared, &store)?;
    let known_nodes = known_nodes::spawn(&shared, &store);
    let reload = reload::spawn(flags, &shared)?;
    let upkeep = upkeep::spawn(&shared, &main_loop.maps());
    let folder = run_folder::spawn(&shared, lock, pins.instance());
    let addresses = addresses.begin(match &source {
        Source::Kubernetes(watches) => Some(watches.pools().clone()),
        Source::Manifests(_) => None,
    });
    if let Source::Kubernetes(watches) = &mut source {
        watches.tell_events(&live.notices);
        live.pods.begin(watches.pods().clone());
        live.condition
            .begin(&shared.watchdog, watches.nodes().clone());
        live.key.begin(&shared.watchdog, watches.nodes().clone());
        live.ranges
            .begin(&shared.watchdog, Some(watches.ranges().clone()));
        live.claims.begin(&shared, &store, watches.claims().clone());
    } else {
        live.ranges.begin(&shared.watchdog, None);
    }
    tokio::select! {
        ended = main_loop.run(servers.questions) => ended?,
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping; the kernel goes on by what is pinned"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping; the kernel goes on by what is pinned"),
    }
    upkeep.abort();
    folder.abort();
    known_nodes.abort();
    drop(main_loop);
    addresses.leave().await;
    reload.inspect(JoinHandle::abort);
    drop(source);
    Ok(())
}
