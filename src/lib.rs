#![doc = include_str!("ARCHITECTURE.md")]

mod cli;
mod clock;
pub mod compat;
pub mod config;
mod daemon;
pub mod decide;
pub mod deny;
pub mod desk;
pub mod detect;
pub mod hub;
pub mod intake;
pub mod outbox;
mod spot;
pub mod store;
mod text;
mod whose;
pub mod work_dir;
pub mod xmlrpc;

pub use cli::main;
