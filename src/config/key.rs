//! A key is described once: its name, what it may be, where it lies in the settings, and what it means.
//!
//! What reads a file, prints what is in effect, knows a misspelt key, and writes the documentation are all told by
//! these descriptions, so that a new key is one description. Its default is what the settings' own `Default` has.

use std::rc::Rc;

use super::codec::{Bad, Codec, Node};

/// The keys of one table.
pub(super) struct Section<S> {
    /// As it is written: `[decide]`; empty for the keys before the first table.
    pub(super) name: &'static str,
    pub(super) keys: Vec<Key<S>>,
    /// The tables below it, by their keys.
    pub(super) tables: &'static [&'static str],
}

/// What is known of a table whatever its settings are.
pub(super) struct Listed {
    /// As it is written.
    pub(super) name: &'static str,
    /// Its keys, and the tables below it.
    pub(super) keys: Vec<&'static str>,
    /// What DenyHosts called some of them, in capitals, and what they are here.
    pub(super) denyhosts: Vec<(&'static str, &'static str)>,
}

impl<S> Section<S> {
    pub(super) fn listed(&self) -> Listed {
        Listed {
            name: self.name,
            keys: self.keys.iter().map(|key| key.name).chain(self.tables.iter().copied()).collect(),
            denyhosts: self.keys.iter().filter_map(|key| Some((key.denyhosts?, key.name))).collect(),
        }
    }

    /// The table as a file would say it.
    pub(super) fn write(&self, settings: &mut S) -> String {
        let mut out = self.name.to_owned();
        for key in &self.keys {
            if let Some(value) = (key.show)(settings) {
                out += &format!("\n{} = {value}", key.name);
            }
        }
        out.trim_start().to_owned() + "\n"
    }
}

/// A key of the settings `S`.
pub(super) struct Key<S> {
    pub(super) name: &'static str,
    /// Reads its value, and takes it where it means anything.
    pub(super) set: Set<S>,
    /// Whether it means anything beside the others.
    pub(super) has_meaning: Ask<S, bool>,
    /// Its value, as TOML; `None` = it is left out.
    pub(super) show: Ask<S, Option<String>>,
    /// What to write where it is missing, if it must be there.
    pub(super) needed: Option<fn(&S) -> &'static str>,
    /// Beside what it has no meaning, in words.
    pub(super) except: Option<&'static str>,
    /// What DenyHosts called it, if that was much different, in capitals.
    pub(super) denyhosts: Option<&'static str>,
    /// What it means. Line ends and what follows them are one blank; an empty line parts paragraphs.
    pub(super) doc: &'static str,
    /// A value for the documentation, where the default says too little.
    pub(super) example: Option<&'static str>,
}

type Set<S> = Box<dyn Fn(&mut S, &Node<'_>) -> Result<(), Vec<Bad>>>;

/// What is asked of settings; they are not changed.
type Ask<S, T> = Box<dyn Fn(&mut S) -> T>;

impl<S> Key<S> {
    /// A key that has a meaning where `place` finds something: its value.
    pub(super) fn new<T: 'static>(
        name: &'static str,
        codec: Codec<T>,
        place: impl Fn(&mut S) -> Option<&mut T> + 'static,
    ) -> Self {
        let Codec { read, show } = codec;
        let place = Rc::new(place);
        let (to, at) = (Rc::clone(&place), Rc::clone(&place));
        let set = move |settings: &mut S, node: &Node<'_>| {
            let read = read(node)?;
            if let Some(value) = to(settings) {
                *value = read;
            }
            Ok(())
        };
        Key {
            name,
            set: Box::new(set),
            has_meaning: Box::new(move |settings| at(settings).is_some()),
            show: Box::new(move |settings| show(place(settings)?)),
            needed: None,
            except: None,
            denyhosts: None,
            doc: "",
            example: None,
        }
    }

    pub(super) fn needs(self, expected: fn(&S) -> &'static str) -> Self {
        Key { needed: Some(expected), ..self }
    }

    pub(super) fn except(self, reason: &'static str) -> Self {
        Key { except: Some(reason), ..self }
    }

    pub(super) fn denyhosts(self, name: &'static str) -> Self {
        Key { denyhosts: Some(name), ..self }
    }

    pub(super) fn says(self, doc: &'static str) -> Self {
        Key { doc, ..self }
    }

    pub(super) fn example(self, value: &'static str) -> Self {
        Key { example: Some(value), ..self }
    }
}
