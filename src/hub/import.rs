//! Takes over what a server of denyhosts_sync knew: its SQLite database, or a dump of its MySQL one.
//!
//! Its hosts, who reported them when, and the figures of its days. What is no address, or one that the hub would not take,
//! is left out and counted; so are hosts that it had of another server (`legacy`), of whom nobody knows who reported them.
//! To import twice changes nothing.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;

use rusqlite::{Connection, OpenFlags, Transaction, params};

use super::dump::{self, Row};
use super::{calls, settings, store};

/// How many hosts, and how many rows of reports, are taken over.
const ROWS_MAX: usize = 10_000_000;

/// What was taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Hosts.
    pub hosts: usize,
    /// Rows of reports.
    pub reports: usize,
    /// Days of which it had figures.
    pub days: usize,
    /// Rows that mean nothing here.
    pub left_out: usize,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("cannot read it: {0}")]
    File(#[from] io::Error),
    /// Either database.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The hub's own.
    #[error("{0}")]
    Store(#[from] store::Error),
    /// It is another thing.
    #[error("it has no table `crackers`: it is neither the database of a denyhosts_sync server nor a dump of one")]
    Nothing,
}

/// Their tables, as they have them, where a dump does not say.
fn usual(table: &str) -> &'static [&'static str] {
    match table {
        "crackers" => {
            &["id", "ip_address", "first_time", "latest_time", "total_reports", "current_reports", "resiliency"]
        }
        "reports" => &["id", "cracker_id", "ip_address", "first_report_time", "latest_report_time"],
        "history" => &["date", "num_reports", "num_contributors", "num_reported_hosts"],
        _ => &[],
    }
}

/// Takes it over into the hub's database in `dir`, all or nothing, while no hub runs. `now` is in seconds of the epoch.
pub fn import(file: &Path, dir: &Path, now: i64) -> Result<Imported, Error> {
    let _lock = store::lock(dir)?;
    let mut db = store::open(dir)?;
    let change = db.transaction().map_err(store::Error::from)?;
    let mut into = Into { db: &change, now, hosts: HashMap::new(), done: Imported::default() };
    let mut opened = File::open(file)?;
    let mut magic = Vec::new();
    (&mut opened).take(16).read_to_end(&mut magic)?;
    if magic == b"SQLite format 3\0" {
        into.sqlite(&Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?)?;
    } else {
        opened.rewind()?;
        dump::read(BufReader::new(opened), usual, |table, row| into.row(table, &row))?;
    }
    let done = into.done;
    if done.hosts == 0 {
        return Err(Error::Nothing);
    }
    change.execute(
        "UPDATE hosts SET current_reports = (SELECT count(DISTINCT reporter) FROM reports WHERE host = hosts.id)",
        [],
    )?;
    // Without a report a host would never expire.
    change.execute("DELETE FROM hosts WHERE current_reports = 0", [])?;
    // `WHERE true`: or SQLite takes ON for a join's.
    let days = "INSERT INTO days SELECT first_time / 86400, 0, count(*), 0 FROM hosts WHERE true GROUP BY 1
        ON CONFLICT DO UPDATE SET new_hosts = max(new_hosts, excluded.new_hosts)";
    change.execute(days, [])?;
    change.commit()?;
    Ok(done)
}

struct Into<'a> {
    db: &'a Transaction<'a>,
    now: i64,
    /// Their number of a host, and ours.
    hosts: HashMap<i64, i64>,
    done: Imported,
}

impl Into<'_> {
    fn sqlite(&mut self, theirs: &Connection) -> Result<(), Error> {
        for table in ["crackers", "reports", "history"] {
            let exists = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1";
            if theirs.query_row(exists, [table], |row| row.get::<_, i64>(0))? == 0 {
                continue;
            }
            let mut query = theirs.prepare(&format!("SELECT * FROM {table}"))?;
            let names: Vec<String> = query.column_names().map(str::to_owned).collect();
            let mut rows = query.query([])?;
            while let Some(row) = rows.next()? {
                let mut values = Row::new();
                for (place, name) in names.iter().enumerate() {
                    use rusqlite::types::ValueRef::{Integer, Real, Text};
                    let value = match row.get_ref(place)? {
                        Integer(number) => number.to_string(),
                        Real(number) => number.to_string(),
                        Text(text) => String::from_utf8_lossy(text).into_owned(),
                        _ => continue,
                    };
                    values.insert(name.clone(), value);
                }
                self.row(table, &values)?;
            }
        }
        Ok(())
    }

    fn row(&mut self, table: &str, row: &Row) -> Result<(), Error> {
        let taken = match table {
            "crackers" if self.hosts.len() < ROWS_MAX => self.host(row)?,
            "reports" if self.done.reports < ROWS_MAX => self.report(row)?,
            "history" => self.day(row)?,
            "crackers" | "reports" => None,
            _ => return Ok(()),
        };
        if taken.is_none() {
            self.done.left_out += 1;
        }
        Ok(())
    }

    /// A time that was, in seconds.
    fn time(&self, row: &Row, column: &str) -> Option<i64> {
        number(row, column).filter(|time| (0..=self.now).contains(time))
    }

    fn host(&mut self, row: &Row) -> Result<Option<()>, Error> {
        let read = || {
            let address = calls::public(row.get("ip_address")?)?;
            Some((number(row, "id")?, address, self.time(row, "first_time")?, self.time(row, "latest_time")?))
        };
        let Some((id, address, first, latest)) = read() else { return Ok(None) };
        let insert = "INSERT INTO hosts(address, first_time, latest_time, resiliency, total_reports, current_reports)
            VALUES(?1, ?2, ?3, ?3 - ?2, ?4, 0)
            ON CONFLICT DO UPDATE SET first_time = min(first_time, ?2), latest_time = max(latest_time, ?3),
                resiliency = max(latest_time, ?3) - min(first_time, ?2), total_reports = max(total_reports, ?4)
            RETURNING id";
        let total = number(row, "total_reports").unwrap_or(1).max(1);
        let ours = self
            .db
            .prepare_cached(insert)?
            .query_row(params![address.to_string(), first, latest.max(first), total], |row| row.get(0))?;
        self.hosts.insert(id, ours);
        self.done.hosts += 1;
        Ok(Some(()))
    }

    fn report(&mut self, row: &Row) -> Result<Option<()>, Error> {
        let read = || {
            let host = *self.hosts.get(&number(row, "cracker_id")?)?;
            let reporter = row.get("ip_address")?.trim().parse().ok().map(settings::net)?;
            let (first, latest) = (self.time(row, "first_report_time")?, self.time(row, "latest_report_time")?);
            Some((host, reporter, first, latest.max(first)))
        };
        let Some((host, name, first, latest)) = read() else { return Ok(None) };
        let insert = "INSERT INTO reporters(name, first_time, latest_time) VALUES(?1, ?2, ?3)
            ON CONFLICT DO UPDATE SET first_time = min(first_time, ?2), latest_time = max(latest_time, ?3) RETURNING id";
        let reporter =
            self.db.prepare_cached(insert)?.query_row(params![name, first, latest], |row| row.get::<_, i64>(0))?;
        self.db
            .prepare_cached("INSERT OR IGNORE INTO reports VALUES(?1, ?2, ?3, ?4)")?
            .execute([host, reporter, first, latest])?;
        self.done.reports += 1;
        Ok(Some(()))
    }

    fn day(&mut self, row: &Row) -> Result<Option<()>, Error> {
        let read = || {
            let date: jiff::civil::Date = row.get("date")?.get(..10)?.parse().ok()?;
            let epoch = jiff::civil::Date::constant(1970, 1, 1);
            let day = i64::from(epoch.until((jiff::Unit::Day, date)).ok()?.get_days());
            (day <= self.now / 86_400).then_some((day, number(row, "num_reports")?, number(row, "num_contributors")?))
        };
        let Some((day, reports, reporters)) = read() else { return Ok(None) };
        let insert = "INSERT INTO days VALUES(?1, ?2, 0, ?3)
            ON CONFLICT DO UPDATE SET reports = max(reports, ?2), reporters = max(reporters, ?3)";
        self.db.prepare_cached(insert)?.execute([day, reports.max(0), reporters.max(0)])?;
        self.done.days += 1;
        Ok(Some(()))
    }
}

/// A number, of which SQLite may have a double.
fn number(row: &Row, column: &str) -> Option<i64> {
    let text = row.get(column)?;
    text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|it| it.is_finite()).map(|it| it as i64))
}
