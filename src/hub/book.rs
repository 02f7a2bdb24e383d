//! All that the hub knows, and the only one who writes it: the database, and beside it in memory what is due for the wishes
//! that were asked for lately.
//!
//! Knows nothing of HTTP, and is told the time, which it lets go back by no less than [`AHEAD_MAX`]. One report is one transaction: who has an
//! answer has it on the disk. What takes long (reading all hosts for a new wish, expiry) is done in steps.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::count::{Count, Counters};
use super::due::{self, Host, Row, Step, Wish};
use super::feed::{Feed, PAGE, Page};
use super::store::Error;
use crate::detect::address::{self, Address};

/// How many wishes are kept in memory; who asks for another one takes the place of the one that was asked for longest ago.
pub const FEEDS_MAX: usize = 8;

/// How many rows of reports a host has; further reporters count in its total alone.
pub const ROWS_MAX: usize = 3000;

/// Hosts that a step of reading or expiring takes.
const STEP: i64 = 500;

/// How far the hub's time, or the newest row, may be ahead of the clock, in seconds. Up to that time stands still until the
/// clock is there; from there on it was the clock that was wrong, and time follows it back.
pub const AHEAD_MAX: i64 = 600;

/// How long after the latest report the clock is believed when it says that reports expired, in seconds; the time that the
/// hub runs counts, too.
const DAY: i64 = 24 * 3600;

/// How long a row of the last day's chart is kept, in hours.
const HOURS_KEPT: i64 = 40 * 24;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Hosts; about 300 bytes each on the disk, and 40 in memory for each wish.
    pub hosts: i64,
    /// Rows of reports; about 60 bytes each on the disk.
    pub reports: i64,
    /// Reporters.
    pub reporters: i64,
    /// How long after its latest report a row is forgotten, in seconds.
    pub expiry: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { hosts: 1_000_000, reports: 10_000_000, reporters: 100_000, expiry: 30 * 24 * 3600 }
    }
}

/// What was done with hosts that were reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Taken.
    pub taken: usize,
    /// Not taken, since there is no room.
    pub refused: usize,
}

/// Why nobody can say what is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The hosts are being read for this wish: to be asked again after a [`Book::step`].
    Reading,
    /// The wish is new, and who asks may not have it read.
    Refused,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Book {
    db: Connection,
    feeds: HashMap<Wish, Kept>,
    limits: Limits,
    /// The latest time that anything was done at.
    time: i64,
    /// Who asks since a time of the first of these on, up to the second, was told that time by a clock that was ahead: he
    /// is told all since the first.
    ahead: Option<(i64, i64)>,
    /// Whatever the clock says, it is not later than this where reports expire.
    horizon: i64,
    /// The latest time with a report, and how many hosts were reported in it.
    second: (i64, usize),
    /// Whether rows may have expired that were not looked for.
    is_expiring: bool,
    hosts: i64,
    reports: i64,
    reporters: i64,
}

/// A feed, and how far it was read.
#[derive(Debug, Default)]
struct Kept {
    feed: Feed,
    /// All hosts up to this row are in it; `None` = all are.
    read: Option<i64>,
    /// When somebody asked for it last.
    asked: i64,
}

impl Kept {
    fn has(&self, host: i64) -> bool {
        self.read.is_none_or(|read| host <= read)
    }
}

/// How a host's rows were, and are.
struct Change {
    id: i64,
    address: Address,
    before: Option<(Host, Vec<Row>)>,
    after: Option<(Host, Vec<Row>)>,
}

impl Book {
    /// Takes over a database that nobody else writes.
    pub fn new(db: Connection, limits: Limits, now: i64) -> Result<Self, Error> {
        let count = |query| db.query_row(query, [], |row| row.get::<_, i64>(0));
        let hosts = count("SELECT count(*) FROM hosts")?;
        let reports = count("SELECT count(*) FROM reports")?;
        let reporters = count("SELECT count(*) FROM reporters")?;
        let latest = count("SELECT coalesce(max(latest_time), 0) FROM hosts")?;
        let in_latest = "SELECT count(*) FROM hosts WHERE latest_time = ?1";
        let in_latest: i64 = db.query_row(in_latest, [latest], |row| row.get(0))?;
        let mut book = Book {
            db,
            feeds: HashMap::new(),
            limits,
            time: latest,
            ahead: None,
            horizon: latest + DAY,
            second: (latest, usize::try_from(in_latest).unwrap_or(0)),
            is_expiring: false,
            hosts,
            reports,
            reporters,
        };
        book.time(now);
        Ok(book)
    }

    /// The time that something is done at. It does not go back, or what is due would be before what was answered; but for a
    /// clock that was far ahead, or clients would be told nothing until it is that time.
    pub fn time(&mut self, now: i64) -> i64 {
        if self.time - now > AHEAD_MAX {
            let seconds = self.time - now;
            tracing::error!(
                seconds,
                "the clock was ahead, or is behind now; see that it is right, or clients may miss hosts"
            );
            let until = self.ahead.map_or(self.time, |(_, until)| until.max(self.time));
            (self.ahead, self.time) = (Some((now, until)), now);
        }
        // Only as it goes by: not what the clock leaps.
        let gone = now - self.time;
        if (0..=AHEAD_MAX).contains(&gone) {
            self.horizon += gone;
        }
        self.time = self.time.max(now);
        self.time
    }

    /// The latest time that the clock may be set to and be believed at once.
    pub fn known(&self) -> i64 {
        self.horizon
    }

    /// Whether so many more hosts may be recorded at this time: an answer tells each second as a whole, so a second has no
    /// more of them than an answer.
    pub fn has_room(&mut self, hosts: usize, now: i64) -> bool {
        let now = self.time(now);
        self.second.0 != now || self.second.1 == 0 || self.second.1 + hosts <= PAGE
    }

    /// Records that `reporter` denied `hosts`.
    pub fn add(&mut self, reporter: &str, hosts: &[Address], now: i64, counters: &Counters) -> Result<Added, Error> {
        let now = self.time(now);
        let (mut changes, mut new_hosts, mut rows, mut added) = (Vec::new(), 0, 0, Added::default());
        let change = self.db.transaction()?;
        let Some((id, is_new, is_first_today)) =
            reported(&change, reporter, now, self.reporters < self.limits.reporters)?
        else {
            counters.add(Count::Refused, hosts.len());
            return Ok(Added { taken: 0, refused: hosts.len() });
        };
        for &address in hosts {
            let found = host(&change, address)?;
            let (host, before) = match found {
                Some((host, row)) => (host, Some((row, self::rows(&change, host)?))),
                None => {
                    let is_full = self.hosts + new_hosts >= self.limits.hosts;
                    match is_full.then(|| evict(&change)).transpose()? {
                        Some(None) => {
                            added.refused += 1;
                            continue;
                        }
                        Some(Some(gone)) => {
                            rows -= gone.before.as_ref().map_or(0, |(_, rows)| rows.len() as i64);
                            new_hosts -= 1;
                            counters.add(Count::Evicted, 1);
                            changes.push(gone);
                        }
                        None => {}
                    }
                    new_hosts += 1;
                    let insert = "INSERT INTO hosts(address, first_time, latest_time, resiliency, total_reports, current_reports)
                        VALUES(?1, ?2, ?2, 0, 0, 0)";
                    change.prepare_cached(insert)?.execute(params![address.to_string(), now])?;
                    (change.last_insert_rowid(), None)
                }
            };
            let mut after = before.clone().unwrap_or((Host { first: now, latest: now }, Vec::new()));
            // By a clock that was ahead it may have been later.
            after.0.latest = now.max(after.0.latest);
            let mut step = due::step(&after.1, id, now);
            let is_room = after.1.len() < ROWS_MAX && self.reports + rows < self.limits.reports;
            if matches!(step, Step::First | Step::Again) && !is_room {
                counters.add(Count::Untold, 1);
                step = Step::Known;
            }
            rows += write(&change, host, step, id, now)?;
            due::apply(&mut after.1, step, id, now);
            let update =
                "UPDATE hosts SET latest_time = ?2, resiliency = ?2 - first_time, total_reports = total_reports + 1,
                current_reports = current_reports + ?3 WHERE id = ?1";
            change.prepare_cached(update)?.execute(params![host, after.0.latest, i64::from(step == Step::First)])?;
            changes.push(Change { id: host, address, before, after: Some(after) });
            added.taken += 1;
        }
        let fresh = changes.iter().filter(|change| change.before.is_none() && change.after.is_some()).count();
        count(&change, now, added.taken, fresh, is_first_today)?;
        change.commit()?;
        self.hosts += new_hosts;
        self.reports += rows;
        self.reporters += i64::from(is_new);
        counters.add(Count::Reports, added.taken);
        counters.add(Count::Refused, added.refused);
        self.horizon = self.horizon.max(now + DAY);
        if self.second.0 != now {
            self.second = (now, 0);
        }
        self.second.1 += added.taken;
        self.changed(&changes);
        Ok(added)
    }

    fn changed(&mut self, changes: &[Change]) {
        for (wish, kept) in &mut self.feeds {
            for change in changes {
                if !kept.has(change.id) {
                    continue;
                }
                let due =
                    |it: &Option<(Host, Vec<Row>)>| it.as_ref().and_then(|(host, rows)| due::due(*host, rows, *wish));
                kept.feed.moved(change.address, due(&change.before), due(&change.after));
            }
        }
    }

    /// Since when somebody is told what is due who asks since this time; `None` if it has not come yet.
    pub fn since(&mut self, since: u64, now: i64) -> Option<i64> {
        let (now, since) = (self.time(now), i64::try_from(since).ok()?);
        if since <= now {
            return Some(since);
        }
        self.ahead.filter(|(_, until)| since <= *until).map(|(from, _)| from)
    }

    /// What became due since `since`, which is not after the hub's time, but for what the client `known`s. `may_read` says whether all hosts may be read for a wish
    /// that nobody asked for lately; it is asked only then.
    pub fn new_hosts(
        &mut self,
        wish: Wish,
        since: i64,
        known: &HashSet<Address>,
        now: i64,
        may_read: impl FnOnce() -> bool,
    ) -> Result<Page, Wait> {
        let now = self.time(now);
        if let Some(kept) = self.feeds.get_mut(&wish) {
            kept.asked = now;
            return if kept.read.is_none() { Ok(kept.feed.page(since, known, now)) } else { Err(Wait::Reading) };
        }
        if !may_read() {
            return Err(Wait::Refused);
        }
        if self.feeds.len() >= FEEDS_MAX {
            let whole = self.feeds.iter().filter(|(_, kept)| kept.read.is_none());
            let Some(oldest) = whole.min_by_key(|(_, kept)| kept.asked).map(|(wish, _)| *wish) else {
                return Err(Wait::Refused);
            };
            self.feeds.remove(&oldest);
        }
        self.feeds.insert(wish, Kept { feed: Feed::default(), read: Some(0), asked: now });
        Err(Wait::Reading)
    }

    /// Does a piece of what takes long; says whether there is more.
    pub fn step(&mut self, now: i64, counters: &Counters) -> Result<bool, Error> {
        let now = self.time(now);
        let wish = self.feeds.iter().filter(|(_, kept)| kept.read.is_some()).map(|(wish, _)| *wish).min();
        match wish {
            Some(wish) => self.read(wish)?,
            None if self.is_expiring => self.expire(now.min(self.horizon) - self.limits.expiry, counters)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    /// From now on a [`Book::step`] forgets what expired.
    pub fn expire_soon(&mut self) {
        self.is_expiring = true;
    }

    /// Reads some hosts for a wish.
    fn read(&mut self, wish: Wish) -> Result<(), Error> {
        let Some(kept) = self.feeds.get_mut(&wish) else { return Ok(()) };
        let from = kept.read.unwrap_or(0);
        let query = "SELECT id, address, first_time, latest_time, current_reports >= ?2 AND resiliency >= ?3 FROM hosts
            WHERE id > ?1 ORDER BY id LIMIT ?4";
        let mut hosts = self.db.prepare_cached(query)?;
        let mut hosts = hosts.query(params![from, wish.threshold, wish.resiliency, STEP])?;
        let mut last = None;
        while let Some(row) = hosts.next()? {
            let id: i64 = row.get(0)?;
            last = Some(id);
            let (text, may_be_due): (String, bool) = (row.get(1)?, row.get(4)?);
            let (Some(address), true) = (address::parse(text.as_bytes()), may_be_due) else { continue };
            let host = Host { first: row.get(2)?, latest: row.get(3)? };
            kept.feed.moved(address, None, due::due(host, &rows(&self.db, id)?, wish));
        }
        kept.read = last;
        Ok(())
    }

    /// Forgets reports of some hosts that ended before a time, then hosts and reporters without any.
    fn expire(&mut self, before: i64, counters: &Counters) -> Result<(), Error> {
        let change = self.db.transaction()?;
        let query = "SELECT DISTINCT host FROM reports WHERE latest_time < ?1 LIMIT ?2";
        let hosts: Vec<i64> = change
            .prepare_cached(query)?
            .query_map(params![before, STEP], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let (mut changes, mut gone_rows, mut gone_hosts, mut gone_reporters) = (Vec::new(), 0, 0, 0);
        for id in &hosts {
            let query = "SELECT address, first_time, latest_time FROM hosts WHERE id = ?1";
            let host = change
                .prepare_cached(query)?
                .query_row([id], |row| Ok((row.get::<_, String>(0)?, Host { first: row.get(1)?, latest: row.get(2)? })))
                .optional()?;
            let old = rows(&change, *id)?;
            let left: Vec<Row> = old.iter().copied().filter(|row| row.latest >= before).collect();
            let delete = "DELETE FROM reports WHERE host = ?1 AND latest_time < ?2";
            gone_rows += change.prepare_cached(delete)?.execute(params![id, before])? as i64;
            if left.is_empty() {
                gone_hosts += change.prepare_cached("DELETE FROM hosts WHERE id = ?1")?.execute([id])? as i64;
            } else {
                let reporters: HashSet<i64> = left.iter().map(|row| row.reporter).collect();
                let update = "UPDATE hosts SET current_reports = ?2 WHERE id = ?1";
                change.prepare_cached(update)?.execute(params![id, reporters.len() as i64])?;
            }
            if let Some((text, host)) = host
                && let Some(address) = address::parse(text.as_bytes())
            {
                let after = (!left.is_empty()).then_some((host, left));
                changes.push(Change { id: *id, address, before: Some((host, old)), after });
            }
        }
        if (hosts.len() as i64) < STEP {
            // Whatever they reported has expired.
            gone_reporters += change.execute("DELETE FROM reporters WHERE latest_time < ?1", [before])? as i64;
            change.execute("DELETE FROM hours WHERE hour < ?1", [self.time / 3600 - HOURS_KEPT])?;
            self.is_expiring = false;
        }
        change.commit()?;
        self.reports -= gone_rows;
        self.hosts -= gone_hosts;
        self.reporters -= gone_reporters;
        counters.add(Count::Expired, gone_hosts as usize);
        self.changed(&changes);
        Ok(())
    }

    /// How much there is: hosts, rows of reports, reporters.
    pub fn size(&self) -> [i64; 3] {
        [self.hosts, self.reports, self.reporters]
    }

    /// The wishes that are kept, and how many hosts are due for each.
    pub fn wishes(&self) -> Vec<(Wish, usize)> {
        let mut all: Vec<_> = self.feeds.iter().map(|(wish, kept)| (*wish, kept.feed.len())).collect();
        all.sort_unstable();
        all
    }
}

/// Notes that somebody reports: his row, whether he is new, and whether he reports for the first time today.
fn reported(db: &Transaction<'_>, name: &str, now: i64, is_room: bool) -> rusqlite::Result<Option<(i64, bool, bool)>> {
    let found = db
        .prepare_cached("SELECT id, latest_time FROM reporters WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    if let Some((id, latest)) = found {
        db.prepare_cached("UPDATE reporters SET latest_time = ?2 WHERE id = ?1")?.execute([id, now])?;
        return Ok(Some((id, false, day(latest) < day(now))));
    }
    if !is_room {
        return Ok(None);
    }
    let insert = "INSERT INTO reporters(name, first_time, latest_time) VALUES(?1, ?2, ?2)";
    db.prepare_cached(insert)?.execute(params![name, now])?;
    Ok(Some((db.last_insert_rowid(), true, true)))
}

fn host(db: &Connection, address: Address) -> rusqlite::Result<Option<(i64, Host)>> {
    db.prepare_cached("SELECT id, first_time, latest_time FROM hosts WHERE address = ?1")?
        .query_row([address.to_string()], |row| Ok((row.get(0)?, Host { first: row.get(1)?, latest: row.get(2)? })))
        .optional()
}

fn rows(db: &Connection, host: i64) -> rusqlite::Result<Vec<Row>> {
    db.prepare_cached("SELECT reporter, first_time, latest_time FROM reports WHERE host = ?1")?
        .query_map([host], |row| Ok(Row { reporter: row.get(0)?, first: row.get(1)?, latest: row.get(2)? }))?
        .collect()
}

/// Writes a step; says how many rows it adds.
fn write(db: &Connection, host: i64, step: Step, reporter: i64, now: i64) -> rusqlite::Result<i64> {
    match step {
        Step::First | Step::Again => {
            db.prepare_cached("INSERT INTO reports VALUES(?1, ?2, ?3, ?3)")?.execute([host, reporter, now])?;
            Ok(1)
        }
        Step::Moved(first) => {
            let update = "UPDATE reports SET latest_time = ?4 WHERE host = ?1 AND reporter = ?2 AND first_time = ?3";
            db.prepare_cached(update)?.execute([host, reporter, first, now])?;
            Ok(0)
        }
        Step::Known => Ok(0),
    }
}

/// Forgets the host that was reported longest ago, of those that one reporter alone has: anybody may have made it up.
fn evict(db: &Connection) -> rusqlite::Result<Option<Change>> {
    let query =
        "SELECT id, address, first_time, latest_time FROM hosts WHERE current_reports <= 1 ORDER BY current_reports,
        latest_time LIMIT 1";
    let found = db
        .prepare_cached(query)?
        .query_row([], |row| {
            let host = Host { first: row.get(2)?, latest: row.get(3)? };
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, host))
        })
        .optional()?;
    let Some((id, text, host)) = found else { return Ok(None) };
    let rows = rows(db, id)?;
    db.prepare_cached("DELETE FROM reports WHERE host = ?1")?.execute([id])?;
    db.prepare_cached("DELETE FROM hosts WHERE id = ?1")?.execute([id])?;
    let address = address::parse(text.as_bytes()).unwrap_or(Address::from_bits(0));
    Ok(Some(Change { id, address, before: Some((host, rows)), after: None }))
}

/// Adds to the figures of the hour and of the day.
fn count(db: &Connection, now: i64, reports: usize, new_hosts: usize, is_first: bool) -> rusqlite::Result<()> {
    let hours = "INSERT INTO hours VALUES(?1, ?2, ?3)
        ON CONFLICT DO UPDATE SET reports = reports + ?2, new_hosts = new_hosts + ?3";
    let days = "INSERT INTO days VALUES(?1, ?2, ?3, ?4)
        ON CONFLICT DO UPDATE SET reports = reports + ?2, new_hosts = new_hosts + ?3, reporters = reporters + ?4";
    let (reports, new_hosts) = (reports as i64, new_hosts as i64);
    db.prepare_cached(hours)?.execute([now.div_euclid(3600), reports, new_hosts])?;
    db.prepare_cached(days)?.execute([day(now), reports, new_hosts, i64::from(is_first)])?;
    Ok(())
}

fn day(time: i64) -> i64 {
    time.div_euclid(24 * 3600)
}

#[cfg(test)]
mod tests;
