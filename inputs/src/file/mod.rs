//! Plain files: followed live, or read once from end to end, compressed or not.

pub mod archive;
pub mod follow;
pub mod lines;
