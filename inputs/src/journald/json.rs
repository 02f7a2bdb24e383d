//! Reads what `journalctl -o json` prints: an object a line. A value is a string, an array of byte numbers where it is
//! no text, an array of such values where the field has several, or null where it was too long to be shown. Also what
//! `-o json-seq` and `-o json-sse` print, which put something before each object.
//!
//! A line is parsed whole, so it is bounded: longer ones are counted as damaged and passed over.

use serde_json::{Map, Value};

use super::entry::{Entry, Field, number};

/// The longest line that is read, in bytes. `journalctl` itself shows no value longer than 4096 bytes without `--all`.
pub(super) const LINE_MAX: usize = 1 << 20;

/// Reads a line into `entry`, which is cleared before; `None` of one that is no entry.
pub(super) fn line(line: &[u8], entry: &mut Entry) -> Option<()> {
    entry.clear();
    let fields: Map<String, Value> = serde_json::from_slice(object(line)).ok()?;
    entry.realtime = number(fields.get("__REALTIME_TIMESTAMP")?.as_str()?.as_bytes())?;
    for (name, value) in &fields {
        if let Some(field) = Field::of(name.as_bytes()) {
            take(field, value, entry);
        }
    }
    Some(())
}

/// A line without what `json-seq` (RFC 7464) and `json-sse` put before the object.
pub(super) fn object(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\x1e").or_else(|| line.strip_prefix(b"data: ")).unwrap_or(line)
}

fn take(field: Field, value: &Value, entry: &mut Entry) {
    match value {
        Value::String(text) => entry.set(field, text.as_bytes()),
        Value::Array(items) => match items.first() {
            Some(Value::Number(_)) => {
                let byte = |item: &Value| item.as_u64().and_then(|byte| u8::try_from(byte).ok());
                if let Some(bytes) = items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                    entry.set(field, &bytes);
                }
            }
            Some(first) if !first.is_array() || !nested(first) => take(field, first, entry),
            _ => {}
        },
        _ => {}
    }
}

/// Whether an array holds arrays: a value does not, and a hostile one could hold them to any depth.
fn nested(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().any(Value::is_array))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Batch;

    fn check(text: &str, want: Option<&str>) {
        let mut entry = Entry::default();
        let got = line(text.as_bytes(), &mut entry).map(|()| {
            let mut batch = Batch::default();
            entry.push(&mut batch);
            let record = batch.record(0);
            format!("{} {:?} {}", entry.realtime, record.sender, record.message.escape_ascii())
        });
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn reads_a_line() {
        let time = r#""__REALTIME_TIMESTAMP":"7""#;
        check(&format!(r#"{{{time},"MESSAGE":"a\u00e4","_UID":"0"}}"#), Some(r"7 Uid(0) a\xc3\xa4"));
        check(&format!("\x1e{{{time},\"MESSAGE\":\"m\"}}"), Some("7 Uid(4294967295) m"));
        check(&format!("data: {{{time},\"MESSAGE\":\"m\"}}"), Some("7 Uid(4294967295) m"));
        check(&format!(r#"{{"MESSAGE":[97,10,255,0],{time}}}"#), Some(r"7 Uid(4294967295) a\n\xff\x00"));
        check(&format!(r#"{{"MESSAGE":null,{time}}}"#), Some("7 Uid(4294967295) "));
        check(&format!(r#"{{"MESSAGE":["one","two"],"_UID":["65534","0"],{time}}}"#), Some("7 Uid(65534) one"));
        check(&format!(r#"{{"MESSAGE":[[97],"two"],{time}}}"#), Some("7 Uid(4294967295) a"));
        check(&format!(r#"{{"MESSAGE":[256],{time}}}"#), Some("7 Uid(4294967295) "));
        check(&format!(r#"{{"MESSAGE":[[[97]]],{time}}}"#), Some("7 Uid(4294967295) "));
        check(&format!(r#"{{"MESSAGE":{{"a":1}},{time}}}"#), Some("7 Uid(4294967295) "));
        for text in ["", "{}", "[]", "null", "{\"__REALTIME_TIMESTAMP\":7}", "{\"__REALTIME_TIMESTAMP\":\"x\"}", "{"] {
            check(text, None);
        }
        check(&format!("{}{}", "[".repeat(1000), "]".repeat(1000)), None);
    }
}
