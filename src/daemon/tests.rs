//! The whole of it, without a socket and a thread.

mod simulation;
