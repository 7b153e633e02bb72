//! Shared logic of the programs.
#![no_std]
#![expect(
    clippy::inline_always,
    reason = "BPF: the verifier follows inlined code better, and a call costs more than most bodies"
)]

pub mod maps;
