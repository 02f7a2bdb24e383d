//! Decide: what the events amount to. Pure: no I/O, no clock, no randomness, nothing awaited.
#![deny(clippy::disallowed_methods)]

pub mod allow;
pub mod attempt;
pub mod claim;
pub mod engine;
pub mod familiar;
pub mod forgives;
pub mod links;
pub mod live;
pub mod logins;
pub mod machine;
pub mod names;
pub mod namesakes;
pub mod nets;
pub mod past;
pub mod policy;
pub mod prefix;
pub mod range;
pub mod rooms;
pub mod session;
pub mod state;
pub mod tally;
#[cfg(test)]
mod tests;
pub mod wave;
pub mod window;
