//! What is wrong with this machine, as far as it can be seen from outside the daemon.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::{Finding, Level};
use crate::cli::office::{self, Office};
use crate::cli::output::count;
use crate::cli::person;
use crate::config::{Config, Source};
use crate::daemon::feeds;
use crate::decide::prefix::Prefix;
use crate::deny::program;
use crate::desk::reply::{Host, Verdict, Why};
use crate::desk::{Filter, Request, What};
use crate::outbox::plugin;
use crate::store;
use crate::text::printable;

/// Denied addresses that had good logins, of which so many are named.
const NAMED: usize = 5;
/// How long a program may take to answer.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Less room than this, in bytes, is soon full.
const ROOM_MIN: u64 = 100 * 1024 * 1024;

/// What can be told of a daemon that does not run: that, and whether it could open its database and read its logs.
pub(super) fn without_daemon(config: &Config) -> Vec<Finding> {
    let what = "it does not run: what is denied stays denied until its time is over, and nobody else is. Start it: systemctl \
                start denyd, or denyd run";
    let mut found = vec![Finding::new(Level::Fail, "daemon", what.to_owned())];
    let mut put = |about: &str, what: String| found.push(Finding::new(Level::Fail, about, what));
    if config.state_dir.join(store::FILE).exists()
        && let Err(error) = office::store(config)
    {
        put("database", format!("{error:#}"));
    }
    let inputs = match config.inputs.is_empty() {
        false => config.inputs.clone(),
        true => feeds::found().map_err(|error| put("input", error.to_string())).into_iter().collect(),
    };
    let rules = match config.rules() {
        Ok(loaded) => loaded.rules,
        Err(error) => {
            put("rules", error.to_string());
            return found;
        }
    };
    let rules = Arc::new(rules);
    for input in inputs.iter().filter(|input| !matches!(input.source, Source::Syslog(_))) {
        if let Err(problem) = feeds::try_log(input, &rules) {
            put(&input.name, problem);
        }
    }
    found
}

/// What else there is to say.
pub(super) fn findings(config: &Config, office: &mut Office<'_>) -> Vec<Finding> {
    let mut found: Vec<_> = room(&config.state_dir).into_iter().chain(clock()).collect();
    // Of DenyHosts' configuration: that another log is read than the one that it names.
    let log = config.remarks.iter().filter(|remark| remark.what.starts_with("SECURE_LOG = "));
    found.extend(log.map(|remark| Finding::new(Level::Look, "input", remark.what.clone())));
    for problem in plugin::missing(&config.plugin) {
        found.push(Finding::new(Level::Fail, "plugin", format!("it cannot be run: {}", printable(problem.as_bytes()))));
    }
    let mut all = |what| {
        let filter = Filter { limit: Some(crate::desk::ROWS_MAX), ..Filter::default() };
        office.ask::<Vec<Host>>(&Request::List { what, filter })
    };
    if let Ok(denied) = all(What::Hosts) {
        found.extend(familiar(&denied));
    }
    if let Some(address) = person::address() {
        let why = office.ask::<Why>(&Request::Why { address: Prefix::host(address) });
        found.extend(why.ok().and_then(|why| session(address, why.verdict)));
    }
    found
}

/// Little room where the database is.
fn room(dir: &Path) -> Option<Finding> {
    let room = statvfs(dir).ok()?;
    let left = room.blocks_available() * room.fragment_size();
    let what = || {
        format!(
            "{} has room for {} MiB only; when it is full, what is decided is held in memory until there is room again, and lost \
             if denyd ends before",
            dir.display(),
            left / (1024 * 1024)
        )
    };
    (left < ROOM_MIN).then(|| Finding::new(Level::Look, "disk", what()))
}

/// A clock that nobody keeps right, by what the kernel knows of it (`adjtimex(2)`, STA_UNSYNC): systemd tells that of chrony
/// and others too.
fn clock() -> Option<Finding> {
    let timedatectl = program::find("timedatectl")?;
    let child = program::start(&timedatectl, &["show", "-p", "NTPSynchronized", "--value"]).ok()?;
    let said = program::finish_within(TIME_MAX, child, b"").ok()?;
    unkept(&said.stdout)
}

fn unkept(said: &[u8]) -> Option<Finding> {
    let what = "nobody keeps this machine's clock right (timedatectl: NTPSynchronized=no): denies end by it, and what other \
                machines send is compared with it: timedatectl set-ntp true, or install chrony";
    (said.trim_ascii() == b"no").then(|| Finding::new(Level::Note, "clock", what.to_owned()))
}

/// Denied addresses from which somebody logged in not long ago: they may be somebody's own.
fn familiar(denied: &[Host]) -> Option<Finding> {
    let ours: Vec<_> = denied.iter().filter(|host| host.enforced && host.last_login.is_some()).collect();
    let named = ours.iter().take(NAMED).map(|host| host.prefix.to_string()).collect::<Vec<_>>().join(", ");
    let what = || {
        let addresses = count(ours.len() as u64, "address is denied from which", "addresses are denied from which");
        format!(
            "{addresses} somebody logged in within 30 days: {named}; see denyd why, and denyd forgive or denyd allow"
        )
    };
    (!ours.is_empty()).then(|| Finding::new(Level::Look, "denied", what()))
}

/// Whether the person who asks could be locked out.
fn session(address: IpAddr, verdict: Verdict) -> Option<Finding> {
    let (level, what) = match verdict {
        Verdict::Allowed => return None,
        Verdict::Denied => (Level::Fail, "is denied; a connection that is open may last, and no new one is taken"),
        Verdict::Counted | Verdict::Unknown => (Level::Note, "is not on the allow list"),
    };
    let what =
        format!("you are logged in from {address}, which {what}. To have it never denied: denyd allow {address}");
    Some(Finding::new(level, "session", what))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn denied_addresses_of_people_are_named() {
        let row = |prefix: &str, login: Option<&str>, enforced: bool| {
            let row = json!({"prefix": prefix, "since": null, "until": null, "class": null, "count": 0, "claimants": [],
                "times": 0, "hosts": [], "enforced": enforced, "last_login": login});
            serde_json::from_value::<Host>(row).expect("a row")
        };
        let day = Some("2026-11-20T10:00:00Z");
        let check = |rows: &[Host], want: Option<&str>| {
            assert_eq!(familiar(rows).map(|found| found.what).as_deref(), want);
        };
        check(&[row("192.0.2.1", None, true), row("192.0.2.2", day, false)], None);
        let end = "see denyd why, and denyd forgive or denyd allow";
        let one = format!("1 address is denied from which somebody logged in within 30 days: 192.0.2.3; {end}");
        check(&[row("192.0.2.1", None, true), row("192.0.2.3", day, true)], Some(&one));
        let many: Vec<_> = (1..=7).map(|n| row(&format!("192.0.2.{n}"), day, true)).collect();
        let named = "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4, 192.0.2.5";
        let all = format!("7 addresses are denied from which somebody logged in within 30 days: {named}; {end}");
        check(&many, Some(&all));
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_named() {
        let check = |said: &str, is: bool| assert_eq!(unkept(said.as_bytes()).is_some(), is, "{said:?}");
        check("no\n", true);
        check("yes\n", false);
        check("", false);
        check("Failed to connect to bus: Host is down\n", false);
    }

    #[test]
    fn who_asks_may_be_locked_out() {
        let check = |verdict: Verdict, want: Option<Level>| {
            let found = session("192.0.2.7".parse().expect("an address"), verdict);
            assert!(found.as_ref().is_none_or(|found| found.what.ends_with("denyd allow 192.0.2.7")));
            assert_eq!(found.map(|found| found.level), want);
        };
        check(Verdict::Allowed, None);
        check(Verdict::Unknown, Some(Level::Note));
        check(Verdict::Denied, Some(Level::Fail));
    }
}
