//! `NetworkPolicy`, compiled for the kernel and kept in step.
//!
//! Peers that policies name become *atoms*; an address is in a *class* by the set of atoms it satisfies; a
//! pod has a *row* per direction by the policies that select it; a row on a class gives a *cell*: allow,
//! deny or a list of port intervals. All semantics are folded in here, the kernel only looks up. A change is
//! built beside what is in force and committed by one 64-bit store per endpoint.

pub mod addresses;
pub mod apply;
pub mod atoms;
pub mod by_address;
pub mod classes;
pub mod compiled;
pub mod cookie;
mod desire;
pub mod drift;
pub mod effective;
pub mod engine;
pub mod explain;
mod held;
pub mod in_words;
pub mod interner;
pub mod intervals;
pub mod kernel;
pub mod lists;
pub mod lookup;
pub mod names;
pub mod numbers;
pub mod plan;
mod pod_claims;
pub mod policies;
pub mod prefix_map;
pub mod reclaim;
pub mod regions;
pub mod repair;
pub mod report;
pub mod restore;
pub mod row;
pub mod rows;
pub mod slots;
pub mod subject;
pub mod subjects;
pub mod tables;
pub mod vector;
pub mod version;
pub mod view;

pub use engine::PolicyEngine;
pub use policies::Policies;
pub use report::{PolicyError, PolicyReport, Refusal, Usage};
pub use tables::PolicyTables;

pub use crate::model::{Direction, LocalEndpoint};
