//! What real programs logged, and what was really done: `tests/data/sshd`.
//!
//! `NAME.log` has each line once, as rsyslog forwards it: priority, RFC 3339 stamp, host, tag, text. All other forms
//! of it are made here. `NAME.jsonl` has the truth: a row a connection, with the numbers of its lines; `stray` lines
//! that are of no connection; and the lines whose datagram had a stamp of `a_second_earlier`.

use std::fs;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::data;

/// One line that a real sshd wrote, with what was really done (`tests/data/sshd`).
pub struct Row {
    pub line: String,
    /// The same with an RFC 3339 stamp.
    pub iso: String,
    /// The same as it went to /dev/log (a newline at the end of tinysshd's is not kept).
    pub datagram: Vec<u8>,
    /// 0 if the line has none.
    pub pid: u64,
    /// The peer that was really there; `None` where nobody was.
    pub src: Option<IpAddr>,
    /// That peer as sshd writes it.
    pub src_text: Option<String>,
    /// What the client sent as its name.
    pub user: Option<String>,
    /// The line may stand under the next action: it was written late, or by the listening process.
    pub astray: bool,
}

/// What an ideal reader concludes of one connection.
pub struct Connection {
    pub action: String,
    pub src: Option<IpAddr>,
    /// Its lines: places in the corpus, from 0.
    pub lines: Vec<usize>,
    pub user: Option<String>,
    pub account: Option<String>,
    pub attempts: Vec<u64>,
    pub probe: bool,
    pub success: bool,
    pub refused: bool,
    pub address_logged: bool,
}

/// The rows and connections of one version of OpenSSH.
pub struct Corpus {
    pub version: &'static str,
    pub rows: Vec<Row>,
    pub connections: Vec<Connection>,
}

/// The corpora, by version.
pub const VERSIONS: [&str; 2] = ["9.2", "10.0"];

pub fn corpus(version: &'static str) -> Corpus {
    let read = |end: &str| fs::read_to_string(data(&format!("sshd/{version}.{end}"))).unwrap();
    let truth: Vec<Value> = read("jsonl").lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let earlier = truth.iter().find_map(|row| row.get("a_second_earlier")).map_or_else(Vec::new, numbers);
    let truth: Vec<_> = truth.iter().filter(|row| row.get("lines").is_some()).collect();
    let log = read("log");
    let mut rows: Vec<_> = log.lines().enumerate().map(|(at, line)| row(line, earlier.contains(&(at + 1)))).collect();
    for about in &truth {
        let sent = about.get("sent").unwrap_or(&about["user"]);
        for line in numbers(&about["lines"]) {
            let row = &mut rows[line - 1];
            row.src_text = about["src"].as_str().map(|src| src.split('%').next().unwrap().to_owned());
            row.src = row.src_text.as_ref().map(|src| src.parse().unwrap());
            row.user = sent.as_str().map(str::to_owned);
            row.astray = about["action"] == "daemon";
        }
    }
    let listening = rows.iter().filter(|row| row.line.contains("Server listening")).map(|row| row.pid);
    let listening: Vec<_> = listening.collect();
    rows.iter_mut().for_each(|row| row.astray |= listening.contains(&row.pid));
    let connections = truth.into_iter().filter(|row| row["stray"] != true).map(connection).collect();
    Corpus { version, rows, connections }
}

/// A line of `NAME.log` in all its forms; whose it is, the truth says.
fn row(forwarded: &str, earlier: bool) -> Row {
    let (priority, iso) = forwarded.split_once('>').unwrap();
    let (at, rest) = stamped(iso);
    let traditional = |at: Timestamp| at.strftime("%b %e %H:%M:%S").to_string();
    let (_host, message) = rest[1..].split_once(' ').unwrap();
    let written = if earlier { at - SignedDuration::from_secs(1) } else { at };
    let tag = message.split(' ').next().unwrap();
    let pid = tag.split_once('[').and_then(|(_, pid)| pid.strip_suffix("]:")?.parse().ok());
    Row {
        line: traditional(at) + rest,
        iso: iso.to_owned(),
        datagram: format!("{priority}>{} {message}", traditional(written)).into_bytes(),
        pid: pid.unwrap_or(0),
        src: None,
        src_text: None,
        user: None,
        astray: false,
    }
}

fn connection(row: &Value) -> Connection {
    let text = |key: &str| row[key].as_str().map(str::to_owned);
    Connection {
        action: text("action").unwrap(),
        src: row["src"].as_str().map(|src| src.split('%').next().unwrap().parse().unwrap()),
        lines: numbers(&row["lines"]).into_iter().map(|line| line - 1).collect(),
        user: text("user"),
        account: text("account"),
        attempts: row
            .get("attempts")
            .map_or_else(|| vec![0], |all| numbers(all).into_iter().map(|n| n as u64).collect()),
        probe: row["probe"] == true,
        success: row["success"] == true,
        refused: row["refused"] == true,
        address_logged: row["unnamed"] != true,
    }
}

fn numbers(all: &Value) -> Vec<usize> {
    all.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect()
}

/// Splits an RFC 3339 line behind its stamp.
pub fn stamped(line: &str) -> (jiff::Timestamp, &str) {
    let (stamp, rest) = line.split_at(line.find(' ').unwrap());
    (stamp.parse().unwrap(), rest)
}

/// RFC 3339 lines with all their stamps moved so that the last is at `last`, in whole seconds.
pub fn moved(lines: &[&str], last: jiff::Timestamp) -> Vec<String> {
    let end = lines.iter().map(|line| stamped(line).0).max().unwrap();
    let by = jiff::SignedDuration::from_secs(last.as_second() - end.as_second());
    let moved = lines.iter().map(|line| {
        let (at, rest) = stamped(line);
        format!("{}{rest}", (at + by).strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
    });
    moved.collect()
}

/// All orders of `k` and `p`, up to so many letters: of tries by keyboard-interactive and by password.
pub fn orders(most: usize) -> Vec<String> {
    let longer = |order: &String| ["k", "p"].map(|method| order.clone() + method);
    let mut orders = vec![String::new()];
    let mut at = 0;
    while orders[at].len() < most {
        orders.extend(longer(&orders[at].clone()));
        at += 1;
    }
    orders.split_off(1)
}

/// Where the tries of an order come from in `mixed-*.log`: the last byte's bits are its letters, behind a first 1; those of a
/// user who does not exist have another net.
pub fn source_of(order: &str, user_exists: bool) -> String {
    let bits = order.bytes().fold(1, |bits, method| 2 * bits + u8::from(method == b'p'));
    format!("198.51.100.{}", if user_exists { bits } else { bits | 128 })
}
