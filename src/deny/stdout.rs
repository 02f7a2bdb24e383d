//! Prints what would be denied, and denies nothing: for `--dry-run`.
//!
//! One line a change, `deny PREFIX until TIME` (or `forever`) and `release PREFIX`. Only parsed prefixes are
//! printed, so nothing needs escaping. Allowed ranges are not printed.

use std::collections::BTreeMap;
use std::io::Write;

use inputs::record::Timestamp;

use crate::decide::prefix::Prefix;

use super::{DenyBackend, DenyError, DenySet, Diff, Life, Until};

/// The back end that only prints, to standard output or any other writer.
#[derive(Debug)]
pub struct Stdout<W> {
    out: W,
    /// What was printed as denied and not yet as released.
    shown: BTreeMap<Prefix, Until>,
}

impl<W: Write + Send> Stdout<W> {
    /// Prints to `out`, which is flushed after each call.
    pub fn new(out: W) -> Self {
        Stdout { out, shown: BTreeMap::new() }
    }

    /// Prints what `prefix` has become, if that is news.
    fn show(&mut self, prefix: Prefix, want: &DenySet, now: Timestamp) -> std::io::Result<()> {
        let wanted = want.denied.get(&prefix).copied().filter(|&until| Life::left(until, now) != Life::Over);
        if wanted == self.shown.get(&prefix).copied() {
            return Ok(());
        }
        match wanted {
            Some(Some(end)) => writeln!(self.out, "deny {prefix} until {end}")?,
            Some(None) => writeln!(self.out, "deny {prefix} forever")?,
            None => writeln!(self.out, "release {prefix}")?,
        }
        match wanted {
            Some(until) => self.shown.insert(prefix, until),
            None => self.shown.remove(&prefix),
        };
        Ok(())
    }

    fn show_all(&mut self, prefixes: Vec<Prefix>, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let printed = prefixes.into_iter().try_for_each(|prefix| self.show(prefix, want, now));
        printed.and_then(|()| self.out.flush()).map_err(|error| DenyError::new(NAME, "print", error))
    }
}

impl<W: Write + Send> DenyBackend for Stdout<W> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let gone = self.shown.keys().filter(|prefix| !want.denied.contains_key(prefix)).copied();
        let prefixes = gone.chain(want.denied.keys().copied()).collect();
        self.show_all(prefixes, want, now)
    }

    fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        self.show_all(diff.denies.keys().copied().collect(), want, now)
    }
}

pub(super) const NAME: &str = "stdout";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_changes_only() {
        let mut backend = Stdout::new(Vec::new());
        let p = |text: &str| text.parse::<Prefix>().unwrap();
        let now = Timestamp::from_secs(1_000_000_000);
        let end = Some(Timestamp::from_secs(1_000_000_060));
        let mut want = DenySet::default();
        want.denied.insert(p("192.0.2.1"), end);
        want.denied.insert(p("192.0.2.2"), Some(now)); // has ended
        want.denied.insert(p("2001:db8::/64"), None);
        backend.replace(&want, now).unwrap();
        backend.replace(&want, now).unwrap();
        want.denied.remove(&p("192.0.2.1"));
        let diff = Diff { denies: [(p("192.0.2.1"), None), (p("192.0.2.9"), None)].into(), ..Diff::default() };
        backend.update(&diff, &want, now).unwrap();
        backend.replace(&DenySet::default(), now).unwrap();
        let want = "deny 192.0.2.1 until 2001-09-09T01:47:40Z\ndeny 2001:db8::/64 forever\nrelease 192.0.2.1\nrelease 2001:db8::/64\n";
        assert_eq!(String::from_utf8(backend.out).unwrap(), want);
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let want = DenySet { denied: [("192.0.2.1".parse().unwrap(), None)].into(), ..DenySet::default() };
        let error = Stdout::new(full).replace(&want, Timestamp(1)).unwrap_err();
        assert_eq!(error.to_string(), "stdout: cannot print: No space left on device (os error 28)");
    }
}
