//! What `denyhosts` does to lines of HOSTS_DENY that DenyHosts wrote, or others: `--upgrade099`, `--migrate`, and the entries
//! beside our own that purges end.

use std::collections::HashSet;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::{bail, ensure};
use jiff::tz::TimeZone;

use super::options::Options;
use crate::cli::office::Office;
use crate::cli::person;
use crate::clock;
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::deny::hosts_deny::edit::{Change, Edit, Edited, carry_out, plan};
use crate::desk::reply::Host;
use crate::desk::{Filter, ROWS_MAX, Request, What};

/// Lines that are shown before a person is asked; of more the number is told.
const SHOWN_MAX: usize = 40;

/// What comes before the log is read: `--upgrade099` and `--migrate`, in this order.
pub(super) fn before(options: &Options, config: &Config) -> anyhow::Result<()> {
    if options.upgrade099 {
        age(config, "--upgrade099")?;
        edit(config, Edit::Upgrade099, options, Ask::Nobody)?;
    }
    if options.migrate {
        age(config, "--migrate")?;
        edit(config, Edit::Migrate(clock::now()), options, Ask::Always)?;
    }
    Ok(())
}

/// What comes after: entries that no deny of ours is behind, under a `# DenyHosts:` comment, or of the addresses that were
/// named. Returns how many went.
pub(super) fn after(options: &Options, config: &Config, named: &[Prefix]) -> anyhow::Result<usize> {
    let mut gone = 0;
    if !named.is_empty() {
        gone += edit(config, Edit::Release(named), options, Ask::AtATerminal)?;
    }
    if !options.purge && !options.purge_all {
        return Ok(gone);
    }
    let before = match options.purge_all {
        true => None,
        false => Some(clock::now().before(age(config, "--purge")?)),
    };
    // What is denied for longer has its line for as long.
    let request = Request::List { what: What::Hosts, filter: Filter::default() };
    let denied: Vec<Host> = Office::new(config).ask(&request)?;
    ensure!(
        denied.len() < ROWS_MAX,
        "{ROWS_MAX} or more are denied, of whom not all can be told from others: no entry of others was taken out of {}",
        config.deny.hosts_deny.path.display()
    );
    let denied: HashSet<Prefix> = denied.into_iter().map(|host| host.prefix).collect();
    let for_life = |prefix: &Prefix| denied.contains(prefix);
    Ok(gone + edit(config, Edit::Purge { before, for_life: &for_life }, options, Ask::Nobody)?)
}

/// How old a deny is that is purged.
pub(super) fn age(config: &Config, option: &str) -> anyhow::Result<Duration> {
    match config.compat.purge_after.or(config.decide.policy.deny_for) {
        Some(age) => Ok(age),
        None => bail!("{option} needs a PURGE_DENY in the configuration: how old a deny is that ends"),
    }
}

/// Whom to ask before an edit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Nobody,
    /// Whoever sits at a terminal.
    AtATerminal,
    /// A person, who must be there.
    Always,
}

/// Edits HOSTS_DENY; returns how many entries went.
fn edit(config: &Config, edit: Edit<'_>, options: &Options, ask: Ask) -> anyhow::Result<usize> {
    let (path, zone) = (&config.deny.hosts_deny.path, TimeZone::system());
    if !path.exists() {
        return Ok(0);
    }
    let shown = plan(path, edit, &zone)?;
    let is_asked = match ask {
        _ if options.yes || shown.changes.is_empty() => false,
        Ask::Nobody => false,
        Ask::AtATerminal => std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        Ask::Always => true,
    };
    if is_asked || options.verbose {
        show(&shown)?;
    }
    if is_asked {
        ensure!(std::io::stdin().is_terminal(), "nobody is there who could agree to that: say --yes");
        ensure!(person::agrees(&format!("Change {} so?", path.display()))?, "nothing was changed");
    }
    let done = carry_out(path, edit, &zone, Some(&shown).filter(|_| is_asked))?;
    if let Some(backup) = done.backup.filter(|_| options.verbose || is_asked) {
        eprintln!("the old file is {}", backup.display());
    }
    Ok(done.released.len())
}

/// Shows what an edit changes, and what it leaves alone.
fn show(Edited { changes, left, .. }: &Edited) -> std::io::Result<()> {
    let mut err = std::io::stderr().lock();
    for change in changes.iter().take(SHOWN_MAX) {
        match change {
            Change::Gone(line, text) => writeln!(err, "{line:>6} - {text}")?,
            Change::New(line, text) => writeln!(err, "{line:>6} + {text}")?,
        }
    }
    for one in left.iter().take(SHOWN_MAX) {
        writeln!(err, "{:>6}   {}   stays: {}", one.line, one.text, one.why)?;
    }
    let more = changes.len().saturating_sub(SHOWN_MAX) + left.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        writeln!(err, "and {more} more lines")?;
    }
    Ok(())
}
