//! What the tests of the journal share: records as rows, and the oracle.

use std::fmt;
use std::time::Duration;

use inputs::input::{Bell, Input, Wake};
use inputs::record::{Batch, Record, Sender};
use serde_json::Value;

/// The longest message that a record keeps.
const MESSAGE_MAX: usize = inputs::record::LINE_MAX;

/// A record, owned.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub micros: i64,
    pub uid: Option<u32>,
    pub pid: Option<u32>,
    pub stdout: bool,
    pub identifier: Vec<u8>,
    pub host: Vec<u8>,
    pub message: Vec<u8>,
    pub truncated: bool,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { micros, uid, pid, stdout, truncated, .. } = self;
        let (identifier, host) = (self.identifier.escape_ascii(), self.host.escape_ascii());
        write!(f, "{micros} uid={uid:?} pid={pid:?} stdout={stdout} {identifier}@{host} cut={truncated} ")?;
        write!(f, "[{}] {}", self.message.len(), self.message[..self.message.len().min(200)].escape_ascii())
    }
}

impl Row {
    /// As text: bytes that are none replaced.
    pub(crate) fn lossy(mut self) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned().into_bytes();
        self.message = text(&self.message);
        self.truncated |= self.message.len() > MESSAGE_MAX;
        self.message.truncate(MESSAGE_MAX);
        (self.identifier, self.host) = (text(&self.identifier), text(&self.host));
        self
    }
}

/// The records of a batch of the journal.
pub(crate) fn rows(batch: &Batch) -> Vec<Row> {
    let row = |record: Record<'_>| Row {
        micros: record.event.unwrap().0,
        uid: match record.sender {
            other if *other == Sender::NOBODY => None,
            Sender::Uid(uid) => Some(*uid),
            _ => panic!("a journal knows no other senders"),
        },
        pid: record.pid,
        stdout: record.stdout,
        identifier: record.identifier.to_vec(),
        host: record.host.to_vec(),
        message: record.message.to_vec(),
        truncated: record.truncated,
    };
    batch.records().map(row).collect()
}

/// Waits until an input may have more, or for so long.
pub(crate) fn wait(input: &mut dyn Input, at_most: Duration) {
    let wake = input.wake();
    Bell::new().unwrap().wait(Wake { within: wake.within.min(at_most), ..wake });
}

/// What `journalctl -o json --all` says, read without our own readers.
pub(crate) fn rows_of_json(text: &[u8]) -> Vec<Row> {
    let bytes = |value: &Value| match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(items) => match &items[0] {
            Value::Number(_) => items.iter().map(|item| item.as_u64().unwrap() as u8).collect(),
            Value::String(first) => first.clone().into_bytes(),
            Value::Array(first) => first.iter().map(|item| item.as_u64().unwrap() as u8).collect(),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let row = |line: &[u8]| {
        let fields: Value = serde_json::from_slice(line).unwrap();
        let field = |name: &str| fields.get(name).map(bytes);
        let number = |name: &str| Some(String::from_utf8(field(name)?).unwrap().parse::<u64>().unwrap());
        let mut message = field("MESSAGE").unwrap_or_default();
        let truncated = message.len() > MESSAGE_MAX;
        message.truncate(MESSAGE_MAX);
        Row {
            micros: number("__REALTIME_TIMESTAMP").unwrap() as i64,
            uid: number("_UID").map(|uid| uid as u32),
            pid: number("_PID").map(|pid| pid as u32),
            stdout: field("_TRANSPORT").is_some_and(|transport| transport == b"stdout"),
            identifier: field("SYSLOG_IDENTIFIER").unwrap_or_default(),
            host: field("_HOSTNAME").unwrap_or_default(),
            message,
            truncated,
        }
    };
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(row).collect()
}

/// Says the first difference instead of two thousand rows.
pub(crate) fn assert_same(what: &str, got: &[Row], want: &[Row]) {
    for (at, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want, "{what}: entry {at}\n got {got:?}\nwant {want:?}");
    }
    assert_eq!(got.len(), want.len(), "{what}: entries");
}
