//! FAQ 4.9 by a hub that knows of earlier hours, since it took over what another one knew.

use std::fs;
use std::process::Command;

use kit::Home;

use super::super::hub::Hub;
use super::{configure, denied, first};

const HOUR: i64 = 3600;

/// An attacker at 12, 14 and 17 o'clock, as three told, and one whom only the first two met: who wants 4 hours denies the first
/// alone. With a threshold of 1 that means nothing.
#[test]
fn an_attacker_of_five_hours_is_told_to_who_wants_four() {
    let mut hub = Hub::new("");
    let noon = kit::now().as_second() - 12 * HOUR;
    let [two, five] = [2, 5].map(|hours| noon + hours * HOUR);
    let file = hub.path("denyhosts.sqlite");
    let tables = format!(
        "CREATE TABLE crackers (id INTEGER PRIMARY KEY, ip_address CHAR(15), first_time INTEGER, latest_time INTEGER,
             total_reports INTEGER, current_reports INTEGER, resiliency INTEGER);
         CREATE TABLE reports (id INTEGER PRIMARY KEY, cracker_id INTEGER, ip_address CHAR(15), first_report_time INTEGER,
             latest_report_time INTEGER);
         CREATE TABLE history (date DATE PRIMARY KEY, num_reports INTEGER, num_contributors INTEGER,
             num_reported_hosts INTEGER);
         INSERT INTO crackers VALUES (1,'20.9.9.1',{noon},{five},3,3,18000), (2,'20.9.9.2',{noon},{two},2,2,7200);
         INSERT INTO reports VALUES (1,1,'198.51.100.1',{noon},{noon}), (2,1,'198.51.100.2',{two},{two}),
             (3,1,'198.51.100.3',{five},{five}), (4,2,'198.51.100.1',{noon},{noon}), (5,2,'198.51.100.2',{two},{two});"
    );
    let script = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1])\ndb.executescript(sys.argv[2])";
    let made = Command::new("python3").args(["-c", script]).arg(&file).arg(&tables).status().unwrap();
    assert!(made.success());
    let output = hub.verb(&["import", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::remove_file(&file).unwrap();
    hub.start();
    let check = |keys: &str, want: &[&str]| {
        let home = Home::with_log();
        let sync = format!("[sync]\nserver = \"http://127.0.0.1:{}\"\n{keys}[[input]]", hub.port);
        configure(&home, "[[input]]", &sync);
        let _daemon = home.start();
        first(&home);
        assert_eq!(denied(&home), want, "{keys}");
    };
    check("threshold = 2\nresiliency = \"4h\"\n", &["20.9.9.1"]);
    check("threshold = 2\nresiliency = \"2h\"\n", &["20.9.9.1", "20.9.9.2"]);
    check("threshold = 3\nresiliency = \"4h\"\n", &["20.9.9.1"]);
    check("threshold = 3\nresiliency = \"6h\"\n", &[]);
    check("threshold = 1\nresiliency = \"6h\"\n", &["20.9.9.1", "20.9.9.2"]);
}
