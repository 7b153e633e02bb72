//! What tests of policy stand on: an oracle that reads the specification plainly, small clusters, and maps
//! that can be watched write by write.

pub mod bed;
pub mod cluster;
pub mod maps;
pub mod oracle;
pub mod questions;
pub mod random;
pub mod watch;
