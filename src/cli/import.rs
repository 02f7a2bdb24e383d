//! `denyd import`: what DenyHosts' configuration means here, and what DenyHosts knew and did, which is taken over.
//!
//! Without an option nothing is changed: the configuration is on standard output, and on standard error what there is to take
//! over. `--yes` takes it over, with denyd and DenyHosts stopped: all counts and denies in one transaction; then who is denied is
//! denied by denyd; only then, and if that refuses, the rules and entries of DenyHosts go. `--undo` gives all of it back, in the
//! other order: what DenyHosts had denies again before denyd's own goes. What either did is told on standard output, since it was
//! asked for.

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
use crate::deny::DenySet;
use crate::deny::choose;
use crate::deny::hosts_deny;
use crate::deny::iptables::old as rules;
use crate::deny::ledger::{self, Lines};
use crate::deny::nft::Lengths;
use crate::desk::control::Client;
use crate::desk::{self, Desk};
use crate::store::{self, Store};
use crate::text::{At, plain};
use crate::whose;
use found::Found;
use kept::{Before, Came};
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
        true => take(&file, config, &arguments.root),
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
    Ok(ours_is(config, file).map_or_else(|| Ok(Config::default()), Config::read)?)
}

/// The file in which that stands.
fn ours_is<'a>(config: Option<&'a Path>, file: Option<&'a Path>) -> Option<&'a Path> {
    let usual = || Some(Path::new(config::FILE)).filter(|usual| usual.exists());
    config.or_else(usual).or(file)
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
    let plan = plan::plan(&found, &daemon::policy(&ours), &ours, clock::now(), &TimeZone::system());
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

fn take(file: &Path, named: Option<&Path>, root: &Path) -> anyhow::Result<ExitCode> {
    let config = &ours(named, Some(file))?;
    stopped(config)?;
    let found = found::find(file, config)?;
    if let Some(predecessor) = predecessor(found.old.lock_file.as_deref()) {
        bail!("{predecessor}. Nothing was changed");
    }
    let (now, zone) = (clock::now(), TimeZone::system());
    let plan = plan::plan(&found, &daemon::policy(config), config, now, &zone);
    let mut screen = Screen::new();
    let dir = &config.state_dir;
    let before = Before::read(dir)?;
    let noted = taken_at(config)?;
    let (mut before, is_new) = match before {
        Some(before) if noted == Some(before.at.0) => {
            let (at, source) = (when(before.at.0), plain(&before.source.display().to_string()));
            writeln!(
                screen,
                "What {source} knew was taken over at {at} already; `denyd import --undo` gives it back."
            )?;
            (before, false)
        }
        Some(before) if before.came() > Came::Copied => bail!(
            "what {} knew was taken over at {}, and the database knows nothing of it: it was lost, removed or is an older copy. \
             What was before is still kept: denyd import --undo gives it back, and then it may be taken over anew. Nothing was changed",
            plain(&before.source.display().to_string()),
            when(before.at.0)
        ),
        // The last one was broken off before anything was changed.
        _ => (make_room(config).and_then(|()| Before::keep(dir, &found, &plan, At(now)))?, true),
    };
    if is_new {
        writeln!(screen, "Taken over from DenyHosts, by {}:\n", plain(&file.display().to_string()))?;
        tell(&mut screen, &plan)?;
    }
    let store = Store::open(dir)?;
    let mut desk = Desk::open(store, daemon::policy(config), now)?;
    if is_new {
        let Plan { mut taken, entries, .. } = plan;
        taken.notes.extend(ledger_of(&desk, &found, &entries)?);
        taken.notes.insert(TAKEN.to_owned(), now.0.to_string());
        let _ = desk.take_past(taken, now);
    }
    let _ = desk.tick(now);
    desk.commit(now).written.context("nothing was taken over")?;
    if before.came() == Came::Copied {
        before.note(Came::Taken, dir)?;
    }
    let Enforced { many, stays } = enforce(&desk, config, &before, now).context(
        "it is taken over, but could not be enforced yet: so the entries and rules of DenyHosts are still there. Mend that, \
         and say the same again",
    )?;
    drop(desk);
    match stays {
        None => before.note(Came::Done, dir)?,
        Some(why) => writeln!(
            screen,
            "\nThe entries and rules of DenyHosts stay, since denyd would refuse nobody in their place: {why}\n\
             Mend that, and say the same again: denyd import --yes"
        )?,
    }
    let are = if many == 1 { "is" } else { "are" };
    let many = count(many as u64, "address", "addresses");
    writeln!(screen, "\n{many} {are} denied by denyd. Start it: {}", start(named, file))?;
    tell_rest(&mut screen, &found, config, root)?;
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// How denyd is started by the configuration that knows of the import: that which was `named`, or the usual one, else DenyHosts'
/// own `file`.
fn start(named: Option<&Path>, file: &Path) -> String {
    let usual = config::FILE;
    let by = ours_is(named, Some(file)).unwrap_or(file);
    if by == Path::new(usual) {
        return "systemctl enable --now denyd (or: denyd run)".to_owned();
    }
    let by = plain(&by.display().to_string());
    let run = format!("denyd --config {by} run, which goes by the same configuration");
    match Path::new(usual).exists() || named.is_some_and(|named| !is_denyhosts(named)) {
        true => format!("{run}. The unit reads {usual}"),
        false => format!(
            "{run}. To use the unit instead, which reads {usual}:\n  denyd import {} > {usual}\n  systemctl enable --now denyd",
            plain(&file.display().to_string())
        ),
    }
}

/// The note that says when DenyHosts was taken over.
const TAKEN: &str = "imported";

/// When it was written that DenyHosts was taken over.
fn taken_at(config: &Config) -> anyhow::Result<Option<Timestamp>> {
    if !config.state_dir.join(store::FILE).exists() {
        return Ok(None);
    }
    let note = Store::open_intact(&config.state_dir)?.database.note(TAKEN)?;
    Ok(note.and_then(|note| note.parse().ok()).map(Timestamp))
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
    let name = ledger::note(&hosts_deny::place(&found.old.hosts_deny));
    let known = desk.note(&name)?;
    let mut lines: Lines = known.map_or_else(|| Ok(Lines::new()), |known| serde_json::from_str(&known))?;
    lines.extend(entries.iter().map(|one| (one.entry.clone(), one.prefix)));
    Ok(BTreeMap::from([(name, serde_json::to_string(&lines)?)]))
}

/// What came of enforcing.
struct Enforced {
    /// How many are denied.
    many: usize,
    /// Why what denied before was not taken away.
    stays: Option<String>,
}

/// Denies by our own means; once that is done, and seen to refuse, takes away what denied before us. Rules of a person that look
/// like these and came since are nobody's to take.
fn enforce(desk: &Desk, config: &Config, before: &Before, now: Timestamp) -> anyhow::Result<Enforced> {
    let mut back_ends = desk.back_ends(config)?;
    let want = desk.wanted(now);
    for back_end in &mut back_ends {
        back_end.replace(&want, now)?;
    }
    let many = want.denied.len();
    let left = desk.left(config, &back_ends).map_err(anyhow::Error::msg)?;
    let rules = before.rules().filter(|_| before.came() < Came::Done);
    if let Some(why) = unproven(config, &want, now).filter(|_| !left.is_empty() || rules.is_some()) {
        return Ok(Enforced { many, stays: Some(why) });
    }
    for mut place in left {
        place.leave(now).map_err(anyhow::Error::msg)?;
    }
    if let Some((program, old)) = rules {
        rules::take(program, old)?;
    }
    Ok(Enforced { many, stays: None })
}

/// Why nothing shows that who is denied is refused, if that is so.
fn unproven(config: &Config, want: &DenySet, now: Timestamp) -> Option<String> {
    let policy = &config.decide.policy;
    let lengths = Lengths { v4: policy.ipv4_bits, v6: policy.ipv6_bits };
    let proofs = choose::prove(&config.deny, lengths, None, want.denied.keys().next(), now);
    let is_proof = |name: &str| name != hosts_deny::NAME || choose::sshd_reads_hosts_deny();
    if proofs.iter().any(|(name, proof)| proof.is_ok() && is_proof(name)) {
        return None;
    }
    let failed = proofs.into_iter().map(|(name, proof)| match proof {
        Ok(_) => format!("{name}: sshd is not linked with libwrap, so it does not ask that"),
        Err(why) => format!("{name}: {why}"),
    });
    let failed: Vec<_> = failed.collect();
    Some(if failed.is_empty() { "no back end refuses anybody".to_owned() } else { failed.join("; ") })
}

/// Where the copy is by which an import is given back, if there is one.
pub(super) fn copy(config: &Config) -> Option<PathBuf> {
    Some(kept::directory(&config.state_dir)).filter(|dir| dir.exists())
}

fn undo(config: &Config) -> anyhow::Result<ExitCode> {
    stopped(config)?;
    let dir = &config.state_dir;
    let Some(before) = Before::read(dir)? else {
        bail!("nothing was taken over from DenyHosts: {} is not there", kept::directory(dir).display());
    };
    let mut screen = Screen::new();
    // Held to the end: no daemon begins meanwhile with what is half of one and half of the other. A database that was lost is
    // begun anew, to know what is ours.
    let is_known = taken_at(config)? == Some(before.at.0);
    let is_taken = is_known || before.came() > Came::Copied;
    let store = if is_taken { Some(Store::open(dir)?) } else { None };
    // What denied before us first, so that nobody gets in between.
    if let Some((program, old)) = before.rules() {
        rules::give_back(program, old)?;
    }
    let (now, ours) = (clock::now(), &config.deny.hosts_deny);
    let still = |place: &str, done: Result<(), String>| {
        done.map_err(anyhow::Error::msg).with_context(|| format!("{place} still has denies of denyd"))
    };
    if let Some(store) = store.as_ref() {
        let place = ours.path.display().to_string();
        still(&place, desk::leave_entries(store, ours, (before.entries(), is_known), now))?;
    }
    let (told, is_all) = before.put_back(dir)?;
    for told in told {
        writeln!(screen, "{told}")?;
    }
    let aside = match store {
        Some(store) => {
            let spared = if before.has(&ours.path) { hosts_deny::place(&ours.path) } else { String::new() };
            if !is_known {
                // The database does not know where denyd denied: the configuration still says where that may be.
                let mut back_ends = desk::back_ends(config, &store)?;
                for back_end in back_ends.iter_mut().filter(|one| one.name() != hosts_deny::NAME) {
                    back_end.replace(&DenySet::default(), now)?;
                }
            }
            for (place, done) in desk::take_away_but(config, &store, &spared, now).map_err(anyhow::Error::msg)? {
                still(&place, done)?;
            }
            store::undo(before.database(dir).as_deref(), store)?
        }
        None => None,
    };
    before.forget(dir, is_all)?;
    let (at, source) = (when(before.at.0), plain(&before.source.display().to_string()));
    let all = if is_all { "All" } else { "All else" };
    writeln!(screen, "{all} is as it was at {at}, before {source} was taken over. DenyHosts may be started again.")?;
    if let Some(aside) = aside {
        writeln!(screen, "What denyd knew until now is in {}.", aside.display())?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}
