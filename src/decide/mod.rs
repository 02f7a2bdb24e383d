//! Decide: what the events amount to. Pure: no I/O, no clock, no randomness, nothing awaited.

pub mod allow;
pub mod policy;
pub mod prefix;
