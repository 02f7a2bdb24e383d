//! Whether a log that has records tells anything: a log that nobody understands looks like one in which nothing happens.

use std::time::Duration;

use inputs::record::{Record, Timestamp};

/// Bytes of a line that are kept.
const EXAMPLE_MAX: usize = 300;
/// Records that are not understood of which one is looked for that a service wrote: no longer, since each look costs time.
const LOOKED_AT: u32 = 10_000;
/// A warning comes so often at most.
const WARNED_EVERY: Duration = Duration::from_secs(86_400);
/// What a service's line holds, however its header is written. Anybody can write that, so it is a warning and never more.
const MARKS: [&[u8]; 4] = [b" sshd[", b" sshd:", b"dropbear[", b"Failed password for"];

/// What was seen of the records of which none was understood.
#[derive(Debug, Default)]
pub struct Sight {
    looked_at: u32,
    marked: bool,
    warned: Option<Timestamp>,
    /// The beginning of one of them: of one that looks like a service's, if there was one.
    pub example: Option<Box<[u8]>>,
}

impl Sight {
    /// A record was not understood.
    #[inline]
    pub fn miss(&mut self, record: &Record<'_>) {
        if self.looked_at < LOOKED_AT && !self.marked {
            self.look(record);
        }
    }

    fn look(&mut self, record: &Record<'_>) {
        self.looked_at += 1;
        self.marked = MARKS.iter().any(|mark| memchr::memmem::find(record.message, mark).is_some());
        if (self.marked || self.example.is_none()) && !record.message.is_empty() {
            self.example = Some(record.message[..record.message.len().min(EXAMPLE_MAX)].into());
        }
    }

    /// As many may be looked at again: some time has passed.
    pub fn rest(&mut self) {
        self.looked_at = 0;
    }

    /// The line that looks like a service's, if none of the records was understood: the input is as good as not there.
    pub fn blind(&self, understood: u64) -> Option<&[u8]> {
        self.example.as_deref().filter(|_| self.marked && understood == 0)
    }

    /// Whether to warn of that now: once a day.
    pub fn warns(&mut self, understood: u64, now: Timestamp) -> bool {
        let due = self.blind(understood).is_some() && self.warned.is_none_or(|at| at.after(WARNED_EVERY) <= now);
        if due {
            self.warned = Some(now);
        }
        due
    }

    /// Whether one of them looks like a service's.
    pub fn is_marked(&self) -> bool {
        self.marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_line_that_looks_like_a_services() {
        let check = |messages: &[&str], want: Option<&str>, marked| {
            let mut sight = Sight::default();
            messages.iter().for_each(|message| sight.miss(&Record::of(b"", message.as_bytes())));
            assert_eq!(sight.example.as_deref(), want.map(str::as_bytes), "{messages:?}");
            assert_eq!(sight.is_marked(), marked, "{messages:?}");
        };
        check(&[], None, false);
        check(&["", "a", "b"], Some("a"), false);
        check(&["a", "x sshd[1] y", "z sshd: b"], Some("x sshd[1] y"), true);
        check(&["a", "dropbear[1]"], Some("dropbear[1]"), true);
        let long = "x".repeat(1_000);
        check(&[&long], Some(&long[..300]), false);
    }

    #[test]
    fn one_warning_a_day_while_none_is_understood() {
        let mut sight = Sight::default();
        let mut check = |message: &str, understood, hours: i64, want| {
            sight.miss(&Record::of(b"", message.as_bytes()));
            assert_eq!(sight.warns(understood, Timestamp::from_secs(hours * 3_600)), want, "{message} {hours}");
        };
        check("x", 0, 0, false);
        check("h sshd[1] x", 1, 0, false);
        check("x", 0, 1, true);
        check("x", 0, 24, false);
        check("x", 1, 25, false);
        check("x", 0, 25, true);
    }

    #[test]
    fn the_look_has_an_end() {
        let mut sight = Sight::default();
        (0..LOOKED_AT).for_each(|_| sight.miss(&Record::of(b"", b"x")));
        sight.miss(&Record::of(b"", b"h sshd[1]"));
        assert!(!sight.is_marked());
        sight.rest();
        sight.miss(&Record::of(b"", b"h sshd[1]"));
        assert!(sight.is_marked());
    }
}
