//! What the hub's database says in figures: counts, the charts' bars, the hosts that stand at the top.
//!
//! Reads only, in one transaction, so that the figures fit one another. A thread makes them now and
//! then, and who asks for the page is given the last ones, whatever the database holds. Contributors are a number here: their names
//! and addresses are never read.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, Rows};

/// Hosts in each table.
pub const ROWS: usize = 10;
/// Bars of the chart of the whole history, at most.
pub const BARS_MAX: usize = 120;
/// Days of history that are read: a hundred years.
const DAYS_MAX: i64 = 36_525;
/// Bytes of an address that are read. The longest address has 45.
const ADDRESS_MAX: i64 = 1024;
/// A contributor is counted for as many days after his last report.
pub const CONTRIBUTES_DAYS: i64 = 30;
/// Hours of the chart of the last day, days of the chart of the last month.
const HOURS: i64 = 24;
const DAYS: i64 = 28;
const HOUR_S: i64 = 3600;
const DAY_S: i64 = 86_400;
/// A clock that says more is taken to say this: in the year 9987, while the calendar still goes on.
const NOW_MAX: i64 = 253_000_000_000;

/// The figures of the page. Times are seconds since 1970. The default is what is known before anything was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// When they were made; 0 if they never were.
    pub made: i64,
    /// Hosts on the list.
    pub hosts: u64,
    /// Who reported in the last [`CONTRIBUTES_DAYS`].
    pub contributors: u64,
    /// Reports of the whole history.
    pub reports: u64,
    /// The last 24 hours, this one too.
    pub day: Series,
    /// The last 28 days, today too.
    pub month: Series,
    /// All since the first report, and no less than a month.
    pub history: Series,
    /// The hosts that most contributors reported, the last first: one contributor alone moves nobody up.
    pub most: Vec<Host>,
    /// The hosts that were reported last.
    pub recent: Vec<Host>,
}

/// A host that was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its address, as the database has it: any text.
    pub address: String,
    /// When it was reported first.
    pub first: i64,
    /// When it was reported last.
    pub latest: i64,
    /// All reports about it.
    pub reports: u64,
    /// Who reported it lately: how many.
    pub reporters: u64,
}

/// Bars beside each other, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// What each stands for.
    pub step: Step,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// What was told in one step of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// When it begins.
    pub start: i64,
    /// Reports.
    pub reports: u64,
    /// Hosts that nobody had reported before.
    pub new_hosts: u64,
}

/// A step of time, of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day.
    #[default]
    Day,
    /// A week, from Monday on.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

impl Statistics {
    /// Reads them; `now` is in seconds since 1970.
    pub fn read(db: &Connection, now: i64) -> rusqlite::Result<Statistics> {
        let now = now.clamp(0, NOW_MAX);
        let snapshot = db.unchecked_transaction()?;
        let hosts = snapshot.query_row("SELECT count(*) FROM hosts", [], |row| Ok(number(row, 0)))?;
        let contributors = snapshot.query_row(
            "SELECT count(*) FROM reporters WHERE latest_time > ?1",
            [now - CONTRIBUTES_DAYS * DAY_S],
            |row| Ok(number(row, 0)),
        )?;

        let (hour, today) = (now.div_euclid(HOUR_S), now.div_euclid(DAY_S));
        let hours = bars(
            snapshot
                .prepare("SELECT hour, reports, new_hosts FROM hours WHERE hour BETWEEN ?1 AND ?2 ORDER BY hour")?
                .query([hour - HOURS + 1, hour])?,
            HOUR_S,
        )?;
        let days = bars(
            snapshot
                .prepare("SELECT day, reports, new_hosts FROM days WHERE day BETWEEN ?1 AND ?2 ORDER BY day")?
                .query([(today - DAYS_MAX).max(0), today])?,
            DAY_S,
        )?;
        let month = (today - DAYS + 1) * DAY_S;
        let first = days.first().map_or(month, |bar| bar.start.min(month));
        Ok(Statistics {
            made: now,
            hosts,
            contributors,
            reports: days.iter().fold(0, |sum, bar| sum.saturating_add(bar.reports)),
            day: Series::of(&hours, Step::Hour, (hour - HOURS + 1) * HOUR_S, now),
            month: Series::of(&days, Step::Day, month, now),
            history: Series::that_fits(&days, first, now),
            most: top(&snapshot, "current_reports DESC, latest_time DESC")?,
            recent: top(&snapshot, "latest_time DESC")?,
        })
    }
}

impl Series {
    /// What `rows` tell from the step that holds `first` to the one that holds `now`: one bar a step.
    fn of(rows: &[Bar], step: Step, first: i64, now: i64) -> Series {
        let starts = std::iter::successors(Some(step.start(first)), |start| Some(step.next(*start)));
        let mut bars: Vec<Bar> =
            starts.take_while(|start| *start <= now).map(|start| Bar { start, ..Bar::default() }).collect();
        for row in rows {
            let after = bars.partition_point(|bar| bar.start <= row.start);
            if let Some(bar) = after.checked_sub(1).and_then(|index| bars.get_mut(index)) {
                bar.reports = bar.reports.saturating_add(row.reports);
                bar.new_hosts = bar.new_hosts.saturating_add(row.new_hosts);
            }
        }
        Series { step, bars }
    }

    /// The same, by the smallest step that makes no more than [`BARS_MAX`] bars.
    fn that_fits(days: &[Bar], first: i64, now: i64) -> Series {
        let steps = [Step::Day, Step::Week, Step::Month, Step::Year].into_iter();
        let mut made = steps.map(|step| Series::of(days, step, first, now));
        made.find(|series| series.bars.len() <= BARS_MAX).unwrap_or_default()
    }

    /// Reports of all bars.
    pub fn reports(&self) -> u64 {
        self.bars.iter().fold(0, |sum, bar| sum.saturating_add(bar.reports))
    }

    /// New hosts of all bars.
    pub fn new_hosts(&self) -> u64 {
        self.bars.iter().fold(0, |sum, bar| sum.saturating_add(bar.new_hosts))
    }
}

impl Step {
    /// Where the step begins that holds `time`.
    fn start(self, time: i64) -> i64 {
        let day = civil(time).date();
        match self {
            Step::Hour => time.div_euclid(HOUR_S) * HOUR_S,
            Step::Day => time.div_euclid(DAY_S) * DAY_S,
            // 1970 began on a Thursday.
            Step::Week => ((time.div_euclid(DAY_S) + 3).div_euclid(7) * 7 - 3) * DAY_S,
            Step::Month => midnight(day.first_of_month()),
            Step::Year => midnight(day.first_of_year()),
        }
    }

    /// Where the next one begins, if `start` is where one does.
    fn next(self, start: i64) -> i64 {
        let longest_days = match self {
            Step::Hour => return start + HOUR_S,
            Step::Day => return start + DAY_S,
            Step::Week => return start + 7 * DAY_S,
            Step::Month => 31,
            Step::Year => 366,
        };
        self.start(start + longest_days * DAY_S)
    }
}

/// A time as UTC's calendar has it; the calendar ends with the year 9999.
pub fn civil(time: i64) -> DateTime {
    let time = jiff::Timestamp::from_second(time).unwrap_or(if time < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    });
    time.to_zoned(TimeZone::UTC).datetime()
}

fn midnight(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(i64::MAX, |day| day.timestamp().as_second())
}

/// The first hosts in this order.
fn top(db: &Connection, order: &'static str) -> rusqlite::Result<Vec<Host>> {
    let sql = format!(
        "SELECT substr(CAST(address AS BLOB), 1, {ADDRESS_MAX}), first_time, latest_time, total_reports, current_reports
         FROM hosts ORDER BY {order} LIMIT {ROWS}"
    );
    let host = |row: &Row<'_>| {
        let address = row.get_ref(0)?.as_bytes().unwrap_or_default();
        Ok(Host {
            address: String::from_utf8_lossy(address).into_owned(),
            first: time(row, 1),
            latest: time(row, 2),
            reports: number(row, 3),
            reporters: number(row, 4),
        })
    };
    db.prepare(&sql)?.query_map([], host)?.collect()
}

/// Rows of a number of steps since 1970 with what was counted in it.
fn bars(mut rows: Rows<'_>, step_s: i64) -> rusqlite::Result<Vec<Bar>> {
    let mut bars = Vec::new();
    while let Some(row) = rows.next()? {
        let start = time(row, 0).saturating_mul(step_s);
        bars.push(Bar { start, reports: number(row, 1), new_hosts: number(row, 2) });
    }
    Ok(bars)
}

/// A column as a count: what is none, or less, is 0.
fn number(row: &Row<'_>, column: usize) -> u64 {
    u64::try_from(time(row, column)).unwrap_or(0)
}

fn time(row: &Row<'_>, column: usize) -> i64 {
    match row.get_ref(column) {
        Ok(ValueRef::Integer(number)) => number,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
