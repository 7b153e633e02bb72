//! Packets that get times of departure.

use anyhow::{Context as _, Result, ensure};
use aya::{
    TestRun as _,
    programs::{Program, TestRunOptions},
};
use proxy_common::{endpoints::Endpoint, pace::Pace};

use super::bench::{Bench, Hook, Outcome, POD, index};

/// Offsets in `struct __sk_buff`.
const TIME: usize = 152;
const WIRE_LENGTH: usize = 160;

/// Where packets of the pod get theirs here.
const INTERFACE: &str = "pod1";

/// What came of a packet.
#[derive(Clone, Debug)]
pub struct Timed {
    /// Verdict and bytes.
    pub outcome: Outcome,
    /// When it may leave, nanoseconds of `CLOCK_MONOTONIC`; 0 if nobody says.
    pub time: u64,
}

impl Bench {
    /// Limits what leaves by the pod's interface, of its packets `flags` (`ENDPOINT_*`) are known.
    pub fn set_pace(&mut self, pace: Pace, flags: u32) -> Result<()> {
        let index = index(INTERFACE)?;
        self.hash::<u32, Pace>("PACES")?.insert(index, pace, 0)?;
        let mut endpoints = self.array::<Endpoint>("ENDPOINTS")?;
        let pod = endpoints.get(&POD, 0)?;
        endpoints.set(POD, Endpoint { flags, ..pod }, 0)?;
        Ok(())
    }

    /// What it has come to.
    pub fn pace(&mut self) -> Result<Pace> {
        let index = index(INTERFACE)?;
        Ok(self.hash::<u32, Pace>("PACES")?.get(&index, 0)?)
    }

    /// As [`Self::run`], of a packet that is so long on the wire, headers of its segments included.
    pub fn run_timed(&mut self, hook: Hook, packet: &[u8], wire_length: u32) -> Result<Timed> {
        // Loads the program.
        ensure!(wire_length as usize >= packet.len(), "shorter than it is");
        self.prepare(hook)?;
        let mut context = hook.context(packet.len())?;
        context[WIRE_LENGTH..WIRE_LENGTH + 4].copy_from_slice(&wire_length.to_ne_bytes());
        let (mut bytes, mut after) = (vec![0; packet.len() + 256], vec![0; context.len()]);
        let drops = self.drops()?;
        let program = self.ebpf.program(hook.program());
        let Some(Program::SchedClassifier(program)) = program else {
            return Err(anyhow::anyhow!("no program {}", hook.program()));
        };
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(packet),
                data_out: Some(&mut bytes),
                ctx_in: Some(&context),
                ctx_out: Some(&mut after),
                repeat: 1,
                ..TestRunOptions::default()
            })
            .context("run the program")?;
        bytes.truncate(result.data_size_out as usize);
        let outcome = Outcome {
            action: hook.action(result.return_value.cast_signed())?,
            bytes,
            drop: self.newly_dropped(&drops)?,
        };
        let time = after[TIME..TIME + 8].try_into()?;
        Ok(Timed {
            outcome,
            time: u64::from_ne_bytes(time),
        })
    }
}
