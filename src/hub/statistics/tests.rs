use super::*;
use crate::hub::store;

/// Monday, 2026-11-30 16:20:00 UTC.
const NOW: i64 = 1_796_055_600;
const TODAY: i64 = NOW / DAY_S;

/// The hub's own database, with rows in it; it goes with the directory.
fn database(rows: &str) -> (tempfile::TempDir, Connection) {
    let dir = tempfile::tempdir().expect("a directory");
    let db = store::open(dir.path()).expect("a database");
    db.execute_batch(rows).expect("rows");
    (dir, db)
}

fn read(rows: &str) -> Statistics {
    Statistics::read(&database(rows).1, NOW).expect("figures")
}

/// Where a bar begins, as the calendar has it.
fn at(bar: &Bar) -> String {
    civil(bar.start).strftime("%Y-%m-%d %H:%M").to_string()
}

#[test]
fn nothing_is_all_zero() {
    let found = read("");
    assert_eq!((found.hosts, found.contributors, found.reports), (0, 0, 0));
    assert_eq!((found.day.bars.len(), found.month.bars.len(), found.history.bars.len()), (24, 28, 28));
    assert_eq!((found.day.reports(), found.day.new_hosts()), (0, 0));
    assert!(found.most.is_empty() && found.recent.is_empty());
    assert_eq!(found.made, NOW);
}

#[test]
fn charts_begin_and_end_where_they_say() {
    let found = read("");
    let ends = |series: &Series| (at(&series.bars[0]), at(series.bars.last().expect("bars")));
    let pair = |first: &str, last: &str| (first.to_owned(), last.to_owned());
    assert_eq!(ends(&found.day), pair("2026-11-29 17:00", "2026-11-30 16:00"));
    assert_eq!(ends(&found.month), pair("2026-11-03 00:00", "2026-11-30 00:00"));
}

#[test]
fn counts_are_of_the_time_that_they_name() {
    let (hour, month) = (NOW / HOUR_S, NOW - CONTRIBUTES_DAYS * DAY_S);
    let found = read(&format!(
        "INSERT INTO reporters(name, first_time, latest_time) VALUES ('a', 1, {NOW}), ('b', 1, {}), ('c', 1, {month});
         INSERT INTO hours VALUES ({hour}, 5, 2), ({}, 7, 1), ({}, 100, 100), ({}, 1000, 1000);
         INSERT INTO days VALUES ({TODAY}, 12, 3, 2), ({}, 30, 4, 1), ({}, 200, 50, 1), ({}, 9000, 9000, 9);",
        month + 1,
        hour - 23,
        hour - 24,
        hour + 1,
        TODAY - 27,
        TODAY - 28,
        TODAY + 1,
    ));
    assert_eq!(found.contributors, 2);
    assert_eq!((found.day.reports(), found.day.new_hosts()), (12, 3));
    assert_eq!((found.day.bars[0].reports, found.day.bars[23].reports), (7, 5));
    assert_eq!((found.month.reports(), found.month.new_hosts()), (42, 7));
    assert_eq!((found.reports, found.history.reports(), found.history.new_hosts()), (242, 242, 57));
    assert_eq!(found.history.bars.len(), 29);
}

#[test]
fn the_history_fits_whatever_its_length() {
    let check = |days_ago: i64, step: Step, bars: usize, first: &str| {
        let found =
            read(&format!("INSERT INTO days VALUES ({}, 3, 1, 1), ({TODAY}, 4, 0, 1)", TODAY - days_ago)).history;
        assert_eq!((found.step, found.bars.len(), at(&found.bars[0])), (step, bars, first.to_owned()), "{days_ago}");
        assert_eq!((found.bars[0].reports, found.bars[bars - 1].reports), (3, 4), "{days_ago}");
        // The gap is there, as bars of nothing.
        assert_eq!(found.reports(), 7);
    };
    check(30, Step::Day, 31, "2026-10-31 00:00");
    check(119, Step::Day, 120, "2026-08-03 00:00");
    // 120 days are 17 weeks and a day, from a Sunday to a Monday.
    check(120, Step::Week, 19, "2026-07-27 00:00");
    check(119 * 7, Step::Week, 120, "2024-08-19 00:00");
    check(119 * 7 + 1, Step::Month, 28, "2024-08-01 00:00");
    check(3650, Step::Month, 120, "2016-12-01 00:00");
    check(3682, Step::Year, 11, "2016-01-01 00:00");
    check(TODAY, Step::Year, 57, "1970-01-01 00:00");
}

#[test]
fn the_tables_have_the_first_ten() {
    let rows: String = (1..=30)
        .map(|n| {
            format!(
                "INSERT INTO hosts VALUES ({n}, '192.0.2.{n}', {}, {}, 0, {}, {});",
                1000 - n,
                2000 + n,
                n * 10,
                n % 4
            )
        })
        .collect();
    let found = read(&rows);
    assert_eq!(found.hosts, 30);
    let names =
        |hosts: &[Host]| hosts.iter().map(|host| host.address.replace("192.0.2.", "")).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&found.recent), "30 29 28 27 26 25 24 23 22 21");
    // Three contributors reported those of 3, 7, 11, …; two those of 2, 6, 10, …
    assert_eq!(names(&found.most), "27 23 19 15 11 7 3 30 26 22");
    let want = Host { address: "192.0.2.27".to_owned(), first: 973, latest: 2027, reports: 270, reporters: 3 };
    assert_eq!(found.most[0], want);
}

#[test]
fn rows_that_mean_nothing_do_no_harm() {
    let found = read(
        "INSERT INTO hosts VALUES (1, x'ff3c41', 'x', x'00', 0, -5, 1e300), (2, '', 0, 9223372036854775807, 0,
             9223372036854775807, 9223372036854775807), (3, printf('%.*c', 100000, '<'), 0, 5, 0, 1, 1);
         INSERT INTO days VALUES (-9223372036854775807, 1, 1, 1), (9223372036854775807, 1, 1, 1), (0, 'x', x'00', 1),
             (1, 9223372036854775807, 9223372036854775807, 1), (2, 9223372036854775807, 9223372036854775807, 1),
             (3, 9223372036854775807, 9223372036854775807, 1);
         INSERT INTO hours VALUES (-9223372036854775807, 1, 1), (9223372036854775807, 1, 1);",
    );
    assert_eq!((found.reports, found.history.reports()), (u64::MAX, u64::MAX));
    assert_eq!(found.most.iter().map(|host| host.address.len()).collect::<Vec<_>>(), [5, 0, 1024]);
    assert_eq!(found.most[0], Host { address: "\u{fffd}<A".to_owned(), first: 0, latest: 0, reports: 0, reporters: 0 });
    for now in [i64::MIN, -1, 0, 1, i64::MAX] {
        let found = Statistics::read(&database("").1, now).expect("figures");
        assert!(found.day.bars.len() <= 24 && found.history.bars.len() <= BARS_MAX, "{now}");
    }
}

#[test]
fn a_database_that_cannot_be_read_is_an_error() {
    let (_dir, db) = database("DROP TABLE days");
    assert!(Statistics::read(&db, NOW).is_err());
}

/// All hosts are counted, and the tops are the ends of indexes. A second is what the thread that makes it may take.
#[test]
#[ignore = "a million hosts: tests/run --long"]
fn a_million_hosts_take_less_than_a_second() {
    let (_dir, db) = database("");
    db.execute_batch(&format!(
        "BEGIN;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999999)
         INSERT INTO hosts(address, first_time, latest_time, resiliency, total_reports, current_reports)
             SELECT printf('%d.%d.%d.%d', 1 + (i * 7919) % 223, (i / 256) % 256, i % 256, i / 65536), {NOW} - abs(random()) % 9000000,
                 {NOW} - abs(random()) % 2500000, 3600, abs(random()) % 5000, abs(random()) % 300 FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO reporters(name, first_time, latest_time) SELECT 'r' || i, 0, {NOW} - i * 300 FROM n;
         WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 3650)
         INSERT INTO days SELECT {TODAY} - i, 5000, 400, 90 FROM n;
         COMMIT;"
    ))
    .expect("rows");
    let mut took: Vec<_> = (0..5)
        .map(|_| {
            let start = crate::clock::monotonic();
            assert_eq!(Statistics::read(&db, NOW).expect("figures").hosts, 1_000_000);
            start.elapsed()
        })
        .collect();
    took.sort();
    println!("a million hosts: {took:?}");
    assert!(took[2].as_millis() < 1000, "{took:?}");
}
