//! What a scan found, as JSON and for people.

use std::collections::HashSet;
use std::io::Write;
use std::net::IpAddr;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::{Found, enforced};
use crate::cli::output::{Column, Screen, Style, count, end, when, with_user};
use crate::decide::claim::Claim;
use crate::decide::engine::Engine;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::state::Bound;
use crate::decide::tally::Tally;
use crate::desk::reply::At;
use crate::text::printable;

/// `scan --json`. It is written key by key: as loose values a long list of denies would take most of the memory.
struct Report<'a>(&'a Engine, &'a Found);

impl Serialize for Report<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Report(engine, found) = self;
        let counts = &found.counts;
        let always = [
            ("version", 1),
            ("lines", counts.lines),
            ("records", counts.records),
            ("failures", counts.failures),
            ("probes", counts.probes),
            ("successes", counts.successes),
            ("refused", counts.refused),
            ("ignored", counts.ignored),
            ("unknown", counts.unknown),
            ("unresolved", engine.state.sessions.unresolved()),
            ("forged", counts.forged),
            ("duplicates", counts.duplicates),
            ("truncated", counts.truncated),
        ];
        let mut out = serializer.serialize_map(None)?;
        always.iter().try_for_each(|(key, count)| out.serialize_entry(key, count))?;
        if counts.no_header > 0 {
            out.serialize_entry("no_header", &counts.no_header)?;
        }
        if found.odd > 0 {
            out.serialize_entry("odd", &found.odd)?;
        }
        if found.damaged > 0 {
            out.serialize_entry("damaged", &found.damaged)?;
        }
        if engine.state.sessions.undecided() > 0 {
            out.serialize_entry("undecided", &engine.state.sessions.undecided())?;
        }
        out.serialize_entry("evicted", &evicted(engine))?;
        out.serialize_entry("attempts", &counts.attempts)?;
        out.serialize_entry("first", &found.first.map(At))?;
        out.serialize_entry("last", &found.last.map(At))?;
        out.serialize_entry("addresses", &found.addresses.len())?;
        out.serialize_entry("denied", &found.denied.iter().map(DeniedRow::of).collect::<Vec<_>>())?;
        let suspicious = found.suspicious.iter();
        let rows = suspicious.map(|(address, user, at)| with_user(json!({"address": address, "at": At(*at)}), user));
        out.serialize_entry("suspicious", &rows.collect::<Vec<_>>())?;
        if !found.shapes.is_empty() {
            let rows = found.shapes.iter().map(|(shape, records)| json!({"records": records, "shape": shape}));
            out.serialize_entry("shapes", &rows.collect::<Vec<_>>())?;
        }
        if let Some(pairs) = &found.pairs {
            out.serialize_entry("tallies", &tallies(engine).into_iter().map(Tallied::of).collect::<Vec<_>>())?;
            out.serialize_entry("users", &users(engine, pairs))?;
        }
        out.end()
    }
}

#[derive(serde::Serialize)]
struct DeniedRow {
    prefix: Prefix,
    at: At,
    class: Option<Class>,
    count: u32,
    until: Option<At>,
    enforced: bool,
}

impl DeniedRow {
    fn of((prefix, claim): &(Prefix, Claim)) -> Self {
        DeniedRow {
            prefix: *prefix,
            at: At(claim.since),
            class: claim.reason.class(),
            count: claim.reason.count(),
            until: claim.until.map(At),
            enforced: enforced(claim),
        }
    }
}

#[derive(serde::Serialize)]
struct Tallied {
    invalid: u32,
    prefix: Prefix,
    probe: u32,
    restricted: u32,
    root: u32,
    successes: u32,
    valid: u32,
}

impl Tallied {
    fn of((prefix, tally): TallyRow) -> Self {
        let [invalid, valid, root, restricted, probe] = tally.counts;
        Tallied { invalid, prefix, probe, restricted, root, successes: tally.successes.into(), valid }
    }
}

/// As one JSON object.
pub(super) fn print_json(engine: &Engine, found: &Found) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer(&mut out, &Report(engine, found))?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

type TallyRow = (Prefix, Tally);

/// All counts, most failures first.
fn tallies(engine: &Engine) -> Vec<TallyRow> {
    let mut rows: Vec<_> = engine.state.tallies.iter().map(|(prefix, tally)| (prefix, *tally)).collect();
    rows.sort_by_key(|(prefix, tally)| (std::cmp::Reverse(tally.failures()), *prefix));
    rows
}

/// Who was tried, the most often first.
fn users(engine: &Engine, pairs: &HashSet<(usize, IpAddr), foldhash::fast::RandomState>) -> Vec<Value> {
    let mut addresses = vec![0u64; engine.state.users.len()];
    for (user, _) in pairs {
        addresses[*user] += 1;
    }
    let mut order: Vec<_> = (0..addresses.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(engine.state.users[*index].attempts));
    let rows = order.into_iter().filter_map(|index| {
        let (name, counts) = engine.state.users.get_index(index)?;
        let row = json!({"account": counts.account, "addresses": addresses[index], "attempts": counts.attempts});
        Some(with_user(row, name))
    });
    rows.collect()
}

/// How many counters were forgotten.
fn evicted(engine: &Engine) -> u64 {
    let state = &engine.state;
    state.untold(Bound::Tallies) + state.sessions.evicted() + state.nets.forgotten()
}

/// For people.
pub(super) fn print(engine: &Engine, found: &Found, all: bool) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    print_counts(&mut screen, engine, found)?;
    writeln!(screen)?;
    print_denied(&mut screen, found)?;
    for (address, user, at) in &found.suspicious {
        let text =
            format!("Suspicious login: {} from {address} at {}, after too many failures", printable(user), when(*at));
        writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
    }
    if all {
        writeln!(screen)?;
        screen.table(TALLIES, &tallies(engine))?;
    }
    screen.flush()?;
    Ok(())
}

/// What was read, and what was odd about it.
fn print_counts(screen: &mut Screen, engine: &Engine, found: &Found) -> std::io::Result<()> {
    let counts = &found.counts;
    let span = match (found.first, found.last) {
        (Some(first), Some(last)) => format!(", {} to {}", when(first), when(last)),
        _ => String::new(),
    };
    writeln!(screen, "{}{span}", count(counts.lines, "line", "lines"))?;
    let bound = if found.addresses.untold { "more than " } else { "" };
    writeln!(
        screen,
        "{} and {} from {bound}{}; {}; {} refused by sshd",
        count(counts.attempts, "attempt", "attempts"),
        count(counts.probes, "probe", "probes"),
        count(found.addresses.len() as u64, "address", "addresses"),
        count(counts.successes, "login", "logins"),
        count(counts.refused, "connection", "connections")
    )?;
    let undecided = engine.state.sessions.undecided();
    let odd = [
        (counts.unknown, "record", "records", " of sshd not understood; please report what they look like:"),
        (engine.state.sessions.unresolved(), "attempt", "attempts", " without an address"),
        (undecided, "attempt or login", "attempts or logins", " that counted nothing, too many waited at once"),
        (counts.forged, "forged record", "forged records", ""),
        (counts.truncated, "line", "lines", " cut for their length"),
        (found.odd, "line", "lines", " not understood that look like sshd's or dropbear's"),
        (counts.no_header, "line", "lines", " without a header that is known"),
        (found.damaged, "entry or field", "entries or fields", " of journals passed over: damaged or too great"),
        (evicted(engine), "counter", "counters", " forgotten, there were too many"),
    ];
    for (number, one, more, what) in odd.into_iter().filter(|(number, ..)| *number > 0) {
        writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("{}{what}", count(number, one, more))))?;
        if what.ends_with(':') {
            for (shape, records) in &found.shapes {
                writeln!(screen, "{records:>8}  {shape}")?;
            }
        }
    }
    Ok(())
}

/// Who would be denied.
fn print_denied(screen: &mut Screen, found: &Found) -> std::io::Result<()> {
    if found.denied.is_empty() {
        return writeln!(screen, "Nobody would be denied.");
    }
    screen.table(DENIED, &found.denied)?;
    let now = found.denied.iter().filter(|(_, claim)| enforced(claim)).count();
    writeln!(screen, "\n{} denied over this log, {now} of them in force if it were applied now.", found.denied.len())
}

const DENIED: &[Column<(Prefix, Claim)>] = &[
    ("DENIED", '<', |(prefix, _)| prefix.to_string()),
    ("SINCE", '<', |(_, claim)| when(claim.since)),
    ("BECAUSE", '<', |(_, claim)| claim.reason.class().map_or("operator", Class::name).to_owned()),
    ("COUNT", '>', |(_, claim)| claim.reason.count().to_string()),
    ("UNTIL", '<', |(_, claim)| end(claim.until.map(At))),
    ("NOW", '<', |(_, claim)| if enforced(claim) { "in force" } else { "over" }.to_owned()),
];

/// The counts of a prefix.
const TALLIES: &[Column<TallyRow>] = &[
    ("PREFIX", '<', |(prefix, _)| prefix.to_string()),
    ("INVALID", '>', |(_, tally)| tally.counts[Class::Invalid as usize].to_string()),
    ("VALID", '>', |(_, tally)| tally.counts[Class::Valid as usize].to_string()),
    ("ROOT", '>', |(_, tally)| tally.counts[Class::Root as usize].to_string()),
    ("RESTRICTED", '>', |(_, tally)| tally.counts[Class::Restricted as usize].to_string()),
    ("PROBE", '>', |(_, tally)| tally.counts[Class::Probe as usize].to_string()),
    ("LOGINS", '>', |(_, tally)| tally.successes.to_string()),
];
