//! A live read of one pod, for an ADD that is faster than the watch.

use std::{pin::Pin, sync::Arc};

use crate::model::{ObjectName, Pod};

/// What a read gives: nothing if there is no such pod.
pub type Fetched = anyhow::Result<Option<Arc<Pod>>>;

/// Reads one pod from the API server. Given by whoever knows how; bounded in time by the caller.
pub type Fetch =
    Arc<dyn Fn(ObjectName) -> Pin<Box<dyn Future<Output = Fetched> + Send>> + Send + Sync>;
