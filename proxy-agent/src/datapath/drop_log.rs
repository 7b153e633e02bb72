//! Dropped packets, as the programs tell of them (`aya-log`), into the log. On only where the configuration asks.

use std::{fmt, net::IpAddr, time::Duration};

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use proxy_common::counters::reason_name;
use tokio::time::MissedTickBehavior;

use super::error::DatapathError;

/// The global of the object that says which levels its programs tell of.
const LEVEL: &str = "AYA_LOG_LEVEL";
/// Everything: `debug`, the level of a dropped packet, included.
const ALL: u8 = u8::MAX;
/// Nothing: the verifier removes the code.
const NOTHING: u8 = 0;

/// Says to programs that are to be loaded whether they tell of dropped packets.
pub fn set(loader: &mut EbpfLoader<'_>, on: bool) {
    loader.override_global(LEVEL, if on { &ALL } else { &NOTHING }, true);
}

/// How often it is read. In between, the buffer holds a thousand packets or so; what finds no room is not told of.
const PERIOD: Duration = Duration::from_millis(100);

/// What the programs tell, still to be read.
pub struct DropLog(EbpfLogger<Sink>);

impl fmt::Debug for DropLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DropLog")
    }
}

impl DropLog {
    /// The reading end, from loaded programs.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        EbpfLogger::init_with_logger(ebpf, Sink)
            .map(Self)
            .map_err(|error| DatapathError::Object(format!("log of dropped packets: {error}")))
    }

    /// Logs what comes, for ever.
    #[expect(clippy::infinite_loop, reason = "a task that ends with the process")]
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.0.flush();
        }
    }
}

/// Takes the programs' words apart, so that they are logged as fields.
#[derive(Debug)]
struct Sink;

/// What a program says of a packet.
#[derive(Debug, PartialEq, Eq)]
struct Drop {
    reason: &'static str,
    interface: u32,
    length: u32,
    source: IpAddr,
    destination: IpAddr,
}

impl Drop {
    fn parse(words: &str) -> Option<Self> {
        let mut words = words.split(' ');
        Some(Self {
            reason: reason_name(words.next()?.parse().ok()?),
            interface: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            source: words.next()?.parse().ok()?,
            destination: words.next()?.parse().ok()?,
        })
    }
}

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let words = record.args().to_string();
        let Some(drop) = Drop::parse(&words) else {
            tracing::warn!(%words, "the programs in the kernel say what the agent does not understand");
            return;
        };
        let interface = nix::net::if_::if_indextoname(drop.interface);
        let interface = interface.map_or_else(
            |_gone| drop.interface.to_string(),
            |name| name.to_string_lossy().into_owned(),
        );
        tracing::info!(
            reason = drop.reason, %interface, length = drop.length,
            source = %drop.source, destination = %drop.destination,
            "packet dropped"
        );
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use proxy_common::counters::SPOOFED_SOURCE;

    use super::*;

    #[test]
    fn words_of_both_families_are_understood() {
        for [source, destination] in [["10.0.0.1", "10.96.0.1"], ["fd00::1", "fd00:96::1"]] {
            let words = format!("{SPOOFED_SOURCE} 7 74 {source} {destination}");
            let expected = Drop {
                reason: "spoofed-source",
                interface: 7,
                length: 74,
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            };
            assert_eq!(Drop::parse(&words), Some(expected));
        }
        for words in ["", "1 2 3", "1 2 3 10.0.0.1 x"] {
            assert_eq!(Drop::parse(words), None, "{words}");
        }
    }
}
