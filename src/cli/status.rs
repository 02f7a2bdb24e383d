//! `denyd status`: how the daemon and its inputs are.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use super::output::{self, Column, Screen, Style, count, when_if};
use super::{allow, office};
use crate::config::Config;
use crate::desk::Request;
use crate::desk::reply::{
    self, At, BackEnd, Follower, Input, Mail, Namesake, Output, Restored, Sender, Shape, Spared, Status, Trial,
};
use crate::intake::senders::zone;
use crate::intake::sight::Blind;
use crate::outbox;
use crate::text::printable;

/// What `status` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("status", "inputs, senders, and whether all is enforced"),
    ("status --json", "the same for a program"),
]))]
pub(super) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Counters of limits that were reached.
pub(super) fn reached(status: &Status) -> impl Iterator<Item = (u64, &'static str)> {
    let all = [
        (status.evidence_untold, "failures counted, but of too many at once to keep their messages"),
        (status.pairs_untold, "users with an address forgotten, there were too many; see denyd list pairs"),
        (status.evicted, "counters were forgotten because there were too many"),
        (status.unresolved, "attempts had no address"),
        (status.undecided, "attempts or logins counted nothing because too many waited for what comes of them"),
        (status.users_untold, "attempts were of more users than are told apart"),
        (status.hosts_untold, "records were of more hosts than are known by name"),
        (status.senders_untold, "records were of more senders than are told apart"),
        (status.denies_refused, "denies were refused or gave way because there were too many"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0)
}

/// Runs the verb: exit status 0 if all is well, 1 if something is not enforced or held back.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let status: Status = office::ask_daemon(config, &Request::Status)?;
    let is_idle = status.trial.as_ref().is_some_and(|trial| trial.ended && trial.to_nothing);
    let is_whole = status.backends.iter().all(|one| one.error.is_none() && one.left_out == 0);
    let well = !(status.unwritten || status.held_back || is_idle) && is_whole;
    output::show(arguments.json, &status, |screen| print(screen, &status))?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What becomes of a configuration on trial, and what to do.
pub(super) fn trial(trial: &Trial) -> String {
    let again = "to have the file hold: denyd reload; to try it again: denyd reload --confirm 10m";
    let (since, until) = (when_if(Some(trial.since)), when_if(Some(trial.until)));
    match (trial.ended, trial.to_nothing) {
        (false, true) => format!(
            "not kept yet: at {until} nothing is enforced any more unless `denyd keep` is said in a new session (log in anew, as \
             another ssh connection)"
        ),
        (false, false) => format!(
            "not kept yet: goes back at {until} to the configuration before unless `denyd keep` is said in a new session (log in \
             anew, as another ssh connection)"
        ),
        (true, true) => {
            format!("NOTHING IS ENFORCED: nobody kept the configuration that was tried since {since}; {again}")
        }
        (true, false) => {
            format!("nobody kept the configuration that was tried since {since}, so the one before holds; {again}")
        }
    }
}

/// How something is blind, and a line of it.
pub(super) fn blind(blind: &Blind) -> String {
    format!("{}: {}", printable(blind.what.as_bytes()), printable(blind.line.as_bytes()))
}

/// Behind a host's short name that two have.
pub(super) const TWO_HOSTS: &str =
    "is two machines by their full names, so it counts beside both, and tries may count twice";

/// A clock is right by which a record is no later, in seconds.
const RIGHT: f64 = 60.0;
/// Characters of a sender's names that a table shows.
const NAME_SHOWN: usize = 32;

/// A row, and when it was so.
struct Row<T>(T, At);

const BACK_ENDS: &[Column<BackEnd>] = &[
    ("ENFORCED BY", '<', |one| one.name.clone()),
    ("WANTED", '>', |one| if one.cuts { "-".to_owned() } else { one.wanted.to_string() }),
    ("ENFORCED", '>', |one| if one.cuts { "-".to_owned() } else { one.enforced.to_string() }),
    ("CHECKED", '<', |one| when_if(one.checked)),
    ("REFUSED", '>', |one| one.refused.map_or("-".to_owned(), |refused| refused.packets.to_string())),
    ("CONNECTIONS", '>', |one| one.refused.map_or("-".to_owned(), |refused| refused.connections.to_string())),
    ("HEALED", '>', |one| one.healed.to_string()),
    ("PROBLEM", '<', |one| one.error.clone().unwrap_or("-".to_owned())),
];
const INPUTS: &[Column<Row<Input>>] = &[
    ("INPUT", '<', |Row(one, _)| one.name.clone()),
    ("RECORDS", '>', |Row(one, _)| one.records.to_string()),
    ("A MINUTE", '>', |Row(one, _)| format!("{:.1}", one.per_minute)),
    ("UNDERSTOOD", '>', |Row(one, _)| share(one.understood, one.unknown, one.odd)),
    ("LOST", '>', |Row(one, _)| one.lost.to_string()),
    ("LAG", '>', |Row(one, _)| one.last.map_or("-".to_owned(), |_| seconds(one.lag_s))),
    ("CLOCK", '<', |Row(one, _)| clock(one.skew_s, one.last, one.lag_s)),
    ("LAST RECORD", '<', |Row(one, now)| ago(one.last, *now)),
];
const SENDERS: &[Column<Row<Sender>>] = &[
    ("HOST", '<', |Row(one, _)| narrow(one.host.as_deref().unwrap_or("-"))),
    ("BY", '<', |Row(one, _)| narrow(&one.sender)),
    ("INPUT", '<', |Row(one, _)| one.source.clone()),
    ("RECORDS", '>', |Row(one, _)| one.records.to_string()),
    ("UNDERSTOOD", '>', |Row(one, _)| share(one.understood, one.unknown, one.odd)),
    ("LOST", '>', |Row(one, _)| one.lost.to_string()),
    ("CLOCK", '<', |Row(one, _)| clock(one.skew_s, one.last, one.lag_s)),
    ("LAST RECORD", '<', |Row(one, now)| ago(one.last, *now)),
];
const SHAPES: &[Column<Shape>] = &[
    ("NOT UNDERSTOOD (please report it)", '<', |one| printable(one.shape.as_bytes())),
    ("INPUT", '<', |one| one.input.clone()),
    ("RECORDS", '>', |one| one.records.to_string()),
];

fn print(screen: &mut Screen, status: &Status) -> std::io::Result<()> {
    print_head(screen, status)?;
    if status.dry_run {
        let warning = "DRY RUN: nothing is enforced, and all is forgotten when it ends";
        writeln!(screen, "{}\n", screen.paint(Style::Yellow, warning))?;
    }
    if status.unwritten {
        let warning =
            "NOT WRITTEN: the database cannot be written; what is decided holds from memory alone (see the log)";
        writeln!(screen, "{}\n", screen.paint(Style::Red, warning))?;
    }
    if status.held_back {
        let warning = "INPUTS ARE HELD BACK: too much waits for the database";
        writeln!(screen, "{}\n", screen.paint(Style::Red, warning))?;
    }
    screen.table(BACK_ENDS, &status.backends)?;
    writeln!(screen)?;
    let rows: Vec<_> = status.inputs.iter().map(|input| Row(input.clone(), status.at)).collect();
    screen.table(INPUTS, &rows)?;
    for input in &status.inputs {
        let odd = [(input.forged, "not believed"), (input.duplicates, "seen before, not counted again")];
        for (number, what) in odd.into_iter().filter(|(number, _)| *number > 0) {
            writeln!(screen, "{}: {} {what}", input.name, count(number, "record", "records"))?;
        }
        if let Some(one) = &input.blind {
            let text = format!("{}: {}", input.name, blind(one));
            writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
        }
        if let Some(problem) = &input.problem {
            let problem = format!("{}: {}", input.name, printable(problem.as_bytes()));
            writeln!(screen, "{}", screen.paint(Style::Red, &problem))?;
        }
    }
    if let Some(unread) = &status.unread {
        let text = format!("sshd: {}", printable(unread.as_bytes()));
        writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
    }
    if !status.senders.is_empty() {
        writeln!(screen)?;
        let rows: Vec<_> = folded(&status.senders).into_iter().map(|sender| Row(sender, status.at)).collect();
        screen.table(SENDERS, &rows)?;
        for (sender, one) in status.senders.iter().filter_map(|sender| Some((sender, sender.blind.as_ref()?))) {
            let text = format!("{} by {}: {}", sender.host.as_deref().unwrap_or("-"), sender.sender, blind(one));
            writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
        }
    }
    if !status.shapes.is_empty() {
        writeln!(screen)?;
        screen.table(SHAPES, &status.shapes)?;
    }
    for (name, mail) in [("MAIL", &status.mail), ("WEBHOOK", &status.webhook)] {
        mail.iter().try_for_each(|mail| print_mail(screen, name, mail, status.at))?;
    }
    if let Some(dir) = &status.work_dir {
        writeln!(
            screen,
            "\nWORK DIRECTORY {}: {}",
            dir.dir,
            dir.written.map_or("not yet written".to_owned(), |at| { format!("written {}", ago(Some(at), status.at)) })
        )?;
        if let Some(problem) = &dir.problem {
            let text = format!(
                "it cannot be written, {} so far: {}",
                count(dir.failed, "try", "tries"),
                printable(problem.as_bytes())
            );
            writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
        }
    }
    if let Some(what) = &status.beside {
        writeln!(screen, "{}", screen.paint(Style::Red, &printable(what.as_bytes())))?;
    }
    if let Some(what) = &status.not_forgiven {
        writeln!(screen, "{}", screen.paint(Style::Yellow, &printable(what.as_bytes())))?;
    }
    if let Some(sync) = &status.sync {
        let missed = status.followers.iter().find(|one| one.name == outbox::sync::NAME).map_or(0, |one| one.missed);
        print_sync(screen, sync, missed, status.at)?;
    }
    for output in &status.outputs {
        let missed = status.followers.iter().find(|one| one.name == output.name).map_or(0, |one| one.missed);
        print_output(screen, output, missed)?;
    }
    let others = |one: &&Follower| !outbox::NAMES.contains(&&*one.name);
    for Follower { name, behind, missed, .. } in status.followers.iter().filter(others) {
        let behind = count(behind.cast_unsigned(), "decision", "decisions");
        let text = format!("{name} is {behind} behind, and has missed {missed}");
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for Spared { prefix, user, class, count, denied_above, .. } in &status.spared {
        let (failures, class) = (output::count(*count, "failure", "failures"), class.name());
        let text = format!(
            "{prefix} has {failures} of class {class} and is spared up to {denied_above}: {user} is logged in from there"
        );
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for wave in &status.waves {
        let (since, last) = (when_if(Some(wave.since)), when_if(wave.last));
        let told = printable(wave.told().as_bytes());
        let text = format!("a wave since {since}: {told}, a few times each; the last at {last}");
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for name in status.names.iter().filter(|name| name.addresses.is_empty() || name.failing.is_some()) {
        let text = format!("{} on the allow list {}", name.name, allow::resolves(name));
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for Namesake { input, host } in &status.namesakes {
        let text = format!("{input}: {} {TWO_HOSTS}", printable(host.as_bytes()));
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    for (count, what) in reached(status) {
        writeln!(screen, "{}", screen.paint(Style::Yellow, &format!("{count} {what}")))?;
    }
    Ok(())
}

/// How mail or the webhook goes.
fn print_mail(screen: &mut Screen, name: &str, mail: &Mail, now: At) -> std::io::Result<()> {
    let sent = mail
        .sent
        .map_or("none sent since the start".to_owned(), |at| format!("the last was sent {}", ago(Some(at), now)));
    let waits = match (mail.waiting, mail.next) {
        (0, _) => String::new(),
        (waiting, next) => {
            let due = next.map_or(String::new(), |next| format!(", until {}", when_if(Some(next))));
            format!("; {} to be told{due}", count(waiting, "decision waits", "decisions wait"))
        }
    };
    writeln!(screen, "\n{name} by {}: {sent}{waits}", printable(mail.server.as_bytes()))?;
    if let Some(problem) = &mail.problem {
        let since = when_if(mail.failing_since);
        let text = format!("nothing goes since {since}: {}", printable(problem.as_bytes()));
        writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
    }
    Ok(())
}

/// How sharing goes.
fn print_sync(screen: &mut Screen, sync: &reply::Sync, missed: i64, now: At) -> std::io::Result<()> {
    let last = sync
        .succeeded
        .map_or("no round went well yet".to_owned(), |at| format!("the last round went well {}", ago(Some(at), now)));
    let next = sync.next.map_or(String::new(), |at| format!("; the next at {}", when_if(Some(at))));
    writeln!(screen, "\nSYNC with {}: {last}{next}", printable(sync.server.as_bytes()))?;
    let mut all = Vec::new();
    if sync.upload {
        let unsent = if sync.unsent > 0 { format!(", {} it does not take", sync.unsent) } else { String::new() };
        let missed = if missed > 0 { format!(", {missed} decisions were forgotten before") } else { String::new() };
        let sent = count(sync.sent, "host", "hosts");
        all.push(format!("sent {sent} since the start, {} wait{unsent}{missed}", sync.waiting));
    }
    if sync.download {
        let refused = sync.taken.refused.words();
        let refused = if refused.is_empty() { String::new() } else { format!(" (not denied: {})", refused.join(", ")) };
        let received = count(sync.received, "host", "hosts");
        all.push(format!("received {received}{refused}, {} denied now on its word", sync.denied_now));
    }
    writeln!(screen, "{}", all.join("; "))?;
    if let Some(problem) = &sync.problem {
        let since = when_if(sync.failing_since);
        let text = format!("nothing is shared since {since}: {}", printable(problem.as_bytes()));
        writeln!(screen, "{}", screen.paint(Style::Red, &text))?;
    }
    Ok(())
}

/// How it goes with what each decision is told by itself.
fn print_output(screen: &mut Screen, output: &Output, missed: i64) -> std::io::Result<()> {
    let name = output.name.to_uppercase();
    let Output { told, failed, waiting, .. } = output;
    let waits = if *waiting == 0 { String::new() } else { format!("; {waiting} decisions wait") };
    writeln!(screen, "\n{name} by {}: {told} told since the start{waits}", printable(output.whom.as_bytes()))?;
    if *failed > 0 || missed > 0 || output.problem.is_some() {
        let problem = output.problem.as_ref().map_or(String::new(), |problem| {
            let since = when_if(output.failing_since);
            format!("; since {since}: {}", printable(problem.as_bytes()))
        });
        let text = format!("{failed} failed, {missed} were forgotten before they could be told{problem}");
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    Ok(())
}

/// Who runs, by what, and how much it remembers.
fn print_head(screen: &mut Screen, status: &Status) -> std::io::Result<()> {
    let file = status.configuration.as_ref().map(|file| printable(file.as_os_str().as_bytes()));
    let up = status.since.map_or(String::new(), |since| format!(", up {}", span(since, status.at)));
    writeln!(screen, "denyd {} runs{up}, pid {}", status.version, status.pid)?;
    writeln!(screen, "configuration: {}", file.as_deref().unwrap_or("none, the defaults hold"))?;
    if let Some(Restored { copied, restored, .. }) = &status.restored {
        let (copied, restored) = (when_if(Some(*copied)), when_if(Some(*restored)));
        writeln!(screen, "all that is remembered: a copy that was taken at {copied} and restored at {restored}")?;
    }
    if status.configuration_broken.is_some() {
        let what = "it is broken, and the last good one holds; see denyd doctor";
        writeln!(screen, "{}", screen.paint(Style::Red, what))?;
    }
    if let Some(one) = &status.trial {
        writeln!(screen, "{}", screen.paint(if one.ended { Style::Red } else { Style::Yellow }, &trial(one)))?;
    }
    writeln!(
        screen,
        "{} denied; {} counted, {} remembered",
        count(status.wanted as u64, "prefix", "prefixes"),
        count(status.tracked as u64, "address", "addresses"),
        count(status.sessions as u64, "connection", "connections")
    )?;
    let lost: u64 = status.inputs.iter().map(|input| input.lost).sum();
    if lost > 0 {
        let text = format!("{} lost before they could be read, see LOST", count(lost, "record was", "records were"));
        writeln!(screen, "{}", screen.paint(Style::Yellow, &text))?;
    }
    writeln!(screen)
}

/// Senders, those of this machine's users as one row an input: who they are says nothing that an
/// administrator can act on.
fn folded(senders: &[Sender]) -> Vec<Sender> {
    let mut rows: Vec<Sender> = Vec::new();
    for sender in senders {
        let by = if sender.sender.starts_with("uid ") { "local users" } else { &sender.sender };
        let same = rows.iter_mut().find(|row| by == "local users" && row.sender == by && row.source == sender.source);
        match same {
            Some(row) => {
                row.records += sender.records;
                row.understood += sender.understood;
                row.unknown += sender.unknown;
                row.odd += sender.odd;
                row.lost += sender.lost;
                row.last = row.last.max(sender.last);
                row.skew_s = row.skew_s.or(sender.skew_s);
                row.lag_s = row.lag_s.max(sender.lag_s);
            }
            None => rows.push(Sender { sender: by.to_owned(), ..sender.clone() }),
        }
    }
    rows
}

/// How long ago something was, in words.
fn ago(at: Option<At>, now: At) -> String {
    at.map_or("-".to_owned(), |at| format!("{} ago", span(at, now)))
}

/// The time between two, in its greatest unit.
fn span(from: At, to: At) -> String {
    rounded((to.0.secs() - from.0.secs()).max(0))
}

/// So many seconds, in their greatest unit.
fn rounded(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How much of what sshd (or another known service) wrote was understood; `-` where it wrote nothing. What only looks so is
/// of it and was not understood.
fn share(known: u64, unknown: u64, odd: u64) -> String {
    let all = known + odd;
    match (all, unknown + odd) {
        (0, _) => "-".to_owned(),
        (_, 0) => "100 %".to_owned(),
        // Never rounded up to all of it.
        (all, not) => format!("{:.1} %", (1000 * (all - not.min(all)) / all) as f64 / 10.0),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1} s") } else { rounded(seconds.round() as i64) }
}

/// Whether a clock is right, by how far it is known to be off and by how late the last record was. A late one may have waited.
fn clock(skewed: Option<f64>, last: Option<At>, lag: f64) -> String {
    match (skewed, last) {
        (Some(by), _) => skew(by),
        (None, None) => "-".to_owned(),
        (None, Some(_)) if lag > RIGHT => "?".to_owned(),
        (None, Some(_)) => "right".to_owned(),
    }
}

/// The beginning of a name that would make a table too wide.
fn narrow(name: &str) -> String {
    match name.char_indices().nth(NAME_SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

/// How far a clock is off, in words; where it is a zone, in hours.
pub(super) fn skew(by: f64) -> String {
    let way = if by > 0.0 { "ahead" } else { "behind" };
    match zone((by * 1e6) as i64).map(i64::unsigned_abs) {
        Some(zone) => format!("{}:{:02} h {way}", zone / 60, zone % 60),
        None => format!("{:.0} s {way}", by.abs()),
    }
}

#[cfg(test)]
mod tests {
    use inputs::record::Timestamp;

    use super::*;

    #[test]
    fn a_clock_that_is_off_by_a_zone_says_hours() {
        let check = |by, want| assert_eq!(skew(by), want);
        check(-18_000.4, "5:00 h behind");
        check(20_699.0, "5:45 h ahead");
        check(-61.0, "61 s behind");
        check(18_061.0, "18061 s ahead");
    }

    #[test]
    fn what_looks_like_sshds_is_of_what_it_wrote() {
        let check = |known, unknown, odd, want| assert_eq!(share(known, unknown, odd), want);
        check(0, 0, 0, "-");
        check(5, 0, 0, "100 %");
        check(0, 0, 240, "0.0 %");
        check(3, 0, 240, "1.2 %");
        check(100_000, 1, 0, "99.9 %");
        check(2, 1, 2, "25.0 %");
    }

    #[test]
    fn a_clock_of_which_nobody_can_tell_is_not_called_right() {
        let check = |skew, lag, want| assert_eq!(clock(skew, Some(At::default()), lag), want);
        check(None, 59.0, "right");
        check(None, 43_201.0, "?");
        check(Some(-18_000.0), 0.0, "5:00 h behind");
        assert_eq!(clock(None, None, 0.0), "-");
        assert_eq!([9.94, 119.0, 43_201.0].map(seconds), ["9.9 s", "119 s", "12 h"]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let long = "é".repeat(33);
        assert_eq!(narrow(&long), format!("{}…", "é".repeat(32)));
        assert_eq!(narrow(&long[2..]), long[2..]);
    }

    #[test]
    fn numbers_have_their_nouns() {
        let check = |seconds, want| assert_eq!(span(At(Timestamp(0)), At(Timestamp::from_secs(seconds))), want);
        check(-1, "0 s");
        check(119, "119 s");
        check(120, "2 min");
        check(7_200, "2 h");
        check(172_800, "2 d");
        assert_eq!([0u64, 1, 2].map(|n| count(n, "address", "addresses")), ["0 addresses", "1 address", "2 addresses"]);
    }

    #[test]
    fn users_of_this_machine_are_one_row_an_input() {
        let of = |by: &str, source: &str, records| Sender {
            sender: by.to_owned(),
            source: source.to_owned(),
            records,
            understood: 1,
            ..Sender::default()
        };
        let senders = [of("uid 0", "a", 1), of("uid 1000", "a", 2), of("192.0.2.1", "a", 3), of("uid 0", "b", 4)];
        let rows = folded(&senders);
        let rows: Vec<_> = rows.iter().map(|row| (&*row.sender, &*row.source, row.records, row.understood)).collect();
        let want = [("local users", "a", 3, 2), ("192.0.2.1", "a", 3, 1), ("local users", "b", 4, 1)];
        assert_eq!(rows, want);
    }

    /// With names as long as they usually are, and counts after a month.
    #[test]
    fn tables_have_a_hundred_columns() {
        let input = Input {
            name: "/var/log/auth.log".to_owned(),
            records: 123_456_789,
            per_minute: 12_345.6,
            understood: 1_000,
            unknown: 1,
            lost: 12_345,
            last: Some(At::default()),
            lag_s: 12_345.0,
            skew_s: Some(-7_200.0),
            ..Input::default()
        };
        let sender = Sender {
            source: "rsyslog".to_owned(),
            sender: "192.0.2.100".to_owned(),
            host: Some("web17.example.org".to_owned()),
            records: 123_456_789,
            understood: 1_000,
            unknown: 1,
            lost: 12_345,
            last: Some(At::default()),
            skew_s: Some(-7_200.0),
            ..Sender::default()
        };
        fn width<T>(columns: &[Column<T>], row: &T) -> usize {
            let cells = columns.iter().map(|(head, _, cell)| head.len().max(cell(row).chars().count()));
            cells.map(|cell| cell + 2).sum::<usize>() - 2
        }
        let day = At(Timestamp::from_secs(86_400));
        for found in [width(INPUTS, &Row(input, day)), width(SENDERS, &Row(sender, day))] {
            assert!(found <= 100, "{found}");
        }
    }
}
