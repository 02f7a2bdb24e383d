//! Which user was tried, or logged in, from where: how often, and when last. DenyHosts had that in `users-hosts`.
//!
//! It is kept here alone: nothing is decided by it. What failed comes with the messages that are kept as evidence.

use std::collections::BTreeMap;

use inputs::record::Timestamp;
use rusqlite::{Connection, Row, Transaction, params};

use super::evidence::Evidence;
use super::load::{prefix_of, text_as};
use super::write::run;
use super::{Database, StoreError};
use crate::decide::prefix::Prefix;
use crate::decide::rooms::forgeable;
use crate::decide::state::{Change, USER_MAX};
use crate::detect::event::Account;

/// Users with an address that are remembered.
pub const PAIRS_MAX: i64 = 100_000;
/// Of them, those of which nothing is certain: strangers may have made them up.
pub const FORGEABLE_PAIRS_MAX: i64 = forgeable(PAIRS_MAX as usize) as i64;
/// Of them, those of one prefix: whoever tries a dictionary pushes out nobody else's.
pub const PAIRS_PER_PREFIX: i64 = 100;

/// A user and a prefix from which it was tried, or logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Whom.
    pub user: Vec<u8>,
    /// What is known of the account.
    pub account: Account,
    /// From where.
    pub prefix: Prefix,
    /// How often it failed since it was forgiven last.
    pub attempts: u64,
    /// The last time.
    pub last: Timestamp,
    /// The last good login.
    pub login: Option<Timestamp>,
    /// Whether it is denied.
    pub denied: bool,
}

/// Which pairs are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of prefixes in this one.
    pub within: Option<Prefix>,
    /// Of this user: then the last come first, else who was tried most often.
    pub user: Option<Vec<u8>>,
}

impl Database {
    /// The first `most` users with the prefixes from which they were tried or logged in.
    pub fn pairs(&self, wanted: &Wanted, now: Timestamp, most: usize) -> Result<Vec<Pair>, StoreError> {
        let order = match wanted.user {
            Some(_) => "max(last, coalesce(login, 0)) DESC, prefix",
            None => "attempts DESC, last DESC, prefix, user",
        };
        let sql = format!(
            "SELECT user, prefix, attempts, last, login, EXISTS (SELECT 1 FROM denies
                 WHERE denies.prefix = pairs.prefix AND enforceable AND (until IS NULL OR until > ?5)),
                 coalesce((SELECT account FROM users WHERE name = user), 'unsaid')
             FROM pairs WHERE (?1 IS NULL OR prefix BETWEEN ?1 AND ?2) AND (?3 IS NULL OR user = ?3)
             ORDER BY {order} LIMIT ?4"
        );
        let first = wanted.within.map(|prefix| prefix.to_bytes());
        let last = wanted.within.map(|prefix| Prefix::host(prefix.last()).to_bytes());
        let row = |row: &Row<'_>| {
            let (user, attempts, last) = (row.get(0)?, row.get::<_, i64>(2)?.unsigned_abs(), Timestamp(row.get(3)?));
            let (login, denied) = (row.get::<_, Option<i64>>(4)?.map(Timestamp), row.get(5)?);
            let account = text_as(row, 6)?;
            Ok(prefix_of(row, 1)?.map(|prefix| Pair { user, account, prefix, attempts, last, login, denied }))
        };
        let read = || -> rusqlite::Result<Vec<Pair>> {
            let mut query = self.db.prepare_cached(&sql)?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            query
                .query_map(params![first, last, wanted.user, most, now.0], row)?
                .filter_map(Result::transpose)
                .collect()
        };
        read().map_err(|error| self.error("cannot read who was tried from where", error))
    }

    /// The first `most` prefixes that were released, with how often and when last, where that is known; the most often first.
    pub fn released(&self, within: Option<Prefix>, most: usize) -> Result<Vec<Released>, StoreError> {
        let sql = "SELECT prefix, times, last FROM released WHERE ?1 IS NULL OR prefix BETWEEN ?1 AND ?2
                   ORDER BY times DESC, last DESC, prefix LIMIT ?3";
        let first = within.map(|prefix| prefix.to_bytes());
        let last = within.map(|prefix| Prefix::host(prefix.last()).to_bytes());
        let row = |row: &Row<'_>| {
            let (times, last) = (row.get(1)?, row.get::<_, Option<i64>>(2)?.map(Timestamp));
            Ok(prefix_of(row, 0)?.map(|prefix| Released { prefix, times, last }))
        };
        let read = || -> rusqlite::Result<Vec<Released>> {
            let mut query = self.db.prepare_cached(sql)?;
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            query.query_map(params![first, last, most], row)?.filter_map(Result::transpose).collect()
        };
        read().map_err(|error| self.error("cannot read who was released", error))
    }
}

/// How often a prefix was released: it had served its deny. DenyHosts' `purge-history`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// Which.
    pub prefix: Prefix,
    /// How often.
    pub times: u32,
    /// When last; `None` of what an earlier version kept.
    pub last: Option<Timestamp>,
}

/// How often a user failed from a prefix, by what one commit writes.
#[derive(Default)]
struct Failed {
    times: i64,
    sound: i64,
    last: i64,
}

/// How many pairs there are.
pub(super) fn count(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("SELECT count(*) FROM pairs", [], |row| row.get(0))
}

/// Notes what failed, who logged in, and what people forgave; forgets the oldest where there are too many. `rows` is how many
/// there are. Returns how many were forgotten.
pub(super) fn write(
    tx: &Transaction<'_>,
    evidence: &[Evidence],
    changes: &[Change],
    rows: &mut i64,
    most: i64,
) -> rusqlite::Result<u64> {
    let mut failed: BTreeMap<(Prefix, &[u8]), Failed> = BTreeMap::new();
    for one in evidence {
        let known = failed.entry((one.prefix, &one.user)).or_default();
        known.times += i64::from(one.times);
        known.sound += i64::from(one.sound);
        known.last = known.last.max(one.at.0);
    }
    let mut gone = 0;
    let mut is_crowded = false;
    for ((prefix, user), Failed { times, sound, last }) in failed {
        is_crowded |= sound == 0;
        let sql = "INSERT INTO pairs(prefix, user, attempts, sound, last) VALUES(?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET attempts = attempts + ?3, sound = sound + ?4, last = max(last, ?5)
                   RETURNING attempts = ?3 AND login IS NULL";
        let row = params![prefix.to_bytes(), user, times, sound, last];
        if tx.prepare_cached(sql)?.query_row(row, |row| row.get::<_, bool>(0))? {
            *rows += 1;
            gone += crowd_out(tx, prefix)?;
        }
    }
    for change in changes {
        match change {
            Change::LoggedIn { prefix, user, at } => {
                let sql = "INSERT INTO pairs(prefix, user, attempts, sound, last, login) VALUES(?1, ?2, 0, 0, 0, ?3)
                           ON CONFLICT DO UPDATE SET login = max(coalesce(login, ?3), ?3)
                           RETURNING attempts = 0 AND login = ?3";
                let row = params![prefix.to_bytes(), &user[..user.len().min(USER_MAX)], at.0];
                if tx.prepare_cached(sql)?.query_row(row, |row| row.get::<_, bool>(0))? {
                    // Maybe it is counted twice; `trim` looks.
                    *rows += 1;
                    gone += crowd_out(tx, *prefix)?;
                }
            }
            Change::Paired { prefix, user, times, last } => {
                let sql = "INSERT INTO pairs(prefix, user, attempts, sound, last) VALUES(?1, ?2, ?3, ?3, ?4)
                           ON CONFLICT DO UPDATE SET attempts = max(attempts, ?3), sound = max(sound, ?3), last = max(last, ?4)
                           RETURNING attempts = ?3 AND login IS NULL";
                let times = i64::try_from(*times).unwrap_or(i64::MAX);
                let row = params![prefix.to_bytes(), &user[..user.len().min(USER_MAX)], times, last.0];
                if tx.prepare_cached(sql)?.query_row(row, |row| row.get::<_, bool>(0))? {
                    // Maybe it is counted twice, as above.
                    *rows += 1;
                    gone += crowd_out(tx, *prefix)?;
                }
            }
            Change::Cleared { prefix } => {
                let within = [prefix.to_bytes(), Prefix::host(prefix.last()).to_bytes()];
                run(tx, "UPDATE pairs SET attempts = 0, sound = 0, last = 0 WHERE prefix BETWEEN ?1 AND ?2", within)?;
                run(tx, "DELETE FROM pairs WHERE prefix BETWEEN ?1 AND ?2 AND login IS NULL", within)?;
            }
            _ => {}
        }
    }
    Ok(gone + trim(tx, rows, most, is_crowded)?)
}

/// Of a prefix with too many users the oldest is forgotten, of which nobody logged in if that can be; how many.
fn crowd_out(tx: &Transaction<'_>, prefix: Prefix) -> rusqlite::Result<u64> {
    let key = prefix.to_bytes();
    let sql = "SELECT count(*) FROM pairs WHERE prefix = ?1";
    let known: i64 = tx.prepare_cached(sql)?.query_row([key], |row| row.get(0))?;
    let more = known - PAIRS_PER_PREFIX;
    if more <= 0 {
        return Ok(0);
    }
    let sql = "DELETE FROM pairs WHERE prefix = ?1 AND user IN
               (SELECT user FROM pairs WHERE prefix = ?1 ORDER BY login IS NOT NULL, sound > 0, last LIMIT ?2)";
    Ok(tx.prepare_cached(sql)?.execute(params![key, more])? as u64)
}

/// Forgets the oldest when there are a twentieth more than the bound; how many. What strangers may have made up has a room of
/// its own, and who logged in goes last.
fn trim(tx: &Transaction<'_>, rows: &mut i64, most: i64, is_crowded: bool) -> rusqlite::Result<u64> {
    let mut gone = 0;
    if is_crowded {
        let part = forgeable(most as usize) as i64;
        let sql = "SELECT count(*) FROM pairs WHERE sound = 0 AND login IS NULL";
        let known: i64 = tx.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        if known > part + part / 20 {
            let sql = "DELETE FROM pairs WHERE (prefix, user) IN
                       (SELECT prefix, user FROM pairs WHERE sound = 0 AND login IS NULL ORDER BY last LIMIT ?1)";
            gone += tx.prepare_cached(sql)?.execute([known - part])? as u64;
        }
    }
    if *rows > most + most / 20 {
        *rows = count(tx)?;
        let sql = "DELETE FROM pairs WHERE (prefix, user) IN
                   (SELECT prefix, user FROM pairs ORDER BY login IS NOT NULL, max(last, coalesce(login, 0)) LIMIT ?1)";
        let more = (*rows - most).max(0);
        gone += tx.prepare_cached(sql)?.execute([more])? as u64;
        *rows -= more;
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::session::HostId;

    /// Pairs in memory, of which at most `most` are kept.
    struct Kept(Connection, i64);

    impl Kept {
        fn new() -> Self {
            let db = Connection::open_in_memory().unwrap();
            super::super::open::MIGRATIONS.iter().for_each(|one| db.execute_batch(one).unwrap());
            Kept(db, 0)
        }

        fn write(&mut self, evidence: &[Evidence], changes: &[Change], most: i64) -> u64 {
            let tx = self.0.transaction().unwrap();
            let gone = write(&tx, evidence, changes, &mut self.1, most).unwrap();
            tx.commit().unwrap();
            gone
        }

        #[track_caller]
        fn check(&self, want: &[&str]) {
            let mut query = self.0.prepare("SELECT prefix, user, attempts, sound, last, login FROM pairs").unwrap();
            let rows = query.query_map([], |row| {
                let user = String::from_utf8(row.get(1)?).unwrap();
                let numbers: (i64, i64, i64, Option<i64>) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
                Ok(format!("{} {user} {numbers:?}", prefix_of(row, 0)?.unwrap()))
            });
            let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
            assert_eq!(rows, want);
        }
    }

    fn failed(prefix: &str, user: &str, at: i64, sound: u32) -> Evidence {
        let (prefix, user, source, message) = (prefix.parse().unwrap(), user.into(), String::new(), Vec::new());
        Evidence { prefix, at: Timestamp(at), host: HostId(0), source, message, user, times: 2, sound }
    }

    fn login(prefix: &str, user: &str, at: i64) -> Change {
        Change::LoggedIn { prefix: prefix.parse().unwrap(), user: user.as_bytes().into(), at: Timestamp(at) }
    }

    #[test]
    fn failures_add_up_and_logins_are_noted_and_what_is_forgiven_goes() {
        let mut kept = Kept::new();
        kept.write(&[failed("192.0.2.1", "al", 5, 2), failed("192.0.2.1", "al", 4, 0)], &[], 100);
        kept.write(&[failed("192.0.2.1", "al", 3, 1), failed("192.0.2.9", "bob", 3, 1)], &[], 100);
        kept.write(&[], &[login("192.0.2.1", "al", 7), login("192.0.2.1", "al", 6), login("192.0.2.5", "cy", 8)], 100);
        kept.check(&[
            "192.0.2.1 al (6, 3, 5, Some(7))",
            "192.0.2.5 cy (0, 0, 0, Some(8))",
            "192.0.2.9 bob (2, 1, 3, None)",
        ]);
        let cleared = |prefix: &str| Change::Cleared { prefix: prefix.parse().unwrap() };
        kept.write(&[failed("192.0.2.1", "al", 9, 2)], &[cleared("192.0.2.0/24")], 100);
        kept.check(&["192.0.2.1 al (0, 0, 0, Some(7))", "192.0.2.5 cy (0, 0, 0, Some(8))"]);
    }

    #[test]
    fn what_is_made_up_pushes_out_nothing_that_is_certain_and_nobody_who_logged_in() {
        let mut kept = Kept::new();
        let one = |number: i64, sound| failed(&format!("198.51.100.{number}"), "al", number, sound);
        kept.write(&[one(1, 2), one(2, 2)], &[login("192.0.2.1", "al", 1)], 32);
        let made_up: Vec<_> = (10..60).map(|number| one(number, 0)).collect();
        assert_eq!(kept.write(&made_up, &[], 32), 48, "of those made up two are kept");
        kept.check(&[
            "192.0.2.1 al (0, 0, 0, Some(1))",
            "198.51.100.1 al (2, 2, 1, None)",
            "198.51.100.2 al (2, 2, 2, None)",
            "198.51.100.58 al (2, 0, 58, None)",
            "198.51.100.59 al (2, 0, 59, None)",
        ]);
        let certain: Vec<_> = (100..140).map(|number| one(number, 2)).collect();
        kept.write(&certain, &[], 32);
        assert_eq!(kept.1, 32);
        let first: i64 = kept.0.query_row("SELECT count(*) FROM pairs WHERE login = 1", [], |row| row.get(0)).unwrap();
        assert_eq!(first, 1, "who logged in stays");
    }

    #[test]
    fn what_another_program_counted_is_a_minimum() {
        let mut kept = Kept::new();
        let past = |user: &str, times, last| Change::Paired {
            prefix: "192.0.2.1".parse().unwrap(),
            user: user.as_bytes().into(),
            times,
            last: Timestamp(last),
        };
        kept.write(&[failed("192.0.2.1", "al", 5, 2), failed("192.0.2.1", "bob", 5, 2)], &[], 100);
        let changes = [past("al", 9, 3), past("bob", 1, 7), past("cy", 4, 2)];
        for _ in 0..2 {
            kept.write(&[], &changes, 100);
            kept.check(&[
                "192.0.2.1 al (9, 9, 5, None)",
                "192.0.2.1 bob (2, 2, 7, None)",
                "192.0.2.1 cy (4, 4, 2, None)",
            ]);
        }
        let many: Vec<_> = (0..300).map(|user| past(&format!("u{user:03}"), 1, 10 + user)).collect();
        kept.write(&[], &many, PAIRS_MAX);
        assert_eq!(count(&kept.0).unwrap(), PAIRS_PER_PREFIX);
    }

    #[test]
    fn a_dictionary_of_one_address_leaves_room_for_others() {
        let mut kept = Kept::new();
        let words: Vec<_> = (0..300).map(|word| failed("192.0.2.1", &format!("u{word:03}"), word, 2)).collect();
        kept.write(&words, &[login("192.0.2.1", "u000", 1)], PAIRS_MAX);
        let known = count(&kept.0).unwrap();
        assert_eq!(known, PAIRS_PER_PREFIX);
    }
}
