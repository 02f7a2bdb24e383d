//! denyd
pub mod clock;
pub mod decide;
pub mod deny;
pub mod detect;
