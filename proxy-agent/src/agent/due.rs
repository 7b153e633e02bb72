//! When something is to be looked at again though nothing changes.

use std::time::Duration;

use tokio::time::Instant;

/// When nothing asks for an earlier look.
const IDLE: Duration = Duration::from_hours(1);

/// After what a report asks for.
pub(super) fn after(wait: Option<Duration>) -> Instant {
    Instant::now() + wait.unwrap_or(IDLE)
}
