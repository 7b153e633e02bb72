//! Services: which endpoints serve, which frontends and backends the maps must hold, and how to get there
//! without a packet seeing a gap.
//!
//! [`choice`] and [`desired`] are pure, [`plan`] orders the writes, [`image`] is what the maps are known to
//! hold, and [`ServiceSync`] drives them: observe → desired → plan → apply → verify. [`render`] shows the live maps.

pub mod api_servers;
pub mod by_id;
pub mod choice;
pub mod desired;
pub mod diff;
pub mod health_checks;
pub mod host_ports;
pub mod image;
pub mod key;
pub mod local_endpoints;
pub mod maglev;
pub mod memory;
pub mod node_ports;
pub mod owner;
pub mod plan;
pub mod pool;
pub mod render;
pub mod report;
pub mod services;
pub mod sources;
pub mod sync;
pub mod tables;
pub mod vips;

pub use host_ports::HostPorts;
pub use memory::MemoryMaps;
pub use owner::Owner;
pub use report::{ServiceError, SyncReport};
pub use services::Services;
pub use sync::ServiceSync;
pub use tables::ServiceTables;
