//! Connections by their keys.
//!
//! A table of places beside rows that stay where they are. A hundred thousand connections that come and go make a
//! `HashMap` hold room for twice as many rows, and an `IndexMap` move a row for each that goes.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::connection::Connection;
use super::key::Key;

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Option<(Key, Connection)>>,
    /// Rows that hold nothing.
    free: Vec<u32>,
    /// Where in `rows` each key is.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many keys another table has, too.
    pub(super) fn in_both(&self, other: &Table) -> usize {
        let (few, many) = if self.len() < other.len() { (self, other) } else { (other, self) };
        few.rows.iter().flatten().filter(|(key, _)| many.contains(key)).count()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Connection> {
        let place = self.places.find(self.hasher.hash_one(key), |place| is_at(&self.rows, *place, key))?;
        self.rows[*place as usize].as_ref().map(|(_, connection)| connection)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Connection> {
        let place = self.places.find(self.hasher.hash_one(key), |place| is_at(&self.rows, *place, key))?;
        self.rows[*place as usize].as_mut().map(|(_, connection)| connection)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Where the connection of a key is, a new one where there is none: until the next is put in or taken out.
    pub(super) fn place_or_insert_with(&mut self, key: Key, new: impl FnOnce() -> Connection) -> u32 {
        let Table { rows, free, places, hasher } = self;
        let hash = |place: &u32| rows[*place as usize].as_ref().map_or(0, |(key, _)| hasher.hash_one(key));
        match places.entry(hasher.hash_one(key), |place| is_at(rows, *place, &key), hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(vacant) => {
                let place = free.pop().unwrap_or(rows.len() as u32);
                vacant.insert(place);
                if place as usize == rows.len() {
                    rows.push(None);
                }
                rows[place as usize] = Some((key, new()));
                place
            }
        }
    }

    /// The connection at a place.
    pub(super) fn at(&mut self, place: u32) -> &mut Connection {
        &mut self.rows[place as usize].as_mut().expect("a place has a row").1
    }

    pub(super) fn insert(&mut self, key: Key, connection: Connection) {
        self.remove(&key);
        self.place_or_insert_with(key, || connection);
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Connection> {
        let Table { rows, free, places, hasher } = self;
        let found = places.find_entry(hasher.hash_one(key), |place| is_at(rows, *place, key)).ok()?;
        let place = found.remove().0;
        free.push(place);
        rows[place as usize].take().map(|(_, connection)| connection)
    }
}

fn is_at(rows: &[Option<(Key, Connection)>], place: u32, key: &Key) -> bool {
    rows[place as usize].as_ref().is_some_and(|(other, _)| other == key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use inputs::record::{SourceId, Timestamp};

    use super::super::line::{HostId, Line};
    use super::*;

    /// Against a map whose only merit is to be right.
    #[test]
    fn finds_what_was_put_in_and_takes_no_more_rows_than_it_must() {
        let (mut table, mut known) = (Table::default(), BTreeMap::new());
        let mut random = kit::Random::new();
        for step in 0..20_000 {
            let pid = random.below(500);
            let key = Key::Pid(HostId(0), pid);
            let at = Timestamp(step);
            let line = Line { host: HostId(0), source: SourceId(0), pid: None, at, received: at, from: at };
            if random.one_in(2) {
                let is_new = !known.contains_key(&key);
                let place = table.place_or_insert_with(key, || Connection::new(&line, at));
                let connection = table.at(place);
                assert_eq!(is_new, connection.seen == at, "step {step}");
                connection.seen = at;
                known.insert(key, at);
            } else {
                assert_eq!(table.remove(&key).map(|connection| connection.seen), known.remove(&key), "step {step}");
            }
            assert_eq!(table.len(), known.len(), "step {step}");
        }
        assert!(table.rows.len() <= 500);
        for pid in 0..500 {
            let key = Key::Pid(HostId(0), pid);
            assert_eq!(table.get(&key).map(|connection| connection.seen), known.get(&key).copied());
        }
    }
}
