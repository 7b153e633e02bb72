//! Shared logic of the programs.
#![no_std]
