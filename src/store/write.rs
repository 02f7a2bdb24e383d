//! What one transaction writes: absolute values, so that writing one twice changes nothing.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Transaction, params};

use crate::decide::prefix::Prefix;
use crate::decide::session::{Connection, KeptKey};
use crate::decide::state::{Change, State, UserCounts};
use crate::decide::tally::Tally;

/// Writes what changed, in order. `state`, to which it led, knows names by their numbers.
pub(super) fn changes(tx: &Transaction<'_>, changes: &[Change], state: &State) -> rusqlite::Result<()> {
    let run = |sql: &str, values: &[&dyn ToSql]| tx.prepare_cached(sql)?.execute(values).map(|_| ());
    // Only the last value of each prefix counts.
    let tallies: BTreeMap<Prefix, Option<Tally>> = changes
        .iter()
        .filter_map(|change| match change {
            Change::Counted { prefix, tally } => Some((*prefix, *tally)),
            _ => None,
        })
        .collect();
    for (prefix, counts) in tallies {
        tally(tx, prefix, counts)?;
    }
    for change in changes {
        match change {
            Change::Shared { prefix, host: Some(host), counts: [invalid, valid, root, restricted, probe] } => run(
                "INSERT OR REPLACE INTO shares VALUES(?1,?2,?3,?4,?5,?6,?7)",
                params![prefix.to_bytes(), host.0, invalid, valid, root, restricted, probe],
            )?,
            Change::Shared { prefix, host: None, .. } => {
                run("DELETE FROM shares WHERE prefix = ?1", params![prefix.to_bytes()])?;
            }
            Change::Denied { prefix, by, claim } => run(
                "INSERT OR REPLACE INTO denies(prefix, claimant, since, until, enforceable, reason)
                 VALUES(?1,?2,?3,?4,?5,?6)",
                params![
                    prefix.to_bytes(),
                    by.to_string(),
                    claim.since.0,
                    claim.until.map(|until| until.0),
                    claim.enforceable,
                    json(&claim.reason)
                ],
            )?,
            Change::Released { prefix, by, times, .. } => {
                let key = params![prefix.to_bytes(), by.to_string()];
                run("DELETE FROM denies WHERE prefix = ?1 AND claimant = ?2", key)?;
                if *times > 0 {
                    run("INSERT OR REPLACE INTO released VALUES(?1, ?2)", params![prefix.to_bytes(), times])?;
                }
            }
            Change::Remembered { prefix, times: 0 } => {
                run("DELETE FROM released WHERE prefix = ?1", params![prefix.to_bytes()])?;
            }
            Change::Remembered { prefix, times } => {
                run("INSERT OR REPLACE INTO released VALUES(?1, ?2)", params![prefix.to_bytes(), times])?;
            }
            Change::Tried { user, counts } => {
                if let Some((name, _)) = state.users.get_index(*user) {
                    let UserCounts { attempts, account } = counts;
                    let account = serde_json::to_value(account).unwrap_or_default();
                    let row = params![&**name, account.as_str(), *attempts as i64];
                    run("INSERT OR REPLACE INTO users VALUES(?1, ?2, ?3)", row)?;
                }
            }
            Change::Host { name } => {
                let number = state.hosts.get_index_of(name).map(|number| number as i64);
                run("INSERT OR REPLACE INTO hosts VALUES(?1, ?2)", params![number, &**name])?;
            }
            Change::Connection(key, session) => connection(tx, key, session.as_deref())?,
            // The first is written above; the others are told, not kept.
            Change::Counted { .. }
            | Change::Suspicious { .. }
            | Change::Late(_)
            | Change::User { .. }
            | Change::Untold { .. } => {}
        }
    }
    Ok(())
}

fn tally(tx: &Transaction<'_>, prefix: Prefix, tally: Option<Tally>) -> rusqlite::Result<()> {
    let Some(Tally { counts, last, successes, sound }) = tally else {
        tx.prepare_cached("DELETE FROM tallies WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
        return Ok(());
    };
    let mut query =
        tx.prepare_cached("INSERT OR REPLACE INTO tallies VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")?;
    let key = prefix.to_bytes();
    let numbers = counts.iter().chain(&last).map(|number| number as &dyn ToSql);
    let row = std::iter::once(&key as &dyn ToSql).chain(numbers).chain([&successes as &dyn ToSql, &sound]);
    query.execute(rusqlite::params_from_iter(row)).map(|_| ())
}

fn connection(tx: &Transaction<'_>, key: &KeptKey, session: Option<&Connection>) -> rusqlite::Result<()> {
    let key = json(key);
    match session {
        Some(session) => {
            tx.prepare_cached("INSERT OR REPLACE INTO sessions VALUES(?1, ?2)")?.execute([&key, &json(session)])
        }
        None => tx.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([&key]),
    }
    .map(|_| ())
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
