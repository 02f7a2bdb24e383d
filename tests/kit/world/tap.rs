//! `denyd tap --json`, read while it runs, of records that are numbered.
//!
//! A numbered record is a failure of root from an address of its own, so that its tally tells how often it counted:
//! one is tolerated, and the second would deny the address.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Place, World};
use crate::until_or;

/// What a daemon folded since its tap began.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The numbers of numbered records, as they came.
    pub numbers: Vec<u32>,
    /// The texts of marks.
    pub marks: Vec<String>,
    /// Records that the tap itself was too slow for.
    pub missed: u64,
}

impl Seen {
    /// Fails unless these came, each once and in order.
    pub fn assert_are(&self, name: &str, wanted: Range<u32>) {
        let Seen { numbers, missed, .. } = self;
        let wrong = numbers.iter().zip(wanted.clone()).find(|(number, want)| *number != want);
        assert!(
            wrong.is_none() && numbers.len() == wanted.len(),
            "{name}: {} of {}, at {wrong:?}, the tap missed {missed}",
            numbers.len(),
            wanted.len()
        );
    }

    /// Fails unless they came in order and none twice.
    pub fn assert_ascending(&self, name: &str) {
        let wrong = self.numbers.windows(2).find(|pair| pair[0] >= pair[1]);
        assert_eq!(wrong, None, "{name}");
    }

    /// Without what came again.
    pub fn first_times(mut self) -> Seen {
        let mut known = std::collections::HashSet::new();
        self.numbers.retain(|number| known.insert(*number));
        self
    }
}

/// A tap that runs; it ends with the daemon, with this value or with the world.
pub struct Tap {
    child: Child,
    seen: Arc<Mutex<Seen>>,
}

impl Tap {
    pub fn start(world: &World) -> Tap {
        let mut command = world.enter(Place::Server, &[&world.program(), "tap", "--json"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let all = seen.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let row: Value = serde_json::from_str(&line).unwrap();
                let message = row["message"].as_str().unwrap_or_default();
                let mut seen = all.lock().unwrap();
                seen.missed += row["missed"].as_u64().unwrap_or(0);
                if let Some(number) = number(message) {
                    seen.numbers.push(number);
                } else if message.starts_with("mark") {
                    seen.marks.push(message.to_owned());
                }
            }
        });
        Tap { child, seen }
    }

    pub fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for a number, or a later one.
    pub fn wait_number(&self, number: u32) {
        let last = || self.seen.lock().unwrap().numbers.last().copied();
        let why = || format!("the last is {:?}", last());
        until_or(&format!("number {number}"), why, || last().filter(|last| *last >= number).map(|_| ()));
    }

    /// Waits for the mark with this text.
    pub fn has_mark(&self, text: &str) -> bool {
        self.seen.lock().unwrap().marks.iter().any(|mark| mark == text)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbered records, a line each.
pub fn numbered(numbers: Range<u32>) -> String {
    let line = |n: u32| format!("Failed password for root from {} port {} ssh2\n", address(n), n + 1);
    numbers.map(line).collect()
}

/// The address that the record of this number is about.
pub fn address(number: u32) -> String {
    format!("10.66.{}.{}", number >> 8, number & 0xff)
}

fn number(message: &str) -> Option<u32> {
    let rest = message.strip_prefix("Failed password for root from 10.66.")?;
    let port = rest.split_once(" port ")?.1.split(' ').next()?;
    Some(port.parse::<u32>().unwrap() - 1)
}

/// How often each of the records was counted, by number.
pub fn counted(world: &World, numbers: Range<u32>) -> Vec<u64> {
    let rows = world.denyd_json(&["list", "addresses", "--json"]);
    let count = |row: &Value| Some((row["prefix"].as_str()?.to_owned(), row["root"].as_u64()?));
    let counts: std::collections::HashMap<_, _> = rows.as_array().unwrap().iter().filter_map(count).collect();
    numbers.map(|number| counts.get(&address(number)).copied().unwrap_or(0)).collect()
}
