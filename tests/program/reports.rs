//! Small logs made after public bug reports about other blockers: `tests/data/reports/NAME.log`, and what an administrator
//! would expect of it in `NAME.expected`: `attempts`, `addresses` (prefixes with a failure) and `denied` (prefixes) of
//! `scan --json --all`, called with `args`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// What `scan` makes of a report, in the keys of its `.expected`; or its error.
fn scanned(name: &str, args: &str) -> Value {
    let config = kit::config();
    let log = kit::data(&format!("reports/{name}.log"));
    let mut command = vec!["--config", config.arg(), "scan", "--json", "--all"];
    command.extend(args.split_whitespace());
    command.push(log.to_str().unwrap());
    let (_, out, err) = kit::run(&command, b"");
    let Ok(found) = serde_json::from_slice::<Value>(&out) else { return json!(String::from_utf8_lossy(&err)) };
    let prefixes = |key: &str, keep: fn(&Value) -> bool| -> BTreeSet<String> {
        found[key].as_array().unwrap().iter().filter(|row| keep(row)).map(|row| kit::text(&row["prefix"])).collect()
    };
    let failed = |row: &Value| ["invalid", "valid", "root", "restricted"].iter().any(|class| row[class] != 0);
    json!({
        "attempts": found["attempts"],
        "addresses": prefixes("tallies", failed),
        "denied": prefixes("denied", |_| true),
    })
}

#[test]
fn each_counts_what_an_administrator_expects() {
    let mut names: Vec<_> = std::fs::read_dir(kit::data("reports"))
        .unwrap()
        .filter_map(|file| Some(file.unwrap().file_name().to_str()?.strip_suffix(".expected")?.to_owned()))
        .collect();
    names.sort_unstable();
    assert!(names.len() >= 40, "{names:?}");
    let mut wrong = Vec::new();
    for name in &names {
        let text = std::fs::read(kit::data(&format!("reports/{name}.expected"))).unwrap();
        let mut want: Value = serde_json::from_slice(&text).unwrap();
        let found = scanned(name, want["args"].as_str().unwrap());
        for key in ["addresses", "denied"] {
            let set: BTreeSet<String> = want[key].as_array().unwrap().iter().map(kit::text).collect();
            want[key] = json!(set);
        }
        if ["attempts", "addresses", "denied"].iter().any(|key| found[key] != want[key]) {
            wrong.push(format!("{name}: {found}, expected {want}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
