//! `NetworkPolicy`, compiled for the kernel and kept in step.
//!
//! Peers that policies name become *atoms*; an address is in a *class* by the set of atoms it satisfies; a
//! pod has a *row* per direction by the policies that select it; a row on a class gives a *cell*: allow,
//! deny or a list of port intervals. All semantics are folded in here, the kernel only looks up. A change is
//! built beside what is in force and committed by one 64-bit store per endpoint.

pub mod endpoint;
pub mod report;
pub mod tables;

pub use endpoint::LocalEndpoint;
pub use report::{PolicyError, PolicyReport};
pub use tables::PolicyTables;
