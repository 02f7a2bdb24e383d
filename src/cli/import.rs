//! `denyd import`: what DenyHosts' configuration means here, and what DenyHosts knew and did, which is taken over.
//!
//! Without an option nothing is changed: the configuration is on standard output, and on standard error what there is to take
//! over. `--yes` takes it over, with denyd and DenyHosts stopped: all counts and denies in one transaction; then who is denied is
//! denied by denyd; only then the rules and entries of DenyHosts go. `--undo` gives all of it back, in the other order: what
//! DenyHosts had denies again before denyd's own goes. What either did is told on standard output, since it was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use inputs::record::Timestamp;
use jiff::tz::TimeZone;

use super::output::{Column, Screen, count, when};
use crate::clock;
use crate::config::{self, Config, is_denyhosts, translated};
use crate::daemon::{self, lock_file::predecessor};
use crate::deny::hosts_deny;
use crate::deny::iptables::old as rules;
use crate::deny::ledger::{self, Lines};
use crate::desk::control::Client;
use crate::desk::{self, Desk};
use crate::store::{self, Store};
use crate::text::{At, plain};
use crate::whose;
use found::Found;
use kept::Before;
use plan::{Plan, Row};

mod found;
mod kept;
mod leftovers;
mod plan;
mod profile;

/// Where DenyHosts' configuration was, by version and distribution.
const PLACES: &[&str] =
    &["/etc/denyhosts.conf", "/etc/denyhosts/denyhosts.conf", "/usr/share/denyhosts/denyhosts.cfg", "denyhosts.cfg"];

/// What `import` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("import", "what /etc/denyhosts.conf means, as a denyd.toml with the old key above each new one, and what else there is"),
    ("import --yes", "take over what DenyHosts counted and denied, its entries of hosts.deny, its rules of iptables"),
    ("import --undo", "give all of that back"),
    ("import /usr/share/denyhosts/denyhosts.cfg", "the same of another file"),
]))]
pub(super) struct Arguments {
    /// DenyHosts' configuration; without one, it is looked for where DenyHosts had it
    file: Option<PathBuf>,
    /// Take over what DenyHosts knew and did; denyd and DenyHosts must be stopped
    #[arg(long, conflicts_with = "undo")]
    yes: bool,
    /// Give back all that --yes took, files and rules and denyd's own database, as they were
    #[arg(long)]
    undo: bool,
    /// Where the machine's files begin in which calls of DenyHosts are looked for, such as a disk that is mounted elsewhere
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Runs the verb.
pub(super) fn run(arguments: Arguments, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    if arguments.undo {
        return undo(&ours(config, arguments.file.as_deref())?);
    }
    let named = arguments.file.clone().or_else(|| config.filter(|file| is_denyhosts(file)).map(Path::to_owned));
    let found = || PLACES.iter().map(Path::new).find(|place| is_ours(place)).map(Path::to_owned);
    let Some(file) = named.or_else(found) else {
        bail!("there is no configuration of DenyHosts in {}; name the file: denyd import FILE", PLACES.join(", "));
    };
    if !is_denyhosts(&file) {
        bail!("{} is no configuration of DenyHosts by its name, which ends in .conf or .cfg", file.display());
    }
    match arguments.yes {
        true => take(&file, &ours(config, Some(&file))?, &arguments.root),
        false => show(&file, config, &arguments.root),
    }
}

/// Whether a file is there that nobody else could have put or written: one of the places is wherever root stands.
fn is_ours(place: &Path) -> bool {
    let own = |path: &Path| fs::metadata(path).is_ok_and(|found| whose::closed(path, &found).is_ok());
    let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    place.is_file() && own(place) && own(dir)
}

/// What denyd runs by: the configuration that was named or the usual one, if it is ours, else DenyHosts' own.
fn ours(config: Option<&Path>, file: Option<&Path>) -> anyhow::Result<Config> {
    let usual = || Some(Path::new(config::FILE)).filter(|usual| usual.exists());
    let file = config.or_else(usual).or(file);
    Ok(file.map_or_else(|| Ok(Config::default()), Config::read)?)
}

/// The configuration on standard output, and on standard error what differs from DenyHosts and what there is to take over.
fn show(file: &Path, config: Option<&Path>, root: &Path) -> anyhow::Result<ExitCode> {
    let translation = translated(file)?;
    let mut screen = Screen::new();
    write!(screen, "# What {} means to denyd.\n{}", plain(&file.display().to_string()), translation.toml)?;
    screen.flush()?;
    let mut told = io::stderr().lock();
    for remark in &translation.remarks {
        writeln!(told, "{}", super::check::told(file, remark))?;
    }
    let looked = ours(config, Some(file)).and_then(|ours| Ok((found::find(file, &ours)?, ours)));
    let (found, ours) = match looked {
        Ok(looked) => looked,
        Err(error) => {
            writeln!(told, "What DenyHosts knew cannot be looked at: {error:#}")?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let plan = plan::plan(&found, &daemon::policy(&ours), &ours.deny, clock::now(), &TimeZone::system());
    writeln!(told, "\nWith `denyd import --yes` denyd takes over:\n")?;
    tell(&mut told, &plan)?;
    tell_rest(&mut told, &found, &ours, root)?;
    Ok(ExitCode::SUCCESS)
}

/// The table of what is taken over, and what is not.
fn tell(out: &mut impl Write, Plan { rows, left, .. }: &Plan) -> io::Result<()> {
    const COLUMNS: &[Column<Row>] = &[
        ("WHAT", '<', |row| row.what.clone()),
        ("HOW MANY", '>', |row| row.many.to_string()),
        ("BECOMES", '<', |row| row.becomes.clone()),
    ];
    match rows.is_empty() {
        true => writeln!(out, "Nothing: DenyHosts counted nobody and denies nobody.")?,
        false => write!(out, "{}", super::output::table(COLUMNS, rows))?,
    }
    if !left.is_empty() {
        writeln!(out, "\nNot taken over:")?;
    }
    left.iter().try_for_each(|line| writeln!(out, "  {line}"))
}

/// What still calls DenyHosts, whether it runs, and with which rights denyd must run.
fn tell_rest(out: &mut impl Write, found: &Found, ours: &Config, root: &Path) -> io::Result<()> {
    let leftovers = leftovers::leftovers(root);
    if !leftovers.is_empty() {
        writeln!(out, "\nWhat still calls DenyHosts, and what to do:")?;
    }
    leftovers.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
    if let Some(predecessor) = predecessor(found.old.lock_file.as_deref()) {
        writeln!(out, "\n{predecessor}")?;
    }
    write!(out, "{}", profile::told(found, ours))
}

/// Nobody else may have the state directory.
fn stopped(config: &Config) -> anyhow::Result<()> {
    match Client::connect(&config.control_socket)? {
        Some(_) => bail!("denyd runs; stop it first: systemctl stop denyd. Nothing was changed"),
        None => Ok(()),
    }
}

fn take(file: &Path, config: &Config, root: &Path) -> anyhow::Result<ExitCode> {
    stopped(config)?;
    let found = found::find(file, config)?;
    if let Some(predecessor) = predecessor(found.old.lock_file.as_deref()) {
        bail!("{predecessor}. Nothing was changed");
    }
    let (now, zone) = (clock::now(), TimeZone::system());
    let plan = plan::plan(&found, &daemon::policy(config), &config.deny, now, &zone);
    let mut screen = Screen::new();
    let (before, is_new) = match Before::read(&config.state_dir)? {
        Some(before) if is_taken(config)? => {
            let (at, source) = (when(before.at.0), plain(&before.source.display().to_string()));
            writeln!(
                screen,
                "What {source} knew was taken over at {at} already; `denyd import --undo` gives it back."
            )?;
            (before, false)
        }
        // The last one was broken off before anything of ours was written.
        _ => (make_room(config).and_then(|()| Before::keep(&config.state_dir, &found, &plan, At(now)))?, true),
    };
    if is_new {
        writeln!(screen, "Taken over from DenyHosts, by {}:\n", plain(&file.display().to_string()))?;
        tell(&mut screen, &plan)?;
    }
    let store = Store::open(&config.state_dir)?;
    let mut desk = Desk::open(store, daemon::policy(config), now)?;
    if is_new {
        let Plan { mut taken, entries, .. } = plan;
        taken.notes.extend(ledger_of(&desk, &found, &entries)?);
        taken.notes.insert(TAKEN.to_owned(), now.0.to_string());
        let _ = desk.take_past(taken, now);
    }
    let _ = desk.tick(now);
    desk.commit(now).written.context("nothing was taken over")?;
    let enforced = enforce(&desk, config, &before, now);
    drop(desk);
    store::give_to_owner(&config.state_dir)?;
    let enforced = enforced.context(
        "it is taken over, but could not be enforced yet: so the entries and rules of DenyHosts are still there. Mend that, \
         and say the same again",
    )?;
    writeln!(screen, "\n{enforced} denied by denyd. Start it: {}", start(file))?;
    tell_rest(&mut screen, &found, config, root)?;
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// How denyd is started with the configuration by which was imported.
fn start(file: &Path) -> String {
    if Path::new(config::FILE).exists() {
        return "systemctl enable --now denyd (or: denyd run)".to_owned();
    }
    let file = plain(&file.display().to_string());
    format!(
        "denyd --config {file} run, which goes by the same configuration. The unit reads {usual}, so for it say before:\n  \
         denyd import {file} > {usual}\n  systemctl enable --now denyd",
        usual = config::FILE
    )
}

/// The note that says when DenyHosts was taken over.
const TAKEN: &str = "imported";

/// Whether it was written that DenyHosts was taken over.
fn is_taken(config: &Config) -> anyhow::Result<bool> {
    if !config.state_dir.join(store::FILE).exists() {
        return Ok(false);
    }
    Ok(Store::open_intact(&config.state_dir)?.database.note(TAKEN)?.is_some())
}

/// Makes the state directory, where there is none.
fn make_room(config: &Config) -> anyhow::Result<()> {
    let had_database = config.state_dir.join(store::FILE).exists();
    if had_database {
        // It is sound, and nobody else has it.
        drop(Store::open_intact(&config.state_dir)?);
        return Ok(());
    }
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.state_dir);
    made.with_context(|| format!("cannot make {}", config.state_dir.display()))
}

/// The ledger of hosts.deny, with the entries of DenyHosts as ours: from then on they come and go with their denies.
fn ledger_of(desk: &Desk, found: &Found, entries: &[hosts_deny::Written]) -> anyhow::Result<BTreeMap<String, String>> {
    if entries.is_empty() {
        return Ok(BTreeMap::new());
    }
    let name = ledger::note(&hosts_deny::place_of(&found.old.hosts_deny));
    let known = desk.note(&name)?;
    let mut lines: Lines = known.map_or_else(|| Ok(Lines::new()), |known| serde_json::from_str(&known))?;
    lines.extend(entries.iter().map(|one| (one.entry.clone(), one.prefix)));
    Ok(BTreeMap::from([(name, serde_json::to_string(&lines)?)]))
}

/// Denies by our own means; once that is done, takes away what denied before us. Says how many are denied.
fn enforce(desk: &Desk, config: &Config, before: &Before, now: Timestamp) -> anyhow::Result<String> {
    let mut back_ends = desk.back_ends(config)?;
    let want = desk.wanted(now);
    for back_end in &mut back_ends {
        back_end.replace(&want, now)?;
    }
    for mut place in desk.left(config, &back_ends).map_err(anyhow::Error::msg)? {
        place.leave(now).map_err(anyhow::Error::msg)?;
    }
    if let Some((program, old)) = before.rules() {
        rules::take(program, old)?;
    }
    let many = want.denied.len() as u64;
    Ok(format!("{} {}", count(many, "address", "addresses"), if many == 1 { "is" } else { "are" }))
}

fn undo(config: &Config) -> anyhow::Result<ExitCode> {
    stopped(config)?;
    let dir = &config.state_dir;
    let Some(before) = Before::read(dir)? else {
        bail!("nothing was taken over from DenyHosts: {} is not there", kept::directory(dir).display());
    };
    let mut screen = Screen::new();
    // Held to the end: no daemon begins meanwhile with what is half of one and half of the other.
    let store = match dir.join(store::FILE).exists() {
        true => Some(Store::open_intact(dir)?),
        false => None,
    };
    let taken = match &store {
        Some(store) => store.database.note(TAKEN)?.is_some(),
        None => false,
    };
    // What denied before us first, so that nobody gets in between.
    if let Some((program, old)) = before.rules() {
        rules::give_back(program, old)?;
    }
    let (now, ours) = (clock::now(), &config.deny.hosts_deny);
    let still = |place: &str, done: Result<(), String>| {
        done.map_err(anyhow::Error::msg).with_context(|| format!("{place} still has denies of denyd"))
    };
    if let Some(store) = store.as_ref().filter(|_| taken) {
        let place = ours.path.display().to_string();
        still(&place, desk::leave_entries(store, ours, before.entries(), now))?;
    }
    for told in before.put_back(dir)? {
        writeln!(screen, "{told}")?;
    }
    let aside = match store.filter(|_| taken) {
        Some(store) => {
            let spared = if before.has(&ours.path) { hosts_deny::place_of(&ours.path) } else { String::new() };
            for (place, done) in desk::take_away_but(&store, &spared, now).map_err(anyhow::Error::msg)? {
                still(&place, done)?;
            }
            store::undo(before.database(dir).as_deref(), store)?
        }
        None => None,
    };
    store::give_to_owner(dir)?;
    Before::forget(dir)?;
    let (at, source) = (when(before.at.0), plain(&before.source.display().to_string()));
    writeln!(screen, "All is as it was at {at}, before {source} was taken over. DenyHosts may be started again.")?;
    if let Some(aside) = aside {
        writeln!(screen, "What denyd knew until now is in {}.", aside.display())?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}
