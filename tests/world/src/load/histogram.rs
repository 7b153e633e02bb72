//! Times in logarithmic buckets: constant space, about 3 % wide.

use std::time::Duration;

/// Buckets per doubling.
const FINE: f64 = 24.0;
/// Up to 2^34 ns, 17 s.
const BUCKETS: usize = 34 * 24;

/// Counts of times.
pub(super) struct Histogram {
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, time: Duration) {
        let nanoseconds = time.as_nanos().max(1) as f64;
        let bucket = (nanoseconds.log2() * FINE) as usize;
        self.buckets[bucket.min(BUCKETS - 1)] += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to += from;
        }
    }

    /// Microseconds under which `part` (0 to 1) of the times lie; 0 when there are none.
    pub(super) fn percentile(&self, part: f64) -> f64 {
        let wanted = self.buckets.iter().sum::<u64>() as f64 * part;
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if *count > 0 && below as f64 >= wanted {
                return ((bucket as f64 + 0.5) / FINE).exp2() / 1000.0;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_bucket() {
        let mut times = Histogram::default();
        for microseconds in 1..=1000 {
            times.add(Duration::from_micros(microseconds));
        }
        for (part, wanted) in [(0.5, 500.0), (0.99, 990.0)] {
            let found = times.percentile(part);
            assert!((found / wanted - 1.0).abs() < 0.04, "{found} for {wanted}");
        }
    }

    #[test]
    fn no_times_have_no_percentile() {
        assert!(Histogram::default().percentile(0.5).abs() < f64::EPSILON);
    }
}
