//! Drift detection, the full comparison: whether the maps are as the engine left them, and what is done if not.

use std::time::Instant;

use super::PolicyEngine;
use crate::policy::{
    PolicyError, PolicyReport,
    drift::{Drift, drift},
    repair::{Repair, Repaired},
};

impl PolicyEngine {
    /// What in the maps is not as it was left.
    pub fn drift(&self) -> Result<Drift, PolicyError> {
        if !self.restored {
            return Ok(Drift::default());
        }
        drift(
            &self.kernel,
            &self.rows,
            &self.lists,
            &self.reclaim,
            &self.in_force,
        )
    }

    /// Compares the maps with what was written to them, and sets right what differs.
    pub fn verify(&mut self) -> Result<PolicyReport, PolicyError> {
        self.verify_at(Instant::now())
    }

    /// [`Self::verify`] at a given time.
    pub fn verify_at(&mut self, now: Instant) -> Result<PolicyReport, PolicyError> {
        let drift = self.drift()?;
        let mut report = PolicyReport {
            drift: drift.len(),
            ..PolicyReport::default()
        };
        if report.drift > 0 {
            tracing::warn!(
                entries = report.drift,
                "maps of policy were changed by somebody else"
            );
            let result = self.repair(now, drift, &mut report);
            report.broken = result.err().map(|error| error.to_string());
        }
        report.again_after = self.reclaim.due(now);
        Ok(report)
    }

    fn repair(
        &mut self,
        now: Instant,
        mut drift: Drift,
        report: &mut PolicyReport,
    ) -> Result<(), PolicyError> {
        let peers = std::mem::take(&mut drift.stray_peers);
        let cidrs = std::mem::take(&mut drift.stray_cidrs);
        self.reclaim.add_other(peers, cidrs);
        self.reclaim.retire(now, Vec::new(), Vec::new());
        if drift.is_empty() {
            return Ok(());
        }
        let mut repaired = Repaired::default();
        let result = Repair {
            kernel: &mut self.kernel,
            rows: &mut self.rows,
            lists: &mut self.lists,
            in_force: &self.in_force,
        }
        .run(&drift, &mut repaired);
        self.reclaim.retire(now, repaired.retired, Vec::new());
        report.wrapped = repaired.wrapped;
        result
    }
}
