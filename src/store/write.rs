//! What one transaction writes: absolute values, so that writing one twice changes nothing.

use std::collections::BTreeMap;

use rusqlite::types::ToSql;
use rusqlite::{Connection, Params, Transaction, params};

use crate::decide::claim::Claim;
use crate::decide::familiar::Known;
use crate::decide::live::Session;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, State, UserCounts};
use crate::decide::tally::Tally;

/// Writes what changed, in order. `state`, to which it led, knows names by their numbers.
pub(super) fn changes(tx: &Transaction<'_>, changes: &[Change], state: &State) -> rusqlite::Result<()> {
    // Only the last value of each prefix counts.
    let counted = changes.iter().filter_map(|change| match change {
        Change::Counted { prefix, tally } => Some((*prefix, *tally)),
        _ => None,
    });
    for (prefix, counts) in counted.collect::<BTreeMap<Prefix, Option<Tally>>>() {
        tally(tx, prefix, counts)?;
    }
    for change in changes {
        match change {
            Change::Shared { prefix, host: Some(host), counts: [invalid, valid, root, restricted, probe] } => {
                let row = params![prefix.to_bytes(), host.0, invalid, valid, root, restricted, probe];
                run(tx, "INSERT OR REPLACE INTO shares VALUES(?1,?2,?3,?4,?5,?6,?7)", row)?;
            }
            Change::Shared { prefix, host: None, .. } => {
                run(tx, "DELETE FROM shares WHERE prefix = ?1", [prefix.to_bytes()])?;
            }
            Change::Denied { prefix, by, claim: Claim { since, until, reason, enforceable } } => {
                let until = until.map(|until| until.0);
                let row = params![prefix.to_bytes(), by.to_string(), since.0, until, enforceable, json(reason)];
                let sql = "INSERT OR REPLACE INTO denies(prefix, claimant, since, until, enforceable, reason)
                           VALUES(?1,?2,?3,?4,?5,?6)";
                run(tx, sql, row)?;
            }
            Change::Released { prefix, by, at, times, .. } => {
                let key = params![prefix.to_bytes(), by.to_string()];
                run(tx, "DELETE FROM denies WHERE prefix = ?1 AND claimant = ?2", key)?;
                if *times > 0 {
                    remember(tx, prefix, *times, Some(at.0))?;
                }
            }
            Change::Remembered { prefix, times, last } => remember(tx, prefix, *times, last.map(|at| at.0))?,
            Change::Familiar { prefix, known: Some(Known { login, probation }) } => {
                let row = params![prefix.to_bytes(), login, probation];
                run(tx, "INSERT OR REPLACE INTO familiar VALUES(?1, ?2, ?3)", row)?;
            }
            Change::Familiar { prefix, known: None } => {
                run(tx, "DELETE FROM familiar WHERE prefix = ?1", [prefix.to_bytes()])?;
            }
            Change::Forgave { prefix, at: Some(at) } => {
                run(tx, "INSERT OR REPLACE INTO forgives VALUES(?1, ?2)", params![prefix.to_bytes(), at.0])?;
            }
            Change::Forgave { prefix, at: None } => {
                run(tx, "DELETE FROM forgives WHERE prefix = ?1", [prefix.to_bytes()])?;
            }
            Change::Live { key: (peer, port, host), session: Some(Session { user, pid, since }) } => {
                let row = params![peer.to_bits().to_be_bytes(), port, host.0, &**user, pid, since.0];
                run(tx, "INSERT OR REPLACE INTO live VALUES(?1, ?2, ?3, ?4, ?5, ?6)", row)?;
            }
            Change::Live { key: (peer, port, host), session: None } => {
                let key = params![peer.to_bits().to_be_bytes(), port, host.0];
                run(tx, "DELETE FROM live WHERE peer = ?1 AND port = ?2 AND host = ?3", key)?;
            }
            Change::Tried { user, counts: UserCounts { attempts, account, last } } => {
                if let Some((name, _)) = state.users.get_index(*user) {
                    let account = serde_json::to_value(account).unwrap_or_default();
                    let row = params![&**name, account.as_str(), *attempts as i64, last.0];
                    run(tx, "INSERT OR REPLACE INTO users VALUES(?1, ?2, ?3, ?4)", row)?;
                }
            }
            Change::Host { name } => {
                let number = state.hosts.get_index_of(name).map(|number| number as i64);
                run(tx, "INSERT OR REPLACE INTO hosts VALUES(?1, ?2)", params![number, &**name])?;
            }
            Change::Connection(key, Some(connection)) => {
                run(tx, "INSERT OR REPLACE INTO sessions VALUES(?1, ?2)", [json(key), json(connection)])?;
            }
            Change::Connection(key, None) => run(tx, "DELETE FROM sessions WHERE key = ?1", [json(key)])?,
            Change::Namesakes(names) => {
                run(tx, "INSERT OR REPLACE INTO notes VALUES(?1, ?2)", [super::NAMESAKES, &json(names)])?;
            }
            Change::Net(net, world, known) => {
                let key = params![net.to_bytes(), *world as u8, known.as_ref().map(json)];
                let sql = match known {
                    Some(_) => "INSERT OR REPLACE INTO nets VALUES(?1, ?2, ?3)",
                    None => "DELETE FROM nets WHERE prefix = ?1 AND world = ?2 AND ?3 IS NULL",
                };
                run(tx, sql, key)?;
            }
            Change::Stranger(prefix, Some(known)) => {
                let row = params![prefix.to_bytes(), json(known)];
                run(tx, "INSERT OR REPLACE INTO strangers VALUES(?1, ?2)", row)?;
            }
            Change::Stranger(prefix, None) => {
                run(tx, "DELETE FROM strangers WHERE prefix = ?1", [prefix.to_bytes()])?;
            }
            Change::Target(place, target) => {
                run(tx, "INSERT OR REPLACE INTO targets VALUES(?1, ?2)", params![place, json(target)])?;
            }
            // The first is written above, the next three by `pairs`, and one by `suspected`; the others are told, not kept.
            Change::Counted { .. }
            | Change::LoggedIn { .. }
            | Change::Cleared { .. }
            | Change::Paired { .. }
            | Change::Suspected { .. }
            | Change::Wave { .. }
            | Change::Spared { .. }
            | Change::Suspicious { .. }
            | Change::Late(_)
            | Change::User { .. }
            | Change::Untold { .. } => {}
        }
    }
    Ok(())
}

fn tally(tx: &Transaction<'_>, prefix: Prefix, tally: Option<Tally>) -> rusqlite::Result<()> {
    let key = prefix.to_bytes();
    let Some(Tally { counts, last, successes, sound }) = tally else {
        return run(tx, "DELETE FROM tallies WHERE prefix = ?1", [key]);
    };
    let numbers = counts.iter().chain(&last).map(|number| number as &dyn ToSql);
    let row = std::iter::once(&key as &dyn ToSql).chain(numbers).chain([&successes as &dyn ToSql, &sound]);
    let sql = "INSERT OR REPLACE INTO tallies VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";
    run(tx, sql, rusqlite::params_from_iter(row))
}

/// Keeps how often a prefix was released, and when last if that was once more.
fn remember(tx: &Transaction<'_>, prefix: &Prefix, times: u32, at: Option<i64>) -> rusqlite::Result<()> {
    let sql = "INSERT INTO released VALUES(?1, ?2, ?3) ON CONFLICT DO UPDATE SET
               last = iif(excluded.times > times, excluded.last, last), times = excluded.times";
    match times {
        0 => run(tx, "DELETE FROM released WHERE prefix = ?1", [prefix.to_bytes()]),
        times => run(tx, sql, params![prefix.to_bytes(), times, at]),
    }
}

/// Runs a statement that returns nothing.
pub(super) fn run(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(values).map(|_| ())
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
