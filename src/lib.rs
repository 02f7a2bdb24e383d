//! denyd
pub mod clock;
pub mod config;
pub mod decide;
pub mod deny;
