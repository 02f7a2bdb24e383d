//! Reading back all that is remembered.

use std::collections::{BTreeMap, BTreeSet};

use inputs::record::Timestamp;
use rusqlite::{Connection, Row};
use serde::Deserialize;

use super::{Loaded, NAMESAKES, Store, WAITING};
use crate::decide::claim::Claim;
use crate::decide::familiar::Known;
use crate::decide::live::Session;
use crate::decide::nets::World;
use crate::decide::prefix::Prefix;
use crate::decide::session::{HostId, Kept, KeptKey, KeptWaiting};
use crate::decide::state::{Change, State, UserCounts};
use crate::decide::tally::Tally;
use crate::detect::address::Address;

impl Store {
    pub(super) fn try_load(&self) -> rusqlite::Result<Loaded> {
        let mut state = State::default();
        let db = &self.database.db;
        // Others name a host by its place, so that none may be left out.
        let mut hosts = 0;
        let mut nameless = || {
            hosts += 1;
            format!("unreadable {hosts}").into_bytes()
        };
        each(db, "SELECT name FROM hosts ORDER BY id", |row| {
            let (name, other) = (row.get::<_, Vec<u8>>(0), nameless());
            let fault = name.as_ref().err().map(|error| unmeant(0, error.to_string()));
            state.apply(&Change::Host { name: name.unwrap_or(other).into() });
            fault.map_or(Ok(()), Err)
        })?;
        counts(db, &mut state)?;
        denies(db, &mut state)?;
        state.pack();
        nets(db, &mut state)?;
        waves(db, &mut state)?;
        each(db, "SELECT name, account, attempts, last FROM users", |row| {
            let (name, attempts): (Vec<u8>, i64) = (row.get(0)?, row.get(2)?);
            let last = Timestamp(row.get::<_, Option<i64>>(3)?.unwrap_or(0));
            let counts = UserCounts { attempts: attempts.unsigned_abs(), account: text_as(row, 1)?, last };
            state.apply(&Change::User { name: name.into() });
            state.apply(&Change::Tried { user: state.users.len() - 1, counts });
            Ok(())
        })?;
        let mut sessions: Vec<Kept> = Vec::new();
        each(db, "SELECT key, session FROM sessions", |row| {
            let (key, session): (String, String) = (row.get(0)?, row.get(1)?);
            let key: KeptKey = parsed(0, serde_json::from_str(&key))?;
            sessions.push((key, parsed(1, serde_json::from_str(&session))?));
            Ok(())
        })?;
        let waiting = super::notes::read(db, WAITING)?;
        let waiting: Vec<KeptWaiting> = waiting.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
        state.sessions.restore(sessions, waiting);
        let names = super::notes::read(db, NAMESAKES)?.and_then(|json| serde_json::from_str(&json).ok());
        state.namesakes.restore(names.unwrap_or_default());
        let mut cursors = BTreeMap::new();
        each(db, "SELECT input, cursor FROM cursors", |row| {
            let (input, cursor): (String, String) = (row.get(0)?, row.get(1)?);
            cursors.insert(input, parsed(1, serde_json::from_str(&cursor))?);
            Ok(())
        })?;
        let mut allowed = BTreeSet::new();
        each(db, "SELECT entry FROM allowed", |row| {
            allowed.insert(row.get(0)?);
            Ok(())
        })?;
        Ok(Loaded { state, cursors, allowed })
    }
}

/// What is counted, by prefix and by host.
fn counts(db: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let tallies =
        "SELECT prefix, invalid, valid, root, restricted, probe, invalid_at, valid_at, root_at, restricted_at,
                          probe_at, successes, sound FROM tallies";
    apply(db, state, tallies, |row| {
        let (counts, last) = (five(row, 1)?, five(row, 6)?);
        // Before the column came, nothing was known to be otherwise.
        let sound: Option<[u8; 5]> = row.get(12)?;
        let sound = sound.unwrap_or_else(|| counts.map(|count| u8::try_from(count).unwrap_or(u8::MAX)));
        let successes = u16::try_from(row.get::<_, u32>(11)?).unwrap_or(u16::MAX);
        let tally = Some(Tally { counts, last, successes, sound });
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Counted { prefix, tally }))
    })?;
    apply(db, state, "SELECT prefix, host, invalid, valid, root, restricted, probe FROM shares", |row| {
        let (host, counts) = (Some(HostId(row.get(1)?)), five(row, 2)?);
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Shared { prefix, host, counts }))
    })
}

/// Wider nets. What is not understood was of no use.
fn nets(db: &Connection, state: &mut State) -> rusqlite::Result<()> {
    apply(db, state, "SELECT prefix, world, net FROM nets", |row| {
        let world = World::BOTH.get(usize::from(row.get::<_, u16>(1)?)).copied();
        let known = serde_json::from_str(row.get_ref(2)?.as_str()?).ok();
        let net = prefix_of(row, 0)?.zip(world).zip(known);
        Ok(net.map(|((net, world), known)| Change::Net(net, world, Some(known))))
    })
}

/// Slow attacks by many. What is not understood was of no use.
fn waves(db: &Connection, state: &mut State) -> rusqlite::Result<()> {
    apply(db, state, "SELECT prefix, stranger FROM strangers", |row| {
        let known = serde_json::from_str(row.get_ref(1)?.as_str()?).ok();
        Ok(prefix_of(row, 0)?.zip(known).map(|(prefix, known)| Change::Stranger(prefix, Some(known))))
    })?;
    apply(db, state, "SELECT place, target FROM targets ORDER BY place", |row| {
        let target = serde_json::from_str(row.get_ref(1)?.as_str()?).ok();
        let place = row.get(0)?;
        Ok(target.map(|target| Change::Target(place, target)))
    })
}

/// Who is denied, and who was released how often.
fn denies(db: &Connection, state: &mut State) -> rusqlite::Result<()> {
    apply(db, state, "SELECT prefix, claimant, since, until, enforceable, reason FROM denies", |row| {
        let by = text_as(row, 1)?;
        let claim = Claim {
            since: Timestamp(row.get(2)?),
            until: row.get::<_, Option<i64>>(3)?.map(Timestamp),
            enforceable: row.get(4)?,
            reason: parsed(5, serde_json::from_str(row.get_ref(5)?.as_str()?))?,
        };
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Denied { prefix, by, claim }))
    })?;
    apply(db, state, "SELECT prefix, times FROM released", |row| {
        let times = row.get(1)?;
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Remembered { prefix, times, last: None }))
    })?;
    apply(db, state, "SELECT prefix, login, probation FROM familiar", |row| {
        let known = Some(Known { login: row.get(1)?, probation: row.get(2)? });
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Familiar { prefix, known }))
    })?;
    apply(db, state, "SELECT prefix, at FROM forgives", |row| {
        let at = Some(Timestamp(row.get(1)?));
        Ok(prefix_of(row, 0)?.map(|prefix| Change::Forgave { prefix, at }))
    })?;
    apply(db, state, "SELECT peer, port, host, user, pid, since FROM live", |row| {
        let Ok(peer) = <[u8; 16]>::try_from(row.get_ref(0)?.as_blob()?) else { return Ok(None) };
        let peer = Address::from_bits(u128::from_be_bytes(peer));
        let session =
            Session { user: row.get::<_, Vec<u8>>(3)?.into(), pid: row.get(4)?, since: Timestamp(row.get(5)?) };
        Ok(Some(Change::Live { key: (peer, row.get(1)?, HostId(row.get(2)?)), session: Some(session) }))
    })
}

/// Applies what `change` makes of each row.
fn apply(
    db: &Connection,
    state: &mut State,
    sql: &str,
    change: impl Fn(&Row<'_>) -> rusqlite::Result<Option<Change>>,
) -> rusqlite::Result<()> {
    each(db, sql, |row| {
        state.apply(&change(row)?.ok_or_else(|| unmeant(0, "it is of no prefix"))?);
        Ok(())
    })
}

/// Hands over each row. Those that mean nothing are left out and told of: they are no reason not to start, whoever wrote
/// them.
pub(super) fn each(
    db: &Connection,
    sql: &str,
    mut row: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    let mut query = db.prepare(sql)?;
    let mut rows = query.query([])?;
    let (mut skipped, mut first) = (0_u64, None);
    while let Some(found) = rows.next()? {
        if let Err(error) = row(found) {
            skipped += 1;
            first.get_or_insert(error);
        }
    }
    if let Some(error) = first {
        let table = sql.split_once(" FROM ").and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or(sql);
        tracing::warn!(table, rows = skipped, %error, "rows of the database mean nothing and are left out; sqlite3 shows them");
    }
    Ok(())
}

/// The numbers in five columns, from `first` on.
fn five(row: &Row<'_>, first: usize) -> rusqlite::Result<[u32; 5]> {
    let mut numbers = [0; 5];
    for (column, number) in (first..).zip(&mut numbers) {
        *number = row.get(column)?;
    }
    Ok(numbers)
}

pub(super) fn prefix_of(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Prefix>> {
    Ok(Prefix::from_bytes(row.get_ref(column)?.as_blob()?))
}

/// A text column that serde knows as a text.
pub(super) fn text_as<T: for<'de> Deserialize<'de>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parsed(column, serde_json::from_value(serde_json::Value::String(row.get(column)?)))
}

fn parsed<T>(column: usize, value: serde_json::Result<T>) -> rusqlite::Result<T> {
    value.map_err(|error| unmeant(column, error))
}

/// A column does not mean what it should.
fn unmeant(column: usize, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, why.into())
}
