//! The cluster as it is observed: Kubernetes watches, or a folder of manifests, kept as a typed
//! [`Snapshot`](crate::model::Snapshot) in one [`Store`].
//!
//! Two sources give the same model: [`kubernetes::spawn`] and [`manifests::spawn`]. Each object is converted
//! and validated at the border ([`convert`]); the Kubernetes types are dropped right there, so that the store
//! holds the compact model only. The consumer waits on [`Changes::next`], which says what is dirty, and reads
//! the store: everything is rebuilt from the store, nothing is accumulated from deltas.

pub mod changes;
pub mod convert;
pub mod intern;
pub mod kubernetes;
pub mod manifests;
pub mod nodes;
pub mod status;
pub mod store;
pub mod update;

mod apply;
mod notices;

pub use changes::{Change, Changes};
pub use notices::Notices;
pub use status::SourceStatus;
pub use store::Store;
pub use update::{Converted, Object, Problem, Update};
