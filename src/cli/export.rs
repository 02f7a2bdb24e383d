//! `denyd export denyhosts DIR`: what is remembered, as the files of DenyHosts' work directory and its hosts.deny.
//!
//! The database is only read, and a daemon may be writing it: what it has not committed yet is not in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use inputs::cursor::{Cursor, FileCursor};
use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use super::output::{Column, Screen};
use crate::clock;
use crate::compat::files::{self, Count, Offset, Pair, User};
use crate::config::{Config, Source};
use crate::daemon::feeds;
use crate::decide::claim::{Claim, Claimant, latest};
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::state::State;
use crate::deny::hosts_deny;
use crate::desk::received::{self, Place};
use crate::detect::event::Account;
use crate::detect::special::is_shared;
use crate::outbox::sync;
use crate::store::{self, Decision, Loaded, Store, Wanted};
use crate::text::plain;

/// What `export` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("export denyhosts /root/denyhosts", "a work directory of DenyHosts, and its hosts.deny; the daemon may run"),
]))]
pub(super) struct Arguments {
    /// For whom
    #[arg(value_enum)]
    format: Format,
    /// The directory, which is made; nothing may be in it
    dir: PathBuf,
}

/// Whose files are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// DenyHosts'
    Denyhosts,
}

/// The most logins after too many failures that are looked at.
const SUSPICIOUS_MAX: usize = 100_000;
/// The longest first line of a log that is noted, in bytes.
const FIRST_LINE_MAX: u64 = files::LINE_MAX as u64;

/// A file, how many records it has, and what cannot stand in it.
struct Written {
    name: &'static str,
    text: Vec<u8>,
    records: usize,
    left: Vec<String>,
}

/// Runs the verb.
pub(super) fn run(
    Arguments { format: Format::Denyhosts, dir }: Arguments,
    config: &Config,
) -> anyhow::Result<ExitCode> {
    if !config.state_dir.join(store::FILE).exists() {
        bail!("there is no state in {}; see state_dir in the configuration", config.state_dir.display());
    }
    let store = Store::rehearse(&config.state_dir)?;
    let loaded = store.load()?;
    let now = clock::now();
    let aside = Aside {
        logins: store.database.logins(SUSPICIOUS_MAX)?,
        pairs: store.database.pairs(&Wanted::default(), now, usize::MAX)?,
        released: store.database.released(None, usize::MAX)?,
        waiting: waiting(&store)?,
        timestamp: timestamp(&store)?,
    };
    let written = all(&loaded, aside, config, now, &TimeZone::system());
    let failed = || format!("cannot write into {}", dir.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).with_context(failed)?;
    if fs::read_dir(&dir).with_context(failed)?.next().is_some() {
        bail!("{} has files already; name another directory", dir.display());
    }
    // Without an offset DenyHosts reads its log from the beginning; what is cut means the same to it.
    let is_there = |one: &&Written| {
        ![files::OFFSET, files::SYNC_HOSTS, files::SYNC_TIMESTAMP].contains(&one.name) || !one.text.is_empty()
    };
    for Written { name, text, .. } in written.iter().filter(is_there) {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join(name));
        file.and_then(|mut file| file.write_all(text)).with_context(failed)?;
    }
    show(&written, &dir)?;
    Ok(ExitCode::SUCCESS)
}

fn show(written: &[Written], dir: &Path) -> io::Result<()> {
    const COLUMNS: &[Column<Written>] =
        &[("FILE", '<', |one| one.name.to_owned()), ("RECORDS", '>', |one| one.records.to_string())];
    let mut screen = Screen::new();
    screen.table(COLUMNS, written)?;
    for Written { name, left, .. } in written {
        for what in left {
            writeln!(screen, "{name}: {what}")?;
        }
    }
    writeln!(
        screen,
        "They are in {}. A user who fails with probes alone has no place in DenyHosts' files.",
        dir.display()
    )?;
    screen.flush()
}

/// What the database has beside the state.
struct Aside {
    logins: Vec<store::Login>,
    pairs: Vec<store::Pair>,
    released: Vec<store::Released>,
    /// Whom the server is to be told of.
    waiting: Vec<IpAddr>,
    /// How far its list was taken.
    timestamp: Option<u64>,
}

/// Whom the server with which hosts are shared is to be told of still: single addresses, as DenyHosts has no others.
fn waiting(store: &Store) -> anyhow::Result<Vec<IpAddr>> {
    let kept = sync::Kept::of(store.database.note(sync::NAME)?.as_deref());
    let mut waiting = kept.waiting;
    let Some(follower) = store.followers()?.into_iter().find(|one| one.name == sync::NAME) else { return Ok(waiting) };
    let rows = store.history_after(follower.seen, sync::WAITING_MAX)?;
    let denied =
        rows.into_iter().filter(|row| matches!(row.decision, Decision::Denied { certain: true, enforced: true, .. }));
    let hosts = denied.filter_map(|row| row.prefix).filter(Prefix::is_host).map(|prefix| prefix.address());
    waiting.extend(hosts.filter(|host| is_shared((*host).into())));
    Ok(waiting)
}

/// How far the list of the server was taken, by its clock.
fn timestamp(store: &Store) -> anyhow::Result<Option<u64>> {
    let note = store.database.note(received::NOTE)?;
    Ok(note.and_then(|note| serde_json::from_str::<Place>(&note).ok()).map(|place| place.timestamp))
}

/// All files. What is not known of a last time is the epoch there, which `denyd import` reads so.
fn all(
    Loaded { state, cursors, allowed }: &Loaded,
    Aside { logins, pairs, released, waiting, timestamp }: Aside,
    config: &Config,
    now: Timestamp,
    zone: &TimeZone,
) -> Vec<Written> {
    let count = |count, at| Count { count, at: Some(at) };
    let counted = |name, counts: BTreeMap<IpAddr, Count>| counts_of(name, counts, now, zone);
    let failed = |name, class| counted(name, failures(state, class));
    let users = |name, accounts: &[Account]| {
        let users = state.users.iter().filter(|(_, one)| one.attempts > 0 && accounts.contains(&one.account));
        let users: BTreeMap<User, Count> =
            users.map(|(user, one)| (user.clone(), count(one.attempts, one.last))).collect();
        counts_of(name, users, now, zone)
    };
    let pair = |user: Vec<u8>, address| Pair { user: user.into(), address };
    let logins = logins.into_iter().map(|((address, user), (times, last))| (pair(user, address), count(times, last)));
    let pairs = pairs.into_iter().filter(|one| one.attempts > 0);
    let pairs = pairs.map(|one| (pair(one.user, one.prefix.address()), count(one.attempts, one.last)));
    let released = released.into_iter();
    let released =
        released.map(|one| (one.prefix.address(), count(one.times.into(), one.last.unwrap_or_default()))).collect();
    let (hosts_deny, told) = denies(state, config, allowed, (now, zone));
    let mut told: BTreeMap<IpAddr, Timestamp> = told.into_iter().map(|address| (address, now)).collect();
    let received = state.denies.iter().filter_map(|(prefix, deny)| Some((prefix, deny.claim(Claimant::Sync)?)));
    told.extend(received.map(|(prefix, claim)| (prefix.address(), claim.since)));
    let told = files::write_received(told, zone);
    let waiting = files::write_hosts(waiting);
    // Without a line end, as DenyHosts writes it.
    let timestamp = timestamp.map_or(String::new(), |timestamp| timestamp.to_string()).into_bytes();
    vec![
        failed(files::HOSTS, Class::Invalid),
        failed(files::HOSTS_VALID, Class::Valid),
        failed(files::HOSTS_ROOT, Class::Root),
        failed(files::HOSTS_RESTRICTED, Class::Restricted),
        users(files::USERS_INVALID, &[Account::Unknown, Account::Unsaid]),
        users(files::USERS_VALID, &[Account::Known]),
        counts_of(files::USERS_HOSTS, pairs.collect(), now, zone),
        counts_of(files::SUSPICIOUS_LOGINS, logins.collect(), now, zone),
        counted(files::PURGE_HISTORY, released),
        offset(cursors, config),
        words(files::ALLOWED_HOSTS, allowed_words(config, allowed)),
        words(files::RESTRICTED_USERNAMES, config.decide.policy.restricted.iter().cloned().collect()),
        hosts_deny,
        Written { name: files::SYNC_RECEIVED, records: lines(&told), text: told, left: Vec::new() },
        Written { name: files::SYNC_HOSTS, records: lines(&waiting), text: waiting, left: Vec::new() },
        Written {
            name: files::SYNC_TIMESTAMP,
            records: usize::from(!timestamp.is_empty()),
            text: timestamp,
            left: Vec::new(),
        },
    ]
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

fn counts_of<K: files::Key>(
    name: &'static str,
    counts: BTreeMap<K, Count>,
    now: Timestamp,
    zone: &TimeZone,
) -> Written {
    let records = counts.len();
    Written { name, text: files::write_counts(counts, now, zone), records, left: Vec::new() }
}

/// Failures of a class, by the first address of each prefix that is counted.
fn failures(state: &State, class: Class) -> BTreeMap<IpAddr, Count> {
    let of = |(prefix, tally): (Prefix, &crate::decide::tally::Tally)| {
        let (count, last) = (tally.counts[class as usize], tally.last[class as usize]);
        let at = Some(Timestamp::from_secs(i64::from(last)));
        (count > 0).then(|| (prefix.address(), Count { count: u64::from(count), at }))
    };
    state.tallies.iter().filter_map(of).collect()
}

/// Who is denied, as hosts.deny: the comment has the time from which `PURGE_DENY` leads to the end of the deny. What never ends
/// has none, as DenyHosts purges by it. Also which of these nothing else would show to be DenyHosts'.
fn denies(
    state: &State,
    config: &Config,
    added: &BTreeSet<String>,
    (now, zone): (Timestamp, &TimeZone),
) -> (Written, Vec<IpAddr>) {
    let mut allow = config.decide.policy.allow.clone();
    added.iter().for_each(|entry| _ = allow.add(entry));
    let (allowed, mut full) = (allow.ranges().collect::<Vec<_>>(), 0);
    let (policy, service) = (&config.decide.policy, &config.deny.hosts_deny.service);
    let (mut text, mut records, mut nets, mut told) = (Vec::new(), 0, 0, Vec::new());
    let denied: BTreeMap<&Prefix, _> = state.denies.iter().collect();
    for (prefix, deny) in denied {
        let due: Vec<&Claim> = deny.claims().map(|(_, claim)| claim).filter(|claim| claim.is_due(now)).collect();
        let Some(until) = due.iter().map(|claim| claim.until).reduce(latest) else { continue };
        let since = due.iter().map(|claim| claim.since).min().unwrap_or(now);
        let stamp = match (until, policy.deny_for) {
            (Some(until), Some(deny_for)) => Some(until.before(deny_for)),
            (None, Some(_)) => None,
            (_, None) => Some(since),
        };
        let is_counted = policy.prefix(prefix.address().into()) == *prefix;
        if stamp.is_none() {
            let tally = state.tallies.get(prefix);
            if tally.and_then(|tally| tally.exceeded(policy, now)).is_none() && is_counted {
                told.push(prefix.address());
            }
        }
        nets += usize::from(!is_counted && !prefix.is_host());
        // Neither libwrap nor DenyHosts' own list takes back a part of an entry.
        let Some(pieces) = hosts_deny::pieces(*prefix, &allowed) else {
            full += 1;
            continue;
        };
        for piece in pieces {
            records += 1;
            let entry = hosts_deny::entry_of(service, Path::new("hosts.deny"), &piece);
            if let Some(stamp) = stamp {
                text.extend(format!("# DenyHosts: {} | {entry}\n", crate::text::asctime(stamp, zone)).into_bytes());
            }
            text.extend(format!("{entry}\n").into_bytes());
        }
    }
    let mut left = Vec::new();
    if nets > 0 {
        left.push(format!("{nets} of them are networks of a person's, which `denyd import` leaves alone"));
    }
    if full > 0 {
        left.push(format!("{full} are not in it, as too many addresses in them are allowed"));
    }
    (Written { name: "hosts.deny", text, records, left }, told)
}

/// How far the log was read that an input follows, if it is one file.
fn offset(cursors: &BTreeMap<String, Cursor>, config: &Config) -> Written {
    // Where none is named denyd finds the log itself.
    let inputs: Vec<_> = match config.inputs.is_empty() {
        true => feeds::found().into_iter().collect(),
        false => config.inputs.clone(),
    };
    let files = inputs.iter().filter_map(|input| match &input.source {
        Source::File(file) => Some((cursors.get(&input.name)?, &*file.path)),
        _ => None,
    });
    let mut files: Vec<_> = files.collect();
    let mut left = Vec::new();
    if files.len() > 1 {
        left.push(format!("{} logs are read, and DenyHosts reads one: it has the first", files.len()));
        files.truncate(1);
    }
    let found = files.pop().and_then(|(cursor, path)| match cursor {
        Cursor::File(cursor) => noted(cursor, path).unwrap_or_default(),
        _ => None,
    });
    let text = found.map(|offset| files::write_offset(&offset)).unwrap_or_default();
    Written { name: files::OFFSET, records: usize::from(!text.is_empty()), text, left }
}

fn noted(cursor: &FileCursor, path: &Path) -> io::Result<Option<Offset>> {
    let file = fs::File::open(path)?;
    let found = file.metadata()?;
    if (found.dev(), found.ino()) != (cursor.id.device, cursor.id.inode) {
        return Ok(None);
    }
    let mut line = Vec::new();
    BufReader::new(file.take(FIRST_LINE_MAX)).read_until(b'\n', &mut line)?;
    Ok(line.strip_suffix(b"\n").map(|line| Offset { first_line: line.into(), bytes: cursor.offset }))
}

/// The allow list, of the configuration and what `denyd allow` added. DenyHosts knows single addresses, `192.0.2.*`,
/// `192.0.2.[1-9]`, whose end it takes for one before, and names.
fn allowed_words(config: &Config, added: &BTreeSet<String>) -> Vec<Vec<u8>> {
    let configured = config.decide.policy.allow.entries().map(str::to_owned);
    configured.chain(added.iter().cloned()).collect::<BTreeSet<_>>().into_iter().map(String::into_bytes).collect()
}

fn words(name: &'static str, mut words: Vec<Vec<u8>>) -> Written {
    words.sort();
    let (text, odd) = files::write_words(words.iter().map(Vec::as_slice));
    let left: Vec<_> =
        odd.iter().map(|word| format!("{} cannot stand there", plain(&String::from_utf8_lossy(word)))).collect();
    Written { name, records: words.len() - left.len(), text, left }
}
