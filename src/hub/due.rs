//! What a report of a host changes, and since when a host is due to who asks with a threshold and a resiliency: as
//! denyhosts_sync did it (its algorithm is of Debian's bug 622697), but that nothing is lost.
//!
//! A host is due from the moment on at which as many reporters as the threshold had reported it, and the time between its
//! first report and its latest had reached the resiliency. Who asked before that moment is to be told, whoever asked after
//! it knows. With a threshold of 1 there is no resiliency (FAQ 4.9). Nothing here reads a clock or a database.

/// How long after a reporter's last counted report of a host it counts again, in seconds.
const AGAIN: i64 = 24 * 3600;

/// How many rows a reporter may have of a host; the last of them moves then.
const ROWS_EACH: usize = 3;

/// A host as it stands in its row. Times are seconds of the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its first report.
    pub first: i64,
    /// Its latest report.
    pub latest: i64,
}

/// Reports of a host by one reporter, as they stand in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Who reported it.
    pub reporter: i64,
    /// When this row began; no two of one reporter begin at once.
    pub first: i64,
    /// The latest report that counts in it.
    pub latest: i64,
}

/// What a report changes in the rows of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A reporter who had not reported it: a row, and one reporter more.
    First,
    /// A row more of a reporter who reported it a day ago or longer.
    Again,
    /// The reporter's row that began at this time now ends at the report.
    Moved(i64),
    /// No row; the host's latest report is this one, as in each case.
    Known,
}

/// What a report at `now` changes. `rows` are the host's; `now` is not before any of them.
pub fn step(rows: &[Row], reporter: i64, now: i64) -> Step {
    let own = || rows.iter().filter(|row| row.reporter == reporter);
    match own().max_by_key(|row| row.first) {
        None => Step::First,
        Some(newest) if own().count() >= ROWS_EACH => Step::Moved(newest.first),
        Some(newest) if now > newest.latest + AGAIN => Step::Again,
        Some(_) => Step::Known,
    }
}

/// Carries out a step on rows in memory.
pub fn apply(rows: &mut Vec<Row>, step: Step, reporter: i64, now: i64) {
    match step {
        Step::First | Step::Again => rows.push(Row { reporter, first: now, latest: now }),
        Step::Moved(first) => {
            rows.iter_mut()
                .filter(|row| row.reporter == reporter && row.first == first)
                .for_each(|row| row.latest = now);
        }
        Step::Known => {}
    }
}

/// What somebody asks for. [`Wish::new`] makes one of those that mean the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wish {
    /// How many must have reported a host; at least 1.
    pub threshold: u32,
    /// Seconds between its first report and its latest; 0 with a threshold of 1.
    pub resiliency: i64,
}

impl Wish {
    /// What a client asked, with any numbers.
    pub fn new(threshold: u32, resiliency: u64) -> Self {
        let resiliency = if threshold <= 1 { 0 } else { i64::try_from(resiliency).unwrap_or(i64::MAX) };
        Wish { threshold: threshold.max(1), resiliency }
    }
}

/// Since when a host is due; `None` = it is not. What the rows do not have (a report within a day of another) is taken for
/// later than it was: a client may be told once more, and is never told too little.
pub fn due(host: Host, rows: &[Row], wish: Wish) -> Option<i64> {
    let mut reporters: Vec<(i64, i64)> = rows.iter().map(|row| (row.reporter, row.first)).collect();
    reporters.sort_unstable();
    reporters.dedup_by_key(|(reporter, _)| *reporter);
    let mut firsts: Vec<i64> = reporters.into_iter().map(|(_, first)| first).collect();
    firsts.sort_unstable();
    let by_many = *firsts.get(usize::try_from(wish.threshold).ok()?.checked_sub(1)?)?;
    if wish.resiliency == 0 {
        return Some(by_many);
    }
    let then = host.first.checked_add(wish.resiliency)?;
    if host.latest < then {
        return None;
    }
    let reached = rows.iter().flat_map(|row| [row.first, row.latest]).filter(|time| *time >= then).min();
    Some(by_many.max(reached.unwrap_or(host.latest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    /// A host that was reported by these reporters at these times.
    fn reported(reports: &[(i64, i64)]) -> (Host, Vec<Row>) {
        let mut rows = Vec::new();
        for &(reporter, at) in reports {
            let step = step(&rows, reporter, at);
            apply(&mut rows, step, reporter, at);
        }
        (Host { first: reports[0].1, latest: reports[reports.len() - 1].1 }, rows)
    }

    #[test]
    fn reports_are_recorded_as_denyhosts_sync_did() {
        let check = |reports: &[(i64, i64)], want: &[(i64, i64, i64)]| {
            let rows: Vec<_> = reported(reports).1.iter().map(|row| (row.reporter, row.first, row.latest)).collect();
            assert_eq!(rows, want, "{reports:?}");
        };
        check(&[(1, 0)], &[(1, 0, 0)]);
        check(&[(1, 0), (1, DAY)], &[(1, 0, 0)]);
        check(&[(1, 0), (1, DAY + 1)], &[(1, 0, 0), (1, DAY + 1, DAY + 1)]);
        check(&[(1, 0), (2, 5), (1, 9)], &[(1, 0, 0), (2, 5, 5)]);
        let three = [(1, 0), (1, 2 * DAY), (1, 4 * DAY), (1, 4 * DAY + 7), (1, 9 * DAY)];
        check(&three, &[(1, 0, 0), (1, 2 * DAY, 2 * DAY), (1, 4 * DAY, 9 * DAY)]);
    }

    #[test]
    fn a_host_is_due_by_distinct_reporters_and_resiliency() {
        let check = |reports: &[(i64, i64)], threshold, resiliency, want| {
            let (host, rows) = reported(reports);
            assert_eq!(
                due(host, &rows, Wish::new(threshold, resiliency)),
                want,
                "{reports:?} {threshold} {resiliency}"
            );
        };
        check(&[(1, 10)], 1, 0, Some(10));
        // A threshold of 1 knows no resiliency, and one of 0 is one of 1.
        check(&[(1, 10)], 1, 5 * 3600, Some(10));
        check(&[(1, 10)], 0, u64::MAX, Some(10));
        // Distinct reporters, not reports.
        check(&[(1, 10), (1, 11), (1, 12), (1, 10 + 2 * DAY)], 2, 0, None);
        check(&[(1, 10), (1, 10 + 2 * DAY), (2, 10 + 3 * DAY)], 2, 0, Some(10 + 3 * DAY));
        check(&[(1, 10), (2, 20), (3, 30), (4, 40)], 3, 0, Some(30));
        // FAQ 4.9: reported at 12, 14 and 17 o'clock, and asked for with 4 hours.
        check(&[(1, 12 * HOUR), (2, 14 * HOUR)], 2, 4 * 3600, None);
        check(&[(1, 12 * HOUR), (2, 14 * HOUR), (3, 17 * HOUR)], 2, 4 * 3600, Some(17 * HOUR));
        check(&[(1, 12 * HOUR), (2, 14 * HOUR), (1, 17 * HOUR)], 2, 4 * 3600, Some(17 * HOUR));
        check(&[(1, 12 * HOUR), (2, 14 * HOUR), (1, 17 * HOUR)], 2, 5 * 3600, Some(17 * HOUR));
        check(&[(1, 12 * HOUR), (2, 14 * HOUR), (1, 17 * HOUR)], 2, 5 * 3600 + 1, None);
        // Resilient first, and by many later; what came after that moment moves nothing.
        check(&[(1, 0), (1, 2 * DAY), (2, 3 * DAY), (3, 4 * DAY)], 2, 3600, Some(3 * DAY));
        check(&[(1, 0), (2, HOUR), (3, 2 * HOUR), (4, 3 * HOUR)], 2, 3600, Some(HOUR));
        check(&[(1, 0)], u32::MAX, u64::MAX, None);
        check(&[(1, 0), (2, 1)], 2, u64::MAX, None);
    }
}
