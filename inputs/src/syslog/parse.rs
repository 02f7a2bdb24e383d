//! Makes a record of a line or frame.
use crate::record::{Batch, Frame, Record};

/// How the lines of an input are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Told apart per line: syslog with or without priority, RFC 3164, RFC 5424, RFC 3339 stamps; multilog's TAI64N; metalog's `[program]`.
    #[default]
    Auto,
    /// A bare message without any header: each line is all message, of sshd.
    Message,
}

/// Makes records of the lines of one input.
pub struct Parser {
    _format: Format,
}

impl Parser {
    /// A parser for an input whose stamps without zone are of `zone`.
    pub fn new(format: Format, zone: jiff::tz::TimeZone) -> Self {
        let _ = zone;
        Parser { _format: format }
    }

    /// The record that a frame holds. It cannot fail: what has no known header is all message.
    pub fn record<'a>(&mut self, batch: &'a Batch, frame: Frame) -> Record<'a> {
        let message = batch.bytes(frame);
        Record {
            source: batch.source,
            sender: batch.sender(frame),
            host: b"",
            received: batch.received,
            event: None,
            identifier: b"",
            pid: None,
            message,
            truncated: frame.truncated,
        }
    }
}
