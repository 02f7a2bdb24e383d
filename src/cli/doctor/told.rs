//! What is wrong by what the daemon tells of itself.

use std::time::Duration;

use inputs::syslog::losses::Limit;

use super::{Finding, Level};
use crate::cli::output::{self, when_if};
use crate::cli::{allow, status};
use crate::config::Config;
use crate::decide::names::KEPT;
use crate::desk::reply::{self, Status, Suppressed};
use crate::intake::senders::zone;
use crate::outbox::each::Each;
use crate::outbox::{self, LETTERS, NAMES, Way, post};
use crate::text::printable;

/// How long a server may not answer before it is taken for gone.
const GONE_AFTER: Duration = Duration::from_secs(7 * 86_400);

/// What is wrong with sharing, and whether it is grave: nothing else waits for it.
fn sharing(sync: &reply::Sync, status: &Status, config: &Config) -> Vec<(bool, String)> {
    let mut all: Vec<_> = config.sync.warnings().into_iter().map(|warning| (false, warning)).collect();
    all.extend(config.endless_sync().map(|warning| (false, warning.to_owned())));
    let server = printable(sync.server.as_bytes());
    let last = sync.succeeded.or(sync.tried_since);
    let is_gone = last.is_some_and(|last| last.0.after(GONE_AFTER) < status.at.0);
    if let Some(problem) = &sync.problem {
        let (remedy, since) = (outbox::sync::remedy(problem), when_if(sync.failing_since));
        let problem = printable(problem.as_bytes());
        all.push((false, format!("nothing is shared with {server} since {since}: {problem}; {remedy}")));
    }
    if is_gone {
        let since = when_if(last);
        let what =
            "take it out of the configuration, or run one of your own: denyd hub, and sync.md of the documentation";
        all.push((true, format!("{server} has not answered since {since}, for more than a week: {what}")));
    }
    if sync.taken.refused.too_many > 0 {
        let count = sync.taken.refused.too_many;
        all.push((false, format!("{count} hosts of {server} are not denied, as there are too many: see hosts_max")));
    }
    all
}

/// All of it.
pub(super) fn findings(status: &Status, config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut put = |grave, about: &str, what: String| {
        let level = if grave { Level::Fail } else { Level::Look };
        found.push(Finding::new(level, about, what));
    };
    if status.dry_run {
        put(false, "daemon", "it is a DRY RUN: nothing is enforced, and all is forgotten when it ends".to_owned());
    }
    if let Some(problem) = &status.configuration_broken {
        let problem = printable(problem.as_bytes());
        put(
            true,
            "configuration",
            format!("it is broken, so the last good one holds; mend it, and say denyd reload: {problem}"),
        );
    }
    if let Some(trial) = &status.trial {
        put(trial.ended, "configuration", status::trial(trial));
    }
    if status.unwritten {
        let what = "it cannot be written: what is decided holds from memory, and is lost if denyd ends; see the log, make room";
        put(true, "database", what.to_owned());
    }
    if status.held_back {
        put(true, "database", "too much waits for it, so no input is read; what comes by UDP is lost".to_owned());
    }
    for place in &status.backends {
        if let Some(error) = &place.error {
            let since = when_if(place.failing_since);
            let what = match place.cuts {
                true => "denies are enforced, but open connections of denied addresses are not cut",
                false => "denies are not enforced",
            };
            put(true, &place.name, format!("{what} since {since}: {error}"));
        }
        if place.left_out > 0 {
            let what = "though nothing failed: somebody deleted their lines again after they were put back (denyd forgive \
                        releases them for good), or too much is allowed inside them; the log names them";
            let denies = output::count(place.left_out as u64, "deny is", "denies are");
            put(true, &place.name, format!("{denies} not enforced, {what}"));
        }
    }
    for place in &status.left {
        let place = printable(place.as_bytes());
        let what = "an earlier configuration denied there, so who is released now may stay denied by that; see to it, and \
                    restart denyd";
        put(true, "leftovers", format!("{place}: {what}"));
    }
    if let Some((dir, problem)) = status.work_dir.as_ref().and_then(|dir| Some((dir, dir.problem.as_ref()?))) {
        let problem = printable(problem.as_bytes());
        put(
            true,
            "work directory",
            format!("{} cannot be written, and nobody can be forgiven there: {problem}", dir.dir),
        );
    }
    if let Some(what) = &status.beside {
        put(true, "DenyHosts", printable(what.as_bytes()));
    }
    if let Some(what) = &status.not_forgiven {
        put(false, "forgiven by hand", printable(what.as_bytes()));
    }
    if let Some(unread) = &status.unread {
        put(true, "sshd", printable(unread.as_bytes()));
    }
    for input in &status.inputs {
        if let Some(problem) = &input.problem {
            let problem = printable(problem.as_bytes());
            put(true, &input.name, format!("what is written there is not seen, or not all of it: {problem}"));
        }
        // What is a sender's is told of that one.
        let mut senders = status.senders.iter().filter(|sender| sender.source == input.name);
        if let Some(blind) = input.blind.as_ref().filter(|_| !senders.clone().any(|sender| sender.blind.is_some())) {
            put(true, &input.name, status::blind(blind));
            put(true, &input.name, blind.remedy.clone());
        }
        if input.forgeable {
            let what = "strangers may be able to make up its records, so what it alone denies it denies for an hour at most, \
                        and it clears nothing; use the journal, a unix socket or TLS with client certificates, or say \
                        trust_network = true if no false address can come in and no local user is a stranger";
            put(false, &input.name, what.to_owned());
        }
        let is_told = senders.any(|sender| sender.skew_s.is_some());
        if let Some(by) = input.skew_s.filter(|_| !is_told) {
            put(false, &input.name, clock(by));
        }
        let mut lost = input.lost;
        for row in &input.suppressed {
            lost = lost.saturating_sub(row.records);
            let is_of_logins =
                row.by == Limit::Imjournal || ["ssh", "dropbear"].iter().any(|name| row.of.contains(name));
            put(is_of_logins, &input.name, suppressed(row));
        }
        for (count, what) in [
            (lost, "records were lost before they came; the sender's rate limit, or too small a buffer"),
            (input.counters.refused, "connections or messages were refused by `from` or a limit"),
            (input.counters.handshakes_failed, "TLS handshakes failed; the log says why"),
            (input.counters.broken, "streams were broken off; the log says why"),
            (
                input.counters.foreign,
                "connections spoke HTTP, TLS or SSH and were closed; the log names the last of them now and then",
            ),
            (input.truncated, "lines were longer than 8 KiB, or pieces of a container's line, and were cut"),
            (input.forged, "records were not believed: who wrote them may not write for that program"),
        ] {
            if count > 0 {
                put(false, &input.name, format!("{count} {what}"));
            }
        }
    }
    for sender in &status.senders {
        let about = format!("{} by {}", sender.host.as_deref().unwrap_or("-"), sender.sender);
        if let Some(by) = sender.skew_s {
            put(false, &about, clock(by));
        }
        if let Some(blind) = &sender.blind {
            put(true, &about, status::blind(blind));
            put(true, &about, blind.remedy.clone());
        }
        if sender.silent {
            put(true, &about, format!("has said nothing since {}", when_if(sender.last)));
        }
    }
    if let Some(sync) = &status.sync {
        sharing(sync, status, config).into_iter().for_each(|(grave, what)| put(grave, "sync", what));
    }
    let ways = Way::all(config).into_iter().zip([&status.mail, &status.webhook]).zip(NAMES);
    for ((way, told), name) in ways {
        if let Some((told, problem)) = told.as_ref().and_then(|told| Some((told, told.problem.as_ref()?))) {
            let (since, problem) = (when_if(told.failing_since), printable(problem.as_bytes()));
            let waits = output::count(told.waiting, "decision waits", "decisions wait");
            let (server, remedy) = (printable(told.server.as_bytes()), way.remedy(&problem));
            put(true, name, format!("{server} took none since {since}, {waits}: {problem}; {remedy}"));
        }
    }
    let each = Each::all(config).into_iter().zip(&NAMES[LETTERS..]);
    for (by, told) in each.filter_map(|(by, name)| Some((by, status.outputs.iter().find(|one| one.name == *name)?))) {
        if let Some(problem) = &told.problem {
            let (since, problem) = (when_if(told.failing_since), printable(problem.as_bytes()));
            let waits = output::count(told.waiting, "decision waits", "decisions wait");
            put(true, &told.name, format!("it fails since {since}, {waits}: {problem}; {}", by.remedy()));
        }
    }
    for one in status.followers.iter().filter(|one| one.missed > 0) {
        let missed = output::count(one.missed.cast_unsigned(), "decision was", "decisions were");
        put(false, &one.name, format!("{missed} forgotten before it was told of them"));
    }
    let mail = &config.mail;
    if mail.to.iter().any(|to| to.email.domain().contains('.'))
        && let Some(from) = post::from(mail).ok().filter(|from| !from.email.domain().contains('.'))
    {
        let what =
            format!("many servers refuse mail from {}, which is no full domain; see to `from` in [mail]", from.email);
        put(false, "mail", what);
    }
    for one in &status.namesakes {
        let host = printable(one.host.as_bytes());
        let what = "let it write full names (rsyslog: $PreserveFQDN on), or give it an input with host = of its own";
        put(false, &one.input, format!("{host} {}; {what}", status::TWO_HOSTS));
    }
    for name in status.names.iter().filter(|name| name.addresses.is_empty() || name.failing.is_some()) {
        let (what, days) = (allow::resolves(name), KEPT.as_secs() / 86_400);
        let stays =
            if name.addresses.is_empty() { String::new() } else { format!("; that stays allowed for {days} days") };
        put(
            false,
            &name.name,
            format!(
                "it is on the allow list, {what}{stays}. See to its DNS, or take it off: denyd allow {} --remove, or in the configuration",
                name.name
            ),
        );
    }
    for shape in &status.shapes {
        let what = output::count(shape.records, "record like this is", "records like this are");
        put(false, &shape.input, format!("{what} not understood, please report it: {}", shape.shape));
    }
    for (count, what) in status::reached(status) {
        put(false, "limits", format!("{count} {what}"));
    }
    found
}

/// By how much a clock is off, and what to do.
fn clock(by: f64) -> String {
    let what = status::skew(by);
    match zone((by * 1e6) as i64) {
        Some(_) => format!(
            "its stamps are {what}, which is a wrong zone; they are set right as they come: say \
             timezone = \"Area/City\" of this input (\"UTC\" for most containers), or start its syslog daemon again if that \
             has missed a change of its zone"
        ),
        None => format!("its clock is {what}; its stamps are set right as they come; set it, by NTP for example"),
    }
}

/// What a rate limit threw away, and how to lift it.
fn suppressed(row: &Suppressed) -> String {
    let of = printable(row.of.as_bytes());
    let (by, remedy) = match row.by {
        Limit::Journald => (
            "journald",
            format!(
                "LogRateLimitIntervalSec=0 in its [Service] (`systemctl edit {of}`), or a greater RateLimitBurst= in \
                 /etc/systemd/journald.conf"
            ),
        ),
        Limit::Imuxsock => ("rsyslogd", "SysSock.RateLimit.Interval=\"0\" of its module imuxsock".to_owned()),
        Limit::Imjournal => ("rsyslogd", "Ratelimit.Interval=\"0\" of its module imjournal".to_owned()),
        Limit::Rsyslogd => ("rsyslogd", "RateLimit.Interval=\"0\" of that input".to_owned()),
    };
    let how_many = output::count(row.records, "record", "records");
    let how_many = if row.records == 0 { "records" } else { &how_many };
    format!("{how_many} of {of} never came, {by}'s rate limit dropped them, with what failed there; set {remedy}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_limit_is_named_with_its_remedy() {
        let check = |row: serde_json::Value, text: &str| {
            let status = json!({"inputs": [{"name": "a", "lost": 20, "suppressed": [row]}]});
            let found = findings(&serde_json::from_value(status).expect("a status"), &Config::default());
            assert_eq!((found.len(), found[0].level == Level::Fail, &*found[0].what), (2, true, text));
            assert!(found[1].what.starts_with(if text.starts_with("17") { "3 " } else { "20 " }), "{}", found[1].what);
        };
        let never = "never came";
        check(
            json!({"by": "journald", "of": "ssh.service", "records": 17}),
            &format!(
                "17 records of ssh.service {never}, journald's rate limit dropped them, with what failed there; set \
                 LogRateLimitIntervalSec=0 in its [Service] (`systemctl edit ssh.service`), or a greater RateLimitBurst= in \
                 /etc/systemd/journald.conf"
            ),
        );
        check(
            json!({"by": "imuxsock", "of": "sshd"}),
            &format!(
                "records of sshd {never}, rsyslogd's rate limit dropped them, with what failed there; set \
                 SysSock.RateLimit.Interval=\"0\" of its module imuxsock"
            ),
        );
    }

    #[test]
    fn a_wrong_clock_is_named_once_with_its_remedy() {
        let check = |skew: f64, senders: serde_json::Value, about: &str, remedy: &str| {
            let status = json!({"inputs": [{"name": "a", "skew_s": skew}, {"name": "b"}], "senders": senders});
            let found = findings(&serde_json::from_value(status).expect("a status"), &Config::default());
            assert_eq!(found.iter().map(|one| &*one.about).collect::<Vec<_>>(), [about]);
            assert!(found[0].what.contains(remedy), "{}", found[0].what);
        };
        check(-18_000.0, json!([]), "a", "5:00 h behind, which is a wrong zone");
        check(-18_000.0, json!([]), "a", "say timezone = ");
        check(-100.0, json!([]), "a", "its clock is 100 s behind");
        let web = json!([{"source": "a", "host": "web", "sender": "192.0.2.1", "skew_s": -18_000.0}]);
        check(-18_000.0, web, "web by 192.0.2.1", "say timezone = ");
    }

    #[test]
    fn a_fault_of_a_sender_is_told_once() {
        let check = |senders: serde_json::Value, want: [&str; 2]| {
            let blind = json!({"what": "w", "line": "l", "remedy": "r"});
            let status = json!({"inputs": [{"name": "a", "blind": blind}], "senders": senders});
            let found = findings(&serde_json::from_value(status).expect("a status"), &Config::default());
            assert_eq!(found.iter().map(|one| &*one.about).collect::<Vec<_>>(), want);
        };
        let sender = |source: &str| {
            let blind = json!({"what": "v", "line": "l", "remedy": "r"});
            json!([{"source": source, "host": "web", "sender": "192.0.2.1", "blind": blind}])
        };
        check(json!([]), ["a", "a"]);
        check(sender("a"), ["web by 192.0.2.1"; 2]);
        check(json!([{"source": "a", "host": "web", "sender": "192.0.2.1"}]), ["a", "a"]);
    }

    #[test]
    fn each_finding_says_about_what() {
        let status = json!({
            "held_back": true, "evicted": 3,
            "backends": [{"name": "nftables", "error": "no", "failing_since": "2026-11-22T00:00:00Z"},
                         {"name": "stdout", "error": null}],
            "inputs": [{"name": "a", "forgeable": true, "lost": 2, "forged": 0},
                       {"name": "b", "forgeable": false, "problem": "no"}],
            "shapes": [{"input": "a", "shape": "Frobnicated *", "records": 2}],
            "senders": [{"host": "web", "sender": "192.0.2.1", "skew_s": -3600.0, "silent": false},
                        {"host": "db", "sender": "192.0.2.2", "skew_s": null, "silent": true, "last": "2026-11-22T00:00:00Z"}],
        });
        let found: Vec<_> = findings(&serde_json::from_value(status).expect("a status"), &Config::default())
            .into_iter()
            .map(|one| (one.level == Level::Fail, one.about))
            .collect();
        let want = [
            (true, "database"),
            (true, "nftables"),
            (false, "a"),
            (false, "a"),
            (true, "b"),
            (false, "web by 192.0.2.1"),
            (true, "db by 192.0.2.2"),
            (false, "a"),
            (false, "limits"),
        ];
        assert_eq!(found, want.map(|(grave, about)| (grave, about.to_owned())));
        let cuts = json!({"backends": [{"name": "connections", "cuts": true, "error": "no ss"}]});
        let found = findings(&serde_json::from_value(cuts).expect("a status"), &Config::default());
        assert!(found[0].what.starts_with("denies are enforced, but open connections"), "{}", found[0].what);
        assert!(findings(&Status::default(), &Config::default()).is_empty());
    }
}
