//! Shared logic of the programs.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(unsafe_code, reason = "the kernel's pointers and maps")]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::needless_pass_by_value,
        unreachable_pub,
        reason = "the form that aya's macros give to entry points"
    )
)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "reaching a field through the kernel's pointer is one act in two operations"
)]
#![expect(
    clippy::inline_always,
    reason = "BPF: the verifier follows inlined code better, and a call costs more than most bodies"
)]

pub mod act;
pub mod hook;
pub mod know;
pub mod machine;
pub mod maps;
pub mod packet;
pub mod socket;
pub mod track;
