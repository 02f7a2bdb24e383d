//! What failures counted: the newest of each prefix are kept, for people who ask why.

use std::collections::{BTreeMap, BTreeSet};

use inputs::record::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::load::{each, prefix_of};
use super::{Database, Store, StoreError};
use crate::decide::attempt::Attempt;
use crate::decide::prefix::Prefix;
use crate::decide::session::HostId;
use crate::decide::state::{State, USER_MAX};

/// Evidence that is kept for one prefix.
const EVIDENCE_PER_PREFIX: usize = 20;
/// Evidence that is kept in all.
pub(super) const EVIDENCE_MAX: i64 = 200_000;
/// Bytes of a message that are kept as evidence.
pub(super) const EVIDENCE_BYTES: usize = 512;

/// One counted failure, as `why` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Whose counter it moved.
    pub prefix: Prefix,
    /// When.
    pub at: Timestamp,
    /// On which origin host.
    pub host: HostId,
    /// Which input delivered it.
    pub source: String,
    /// The message, at most [`EVIDENCE_BYTES`].
    pub message: Vec<u8>,
    /// As whom, at most [`USER_MAX`] bytes; empty if no line named one.
    pub user: Vec<u8>,
    /// How many attempts the message tells of.
    pub times: u32,
    /// How many of them are certain; 0 where it is read back, since that is kept by [`Pair`](super::Pair) alone.
    pub sound: u32,
}

impl Evidence {
    /// What is kept of an attempt that the input `source` told of, by `message`.
    pub fn of(attempt: &Attempt<'_>, source: &str, message: &[u8]) -> Self {
        let message = message[..message.len().min(EVIDENCE_BYTES)].to_vec();
        let Attempt { prefix, at, host, times, sound, ref user, .. } = *attempt;
        let user = user[..user.len().min(USER_MAX)].to_vec();
        Evidence { prefix, at, host, source: source.to_owned(), message, user, times, sound }
    }
}

impl Store {
    /// The newest evidence on the prefixes that hold `address` or lie in it, oldest first.
    pub fn evidence(&self, prefixes: &[Prefix]) -> Result<Vec<Evidence>, StoreError> {
        let read = || -> rusqlite::Result<Vec<Evidence>> {
            let mut found = Vec::new();
            let mut query = self.database.db.prepare_cached(
                "SELECT at, host, source, message, coalesce(user, x''), times FROM evidence WHERE prefix = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            for prefix in prefixes {
                let one = |row: &Row<'_>| {
                    let (at, host) = (Timestamp(row.get(0)?), HostId(row.get(1)?));
                    let (source, message, user, times) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
                    Ok(Evidence { prefix: *prefix, at, host, source, message, user, times, sound: 0 })
                };
                for one in query.query_map(params![prefix.to_bytes(), EVIDENCE_PER_PREFIX as i64], one)? {
                    found.push(one?);
                }
            }
            // Those of one second stay in the order in which they came.
            found.reverse();
            found.sort_by_key(|evidence| evidence.at);
            Ok(found)
        };
        read().map_err(|error| self.error("cannot read evidence", error))
    }

    /// Of each prefix, what its messages are to `is_it`, which may say of none.
    pub fn evidence_that(
        &self,
        is_it: impl Fn(&[u8]) -> Option<bool>,
    ) -> Result<BTreeMap<Prefix, BTreeSet<bool>>, StoreError> {
        let mut found: BTreeMap<Prefix, BTreeSet<bool>> = BTreeMap::new();
        let read = each(&self.database.db, "SELECT prefix, message FROM evidence", |row| {
            if let (Some(prefix), Some(is)) = (prefix_of(row, 0)?, is_it(row.get_ref(1)?.as_bytes()?)) {
                found.entry(prefix).or_default().insert(is);
            }
            Ok(())
        });
        read.map_err(|error| self.error("cannot read evidence", error))?;
        Ok(found)
    }
}

impl Database {
    /// On which hosts what is kept of each of these prefixes happened: looked for one by one, since of a long list most
    /// often few are shown.
    pub fn hosts_of(&self, prefixes: &[Prefix]) -> Result<Vec<BTreeSet<HostId>>, StoreError> {
        let read = || -> rusqlite::Result<Vec<BTreeSet<HostId>>> {
            let mut query = self.db.prepare_cached("SELECT host FROM evidence WHERE prefix = ?1")?;
            let hosts =
                |prefix: &Prefix| query.query_map([prefix.to_bytes()], |row| Ok(HostId(row.get(0)?)))?.collect();
            prefixes.iter().map(hosts).collect()
        };
        read().map_err(|error| self.error("cannot read evidence", error))
    }
}

/// Writes evidence and keeps only the newest of each prefix, and up to twice as many; returns by how many
/// rows the table grew.
pub(super) fn write(tx: &Transaction<'_>, evidence: &[Evidence], state: &State) -> rusqlite::Result<i64> {
    let mut grown = 0;
    let mut evidence: Vec<&Evidence> = evidence.iter().collect();
    evidence.sort_by_key(|one| one.prefix);
    for all in evidence.chunk_by(|one, other| one.prefix == other.prefix) {
        let prefix = all[0].prefix;
        // Of a flood in one batch only what would be kept is written at all.
        let newest = &all[all.len().saturating_sub(EVIDENCE_PER_PREFIX)..];
        for one in newest {
            let message = &one.message[..one.message.len().min(EVIDENCE_BYTES)];
            let sql =
                "INSERT INTO evidence(prefix, at, host, source, message, user, times) VALUES(?1,?2,?3,?4,?5,?6,?7)";
            let row = params![prefix.to_bytes(), one.at.0, one.host.0, one.source, message, one.user, one.times];
            tx.prepare_cached(sql)?.execute(row)?;
            grown += 1;
        }
        // To remove one row for each that is added would cost more than all the rest. Whoever failed so seldom has no
        // more than are kept; of the others it is done when they have failed as often again. A restricted user's
        // failure counts twice.
        let failures = state.tallies.get(&prefix).map(|tally| tally.failures() as usize);
        if failures.is_some_and(|n| n <= EVIDENCE_PER_PREFIX || n % EVIDENCE_PER_PREFIX >= 2 * all.len()) {
            continue;
        }
        let removed = tx
            .prepare_cached(
                "DELETE FROM evidence WHERE prefix = ?1 AND id <=
                 (SELECT id FROM evidence WHERE prefix = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            )?
            .execute(params![prefix.to_bytes(), EVIDENCE_PER_PREFIX as i64])?;
        grown -= removed as i64;
    }
    Ok(grown)
}

/// Removes the oldest rows when there are a twentieth more than the bound: first of those of whom nothing is certain.
pub(super) fn trim(tx: &Transaction<'_>, rows: &mut i64, most: i64) -> rusqlite::Result<()> {
    if *rows > most + most / 20 {
        let forgeable = "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence LEFT JOIN tallies USING (prefix)
                         WHERE tallies.prefix IS NULL OR sound = x'0000000000' ORDER BY id LIMIT ?1)";
        let any = "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence ORDER BY id LIMIT ?1)";
        for sql in [forgeable, any] {
            *rows -= tx.execute(sql, [(*rows - most).max(0)])? as i64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_forged_goes_first() {
        let mut db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(
            "CREATE TABLE tallies(prefix BLOB PRIMARY KEY, sound BLOB);
             CREATE TABLE evidence(id INTEGER PRIMARY KEY, prefix BLOB NOT NULL);
             INSERT INTO tallies VALUES(x'01', x'0000000000'), (x'02', x'0001000000'), (x'03', NULL);
             INSERT INTO evidence(prefix) VALUES(x'02'), (x'01'), (x'03'), (x'04'), (x'01'), (x'02');",
        )
        .unwrap();
        let mut check = |most: i64, want: &[i64]| {
            let tx = db.transaction().unwrap();
            let mut rows = tx.query_row("SELECT count(*) FROM evidence", [], |row| row.get(0)).unwrap();
            trim(&tx, &mut rows, most).unwrap();
            tx.commit().unwrap();
            let mut query = db.prepare("SELECT id FROM evidence ORDER BY id").unwrap();
            let left: Vec<i64> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
            assert_eq!((left.as_slice(), rows), (want, want.len() as i64));
        };
        check(6, &[1, 2, 3, 4, 5, 6]);
        check(4, &[1, 3, 5, 6]);
        // Nobody knows better of one that an old version counted.
        check(2, &[3, 6]);
    }
}
