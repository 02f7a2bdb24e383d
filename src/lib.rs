//! denyd
pub mod decide;
pub mod deny;
