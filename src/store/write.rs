//! What one transaction writes: absolute values, so that writing one twice changes nothing.

use std::collections::BTreeMap;

use inputs::record::Timestamp;
use rusqlite::{Transaction, params};

use super::{Commit, Decision, EVIDENCE_BYTES, EVIDENCE_PER_PREFIX, Evidence};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::session::{Connection, KeptKey};
use crate::decide::state::{Change, Claim, State};
use crate::decide::tally::Tally;

pub(super) fn state(
    tx: &Transaction<'_>,
    commit: &Commit,
    state: &State,
    sessions: &[(KeptKey, Option<Connection>)],
    users: &[usize],
    hosts_written: usize,
) -> rusqlite::Result<()> {
    for (index, (name, ())) in state.hosts.iter().enumerate().skip(hosts_written) {
        tx.prepare_cached("INSERT OR REPLACE INTO hosts VALUES(?1, ?2)")?.execute(params![index as i64, &**name])?;
    }
    // Only the last value of each prefix counts.
    let tallies: BTreeMap<Prefix, Option<Tally>> = commit
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::Counted { prefix, tally } => Some((*prefix, *tally)),
            _ => None,
        })
        .collect();
    for (prefix, tally) in tallies {
        let Some(Tally { counts, last, successes, sound }) = tally else {
            tx.prepare_cached("DELETE FROM tallies WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            continue;
        };
        tx.prepare_cached("INSERT OR REPLACE INTO tallies VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)")?
            .execute(params![
                prefix.to_bytes(),
                counts[0],
                counts[1],
                counts[2],
                counts[3],
                counts[4],
                last[0],
                last[1],
                last[2],
                last[3],
                last[4],
                successes,
                sound
            ])?;
    }
    for change in &commit.changes {
        match change {
            Change::Shared { prefix, host: Some(host), counts } => {
                tx.prepare_cached("INSERT OR REPLACE INTO shares VALUES(?1,?2,?3,?4,?5,?6,?7)")?.execute(params![
                    prefix.to_bytes(),
                    host.0,
                    counts[0],
                    counts[1],
                    counts[2],
                    counts[3],
                    counts[4]
                ])?;
            }
            Change::Shared { prefix, host: None, .. } => {
                tx.prepare_cached("DELETE FROM shares WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            }
            Change::Denied { prefix, by, claim } => {
                tx.prepare_cached("INSERT OR REPLACE INTO denies VALUES(?1,?2,?3,?4,?5,?6,?7)")?.execute(params![
                    prefix.to_bytes(),
                    by.name(),
                    claim.since.0,
                    claim.until.map(|until| until.0),
                    claim.class.map(Class::name),
                    claim.count,
                    claim.enforceable
                ])?;
            }
            Change::Released { prefix, by, times, .. } => {
                tx.prepare_cached("DELETE FROM denies WHERE prefix = ?1 AND claimant = ?2")?
                    .execute(params![prefix.to_bytes(), by.name()])?;
                if *times > 0 {
                    tx.prepare_cached("INSERT OR REPLACE INTO released VALUES(?1, ?2)")?
                        .execute(params![prefix.to_bytes(), times])?;
                }
            }
            Change::Unremembered { prefix } => {
                tx.prepare_cached("DELETE FROM released WHERE prefix = ?1")?.execute([prefix.to_bytes()])?;
            }
            Change::Counted { .. } | Change::Suspicious { .. } | Change::Late(_) => {}
        }
    }
    for index in users {
        if let Some((name, counts)) = state.users.get_index(*index) {
            let account = serde_json::to_value(counts.account).ok().and_then(|v| v.as_str().map(str::to_owned));
            tx.prepare_cached("INSERT OR REPLACE INTO users VALUES(?1, ?2, ?3)")?.execute(params![
                &**name,
                account.unwrap_or_default(),
                counts.attempts as i64
            ])?;
        }
    }
    for (key, session) in sessions {
        let key = serde_json::to_string(key).unwrap_or_default();
        match session {
            Some(session) => {
                let json = serde_json::to_string(session).unwrap_or_default();
                tx.prepare_cached("INSERT OR REPLACE INTO sessions VALUES(?1, ?2)")?.execute([&key, &json])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM sessions WHERE key = ?1")?.execute([&key])?;
            }
        }
    }
    Ok(())
}

/// Writes the decisions among the changes; returns how many.
pub(super) fn history(tx: &Transaction<'_>, commit: &Commit) -> rusqlite::Result<i64> {
    let mut written = 0;
    for change in &commit.changes {
        let Some((at, prefix, decision)) = decision(change, commit.wall) else { continue };
        let json = serde_json::to_string(&decision).unwrap_or_default();
        tx.prepare_cached("INSERT INTO history(at, prefix, decision) VALUES(?1, ?2, ?3)")?.execute(params![
            at.0,
            prefix.to_bytes(),
            json
        ])?;
        written += 1;
    }
    Ok(written)
}

/// What `history` says of a change; counts alone are no decision.
pub fn decision(change: &Change, wall: Timestamp) -> Option<(Timestamp, Prefix, Decision)> {
    match change {
        Change::Denied { prefix, by, claim } => {
            let enforced = claim.enforceable && claim.until.is_none_or(|until| until > wall);
            let Claim { since, until, class, count, .. } = *claim;
            Some((since, *prefix, Decision::Denied { by: *by, class, count, until, enforced }))
        }
        Change::Released { prefix, by, at, why, .. } => Some((*at, *prefix, Decision::Released { by: *by, why: *why })),
        Change::Suspicious { address, user, at } => {
            let decision = Decision::Suspicious { address: *address, user: user.clone() };
            Some((*at, Prefix::host(*address), decision))
        }
        Change::Counted { .. } | Change::Shared { .. } | Change::Unremembered { .. } | Change::Late(_) => None,
    }
}

/// Writes evidence and keeps only the newest of each prefix, and up to twice as many; returns by how many rows the table grew.
pub(super) fn evidence(tx: &Transaction<'_>, evidence: &[Evidence], state: &State) -> rusqlite::Result<i64> {
    let mut grown = 0;
    let mut evidence: Vec<&Evidence> = evidence.iter().collect();
    evidence.sort_by_key(|one| one.prefix);
    for all in evidence.chunk_by(|one, other| one.prefix == other.prefix) {
        let prefix = all[0].prefix;
        // Of a flood in one batch only what would be kept is written at all.
        let newest = &all[all.len().saturating_sub(EVIDENCE_PER_PREFIX)..];
        for one in newest {
            let message = &one.message[..one.message.len().min(EVIDENCE_BYTES)];
            tx.prepare_cached("INSERT INTO evidence(prefix, at, host, source, message) VALUES(?1,?2,?3,?4,?5)")?
                .execute(params![prefix.to_bytes(), one.at.0, one.host.0, one.source, message])?;
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

/// Removes the oldest rows of a table that is a twentieth over its bound.
pub(super) fn trim(tx: &Transaction<'_>, table: &str, most: i64, rows: &mut i64) -> rusqlite::Result<()> {
    if *rows > most + most / 20 {
        let sql = format!("DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY id LIMIT ?1)");
        *rows -= tx.execute(&sql, [*rows - most])? as i64;
    }
    Ok(())
}
