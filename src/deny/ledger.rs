//! What was written where, for as long as it may stand there: a place's lines that are ours, and the deny that each is for.
//!
//! It outlasts a change of back ends or of their settings, so that what was written can be taken back later. A back end
//! whose place holds nothing but denies, as nftables' table does, has no lines: the place is the list.

use std::collections::BTreeMap;

use crate::decide::prefix::Prefix;

/// Keeps small texts by their names; the database does.
pub trait Notes: Send {
    /// The text of this name.
    fn read(&mut self, name: &str) -> Result<Option<String>, String>;

    /// Keeps a text. Once it returns, the text outlasts a crash.
    fn write(&mut self, name: &str, text: &str) -> Result<(), String>;

    /// Forgets the text of this name, if there is one.
    fn forget(&mut self, name: &str) -> Result<(), String>;
}

/// Lines that are ours, and which deny each is for.
pub type Lines = BTreeMap<String, Prefix>;

/// The note of a ledger of earlier versions, and what says which deny a line of it is for.
pub(super) type Old<'a> = (&'a str, fn(&str) -> Option<Prefix>);

/// The ledger of one place.
pub struct Ledger {
    /// The note that it is in.
    note: String,
    lines: Lines,
    notes: Box<dyn Notes>,
}

impl Ledger {
    /// The ledger of a place, `hosts.deny /etc/hosts.deny`, which is noted from now on.
    ///
    /// The ledger of earlier versions was a list of lines without their place; `old` names that note and says which deny a
    /// line is for. Its lines go to this place.
    pub(super) fn open(place: &str, mut notes: Box<dyn Notes>, old: Option<Old<'_>>) -> Result<Ledger, String> {
        let note = note(place);
        let bad = |error: serde_json::Error| error.to_string();
        if let Some(known) = notes.read(&note)? {
            return Ok(Ledger { note, lines: serde_json::from_str(&known).map_err(bad)?, notes });
        }
        let mut ledger = Ledger { note, lines: Lines::new(), notes };
        let Some((name, deny)) = old else {
            // Where it cannot be kept, that is no reason to deny nobody.
            if let Err(error) = ledger.write() {
                tracing::warn!(place, error, "it cannot be noted that denies are written there; make room");
            }
            return Ok(ledger);
        };
        let known = ledger.notes.read(name)?;
        for line in serde_json::from_str::<Vec<String>>(known.as_deref().unwrap_or("[]")).map_err(bad)? {
            let prefix = deny(&line).ok_or_else(|| format!("{line:?} denies nobody"))?;
            ledger.lines.insert(line, prefix);
        }
        ledger.write()?;
        if known.is_some() {
            // Or another place would take these lines for its own.
            ledger.notes.write(name, "[]")?;
        }
        Ok(ledger)
    }

    /// The lines in it.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// Keeps these lines instead; writes nothing if they are the same.
    pub(super) fn keep(&mut self, lines: Lines) -> Result<(), String> {
        let before = std::mem::replace(&mut self.lines, lines);
        if before == self.lines {
            return Ok(());
        }
        self.write().inspect_err(|_| self.lines = before)
    }

    /// What else was remembered of the place, by the name of that.
    pub(super) fn remembered(&mut self, what: &str) -> Result<Option<String>, String> {
        let name = self.beside(what);
        self.notes.read(&name)
    }

    /// Remembers something else of the place.
    pub(super) fn remember(&mut self, what: &str, text: &str) -> Result<(), String> {
        let name = self.beside(what);
        self.notes.write(&name, text)
    }

    fn beside(&self, what: &str) -> String {
        format!("{what} {}", self.note.strip_prefix(NOTE).unwrap_or(&self.note))
    }

    fn write(&mut self) -> Result<(), String> {
        let text = serde_json::to_string(&self.lines).map_err(|error| error.to_string())?;
        self.notes.write(&self.note, &text)
    }
}

/// What the names of its notes begin with; the place follows.
const NOTE: &str = "written ";

/// A ledger without lines.
pub const NOTHING: &str = "{}";

/// The note that is the ledger of a place.
pub fn note(place: &str) -> String {
    format!("{NOTE}{place}")
}

/// The place of which the note of that name is the ledger.
pub fn place(note: &str) -> Option<&str> {
    note.strip_prefix(NOTE)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Notes that nobody writes down.
    #[derive(Clone, Default)]
    pub(in crate::deny) struct Memory(pub(in crate::deny) Arc<Mutex<BTreeMap<String, String>>>);

    impl Notes for Memory {
        fn read(&mut self, name: &str) -> Result<Option<String>, String> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }

        fn write(&mut self, name: &str, text: &str) -> Result<(), String> {
            self.0.lock().unwrap().insert(name.to_owned(), text.to_owned());
            Ok(())
        }

        fn forget(&mut self, name: &str) -> Result<(), String> {
            self.0.lock().unwrap().remove(name);
            Ok(())
        }
    }

    #[test]
    fn a_ledger_without_places_is_read_once() {
        let memory = Memory::default();
        memory.clone().write("old", r#"["sshd: 192.0.2.1","sshd: 192.0.2.9"]"#).unwrap();
        let deny = |line: &str| line.strip_prefix("sshd: ")?.parse().ok();
        let open = |place: &str| Ledger::open(place, Box::new(memory.clone()), Some(("old", deny))).unwrap();
        let one = |host: &str| (format!("sshd: {host}"), host.parse().unwrap());
        let both = Lines::from([one("192.0.2.1"), one("192.0.2.9")]);
        assert_eq!(open("hosts.deny /a").lines(), &both);
        assert_eq!(open("hosts.deny /b").lines(), &Lines::new(), "they are not in another file");
        open("hosts.deny /b").keep(Lines::from([one("192.0.2.1")])).unwrap();
        assert_eq!(open("hosts.deny /a").lines(), &both, "what stands in the first file is not forgotten");
        assert_eq!(
            memory.clone().read("written hosts.deny /b").unwrap().unwrap(),
            r#"{"sshd: 192.0.2.1":"192.0.2.1"}"#
        );
        memory.clone().write("old", r#"["ALL: PARANOID"]"#).unwrap();
        assert!(Ledger::open("hosts.deny /c", Box::new(memory), Some(("old", deny))).is_err());
    }
}
