//! Structured logs on stderr: JSON in a cluster, text on a terminal.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::{
    api::log_level::LogLevel,
    config::{LogFormat, Logging},
};

/// Begins to log and gives the handle that changes the filter.
pub fn begin(logging: &Logging) -> anyhow::Result<LogLevel> {
    let filter = EnvFilter::try_new(&logging.level).context("logging.level")?;
    let (filter, handle) = reload::Layer::new(filter);
    let json = match logging.format {
        LogFormat::Auto => !io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let layer = fmt::layer().with_writer(io::stderr);
    let layer = if json {
        layer.json().flatten_event(true).boxed()
    } else {
        layer
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init()
        .context("begin to log")?;
    Ok(LogLevel::new(handle))
}
