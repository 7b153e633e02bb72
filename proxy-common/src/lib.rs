//! Map ABI.
#![no_std]
