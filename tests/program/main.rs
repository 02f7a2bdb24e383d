//! The program from outside: what it makes of logs, however they come, whoever wrote them, and whatever ends it.
//! Without root.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests do I/O, and a panic is how they fail")]

mod backups;
mod bundle;
mod checks;
mod clocks;
mod command;
mod copies;
mod crash;
mod denyhosts;
mod drill;
mod elsewhere;
mod follower;
mod forgiving;
mod hostile;
mod hosts;
mod hub;
mod import;
mod limits;
mod mail;
mod managed;
mod mixing;
mod owners;
mod patterns;
mod plugins;
mod read_as;
mod readme;
mod reload;
mod replay;
mod reported;
mod reports;
mod rules;
mod sessions;
mod special;
mod sync;
mod trial;
mod truth;
mod verbs;
mod waves;
mod worlds;
