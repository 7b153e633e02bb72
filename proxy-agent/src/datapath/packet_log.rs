//! Packets that the programs tell of (`aya-log`), into the log: dropped ones, and a sample of those that XDP sends. On only where
//! the configuration asks.

mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, mem,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};
use tokio::time::MissedTickBehavior;

use self::told::Told;
use super::error::DatapathError;

/// The global of the object that says which levels its programs tell of.
const LEVEL: &str = "AYA_LOG_LEVEL";
/// Everything: `debug`, the level of a dropped packet, included.
const ALL: u8 = u8::MAX;
/// `info`, the level of a packet that is sent.
const SENDS: u8 = 3;
/// Nothing: the verifier removes the code.
const NOTHING: u8 = 0;
/// The global that says of how many packets that XDP sends one is told of.
const SAMPLE: &str = "XDP_SAMPLE";

/// Of which packets programs tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Each that is dropped.
    pub drops: bool,
    /// One of so many that XDP sends, chosen at random; 0: none.
    pub sends: u32,
}

impl Telling {
    /// Of none.
    pub const NOTHING: Self = Self {
        drops: false,
        sends: 0,
    };

    /// Whether of any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.drops || self.sends > 0
    }

    /// Says so to programs that are to be loaded.
    pub fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        let level = match self {
            Self { drops: true, .. } => &ALL,
            Self { sends: 1.., .. } => &SENDS,
            _ => &NOTHING,
        };
        loader.override_global(LEVEL, level, true);
        loader.override_global(SAMPLE, &self.sends, true);
    }
}

/// How often it is read. In between, the buffer holds some five hundred packets; what finds no room is not told of.
const PERIOD: Duration = Duration::from_millis(100);

/// What the programs tell, still to be read.
pub struct PacketLog {
    logger: EbpfLogger<Sink>,
    told: Arc<Mutex<Vec<Told>>>,
}

impl fmt::Debug for PacketLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PacketLog")
    }
}

impl PacketLog {
    /// The reading end, from loaded programs.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, DatapathError> {
        let told = Arc::default();
        EbpfLogger::init_with_logger(ebpf, Sink(Arc::clone(&told)))
            .map(|logger| Self { logger, told })
            .map_err(|error| DatapathError::Object(format!("log of packets: {error}")))
    }

    /// Logs what comes, for ever; `names` says whose addresses these are, as far as it is known.
    #[expect(clippy::infinite_loop, reason = "a task that ends with the process")]
    pub async fn run(
        mut self,
        names: impl Fn(&BTreeSet<IpAddr>) -> BTreeMap<IpAddr, String> + Send,
    ) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.logger.flush();
            let told = mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner));
            if told.is_empty() {
                continue;
            }
            let names = names(&told.iter().flat_map(Told::addresses).collect());
            for told in told {
                told.log(&names);
            }
        }
    }
}

/// Takes the programs' words apart, and keeps them until the addresses of all have names.
#[derive(Debug)]
struct Sink(Arc<Mutex<Vec<Told>>>);

impl Log for Sink {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let words = record.args().to_string();
        let Some(told) = Told::parse(&words) else {
            tracing::warn!(%words, "the programs in the kernel say what the agent does not understand");
            return;
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(told);
    }

    fn flush(&self) {}
}
