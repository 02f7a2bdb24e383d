#![doc = include_str!("ARCHITECTURE.md")]

pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod decide;
pub mod deny;
pub mod desk;
pub mod detect;
pub mod intake;
pub mod store;
pub mod text;
