//! The server that machines share their denies by (`denyd hub`): what DenyHosts' clients and denyd's ask of it, as
//! denyhosts_sync answered.
//!
//! A program of its own beside the daemon: it reads no log and denies nobody, and shares with the daemon only the ground.
//! [`due`] says what a report changes and when a host is due to whom, and is pure. A [`feed`] has what is due for one
//! threshold and resiliency, in order. [`store`] is its SQLite. [`statistics`] reads from that
//! what [`page`] shows to everybody, in figures, [`chart`]s and tables; [`markup`] is the one way from text to HTML.

pub mod chart;
pub mod due;
pub mod feed;
pub mod markup;
pub mod page;
pub mod statistics;
pub mod store;
