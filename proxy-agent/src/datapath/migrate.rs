//! Migration: maps that take the place of others while traffic runs: larger or smaller ones ([`resize`]), or those of another layout
//! ([`v1`]).
//!
//! It is always the same: new maps are made beside the old ones, and filled; the programs are loaded against them; once
//! more what changed meanwhile is copied; the programs are put in the place of those that are attached, link by link, each
//! in one step; what was written to the old maps meanwhile is copied for the last time; the new maps are pinned where the
//! old ones were.
//!
//! Of flows, which the programs write, none begins while programs of both kinds are attached (`NodeConfig::settles`): what
//! belongs to a flow that the other maps have is dropped and sent again, instead of being taken for something else.
//!
//! A new map stands in `building` while it is of no importance, and in `next` from before the first program is exchanged
//! until it has its place: a start that finds `next` goes on from there.

pub mod resize;
pub mod size;
pub mod v1;

mod ceiling;
mod flows;
mod settle;
