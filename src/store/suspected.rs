//! Who logged in from where too many had failed: by the history, and by what another program knew before us, which had counts
//! where we have decisions. DenyHosts had that in `suspicious-logins`.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use inputs::record::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::load::prefix_of;
use super::write::run;
use super::{Database, Decision, StoreError};
use crate::decide::prefix::Prefix;
use crate::decide::state::{Change, USER_MAX};

/// Users with an address that are remembered of another program's.
pub const SUSPECTED_MAX: i64 = 10_000;

/// From where and as whom, how often and when last.
pub type Login = ((IpAddr, Vec<u8>), (u64, Timestamp));

impl Database {
    /// Of the newest `most` such logins, and of what was known before: who logged in how often; the last first.
    pub fn logins(&self, most: usize) -> Result<Vec<Login>, StoreError> {
        let row = |row: &Row<'_>| {
            let (user, times, last) = (row.get(1)?, row.get::<_, i64>(2)?.unsigned_abs(), Timestamp(row.get(3)?));
            Ok(prefix_of(row, 0)?.map(|prefix| ((prefix.address(), user), (times, last))))
        };
        let read = || -> rusqlite::Result<HashMap<_, _>> {
            let mut query = self.db.prepare_cached("SELECT address, user, times, last FROM suspected")?;
            query.query_map([], row)?.filter_map(Result::transpose).collect()
        };
        let mut known = read().map_err(|error| self.error("cannot read who logged in", error))?;
        for one in self.suspicious(most)? {
            if let Decision::Suspicious { address, user, .. } = one.decision {
                let (logins, last) = known.entry((address, user)).or_insert((0, one.at));
                (*logins, *last) = (logins.saturating_add(1), one.at.max(*last));
            }
        }
        let mut rows: Vec<Login> = known.into_iter().collect();
        rows.sort_by(|(who, (_, last)), (other, (_, at))| (Reverse(last), who).cmp(&(Reverse(at), other)));
        Ok(rows)
    }
}

/// Notes what another program knew; beyond the bound the oldest are forgotten.
pub(super) fn write(tx: &Transaction<'_>, changes: &[Change]) -> rusqlite::Result<()> {
    let mut is_any = false;
    for change in changes {
        if let Change::Suspected { address, user, times, last } = change {
            let sql = "INSERT INTO suspected VALUES(?1, ?2, ?3, ?4)
                       ON CONFLICT DO UPDATE SET times = max(times, ?3), last = max(last, ?4)";
            let times = i64::try_from(*times).unwrap_or(i64::MAX);
            run(tx, sql, params![Prefix::host(*address).to_bytes(), &user[..user.len().min(USER_MAX)], times, last.0])?;
            is_any = true;
        }
    }
    if !is_any {
        return Ok(());
    }
    let sql = "DELETE FROM suspected WHERE (address, user) IN
               (SELECT address, user FROM suspected ORDER BY last DESC LIMIT -1 OFFSET ?1)";
    run(tx, sql, [SUSPECTED_MAX])
}
