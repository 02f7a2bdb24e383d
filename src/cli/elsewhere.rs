//! What refuses an address and is not ours, for `why`, `allow` and `forgive`.

use std::io::{self, Write as _};
use std::time::Duration;

use super::output::{Screen, count};
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::deny::elsewhere::{Elsewhere, Refusal};
use crate::deny::hosts_deny;
use crate::deny::ledger::Lines;
use crate::desk::reply;
use crate::store;

/// At most so many released addresses are looked at.
const LOOKED_MAX: usize = 200;
/// How often, and for how long together, it is looked whether lines of denyd's own are gone: the daemon removes them in a
/// thread of its own.
const LOOKS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
/// So often is looked again what else refuses one address, once something was removed.
const ROUNDS: usize = 50;

/// What still refuses those that were let in.
#[derive(Default)]
pub(super) struct Still {
    found: Vec<(Prefix, Vec<Refusal>)>,
    /// How many were not looked at.
    more: usize,
    /// What could not be looked at, and why.
    problems: Vec<String>,
}

/// What refuses it now, for a reply; and what could not be looked at.
pub(super) fn of(config: &Config, prefix: &Prefix) -> (Vec<reply::Elsewhere>, Vec<String>) {
    let read = read(config);
    let found = read.of(prefix).into_iter();
    let found = found.map(|one| reply::Elsewhere { place: one.place, text: one.text, only: one.only.to_owned() });
    (found.collect(), read.problems)
}

fn read(config: &Config) -> Elsewhere {
    Elsewhere::read(&config.deny, own(config))
}

/// The lines of hosts.deny that are denyd's own, as far as the database can be read.
fn own(config: &Config) -> Lines {
    let note = store::read_note(&config.state_dir, &hosts_deny::note(&config.deny.hosts_deny.path));
    note.and_then(|note| serde_json::from_str(&note).ok()).unwrap_or_default()
}

/// What still refuses those that were just let in, and another one if there was nothing to release of it. What firewalls have is
/// read `once`, for all that a verb asks about.
pub(super) fn after(
    once: &mut Option<Elsewhere>,
    config: &Config,
    released: &[Prefix],
    other: Option<Prefix>,
) -> Still {
    let other = other.filter(|prefix| !released.contains(prefix));
    let looked: Vec<Prefix> = released.iter().take(LOOKED_MAX).copied().chain(other).collect();
    if looked.is_empty() {
        return Still::default();
    }
    let read = once.get_or_insert_with(|| read(config));
    read.look_again(&config.deny, own(config));
    let all = |read: &Elsewhere| looked.iter().map(|prefix| (*prefix, read.of(prefix))).collect::<Vec<_>>();
    let mut found = all(read);
    for _ in 0..LOOKS {
        if !found.iter().flat_map(|(_, refusals)| refusals).any(Refusal::is_own) {
            break;
        }
        std::thread::sleep(PAUSE);
        read.look_again(&config.deny, own(config));
        found = all(read);
    }
    Still { found, more: released.len().saturating_sub(LOOKED_MAX), problems: read.problems.clone() }
}

impl Still {
    /// Whether nothing was seen to refuse it, where all was looked at.
    pub(super) fn is_let_in(&self, prefix: &Prefix) -> bool {
        let looked = self.found.iter().find(|(one, _)| one == prefix);
        self.problems.is_empty() && looked.is_some_and(|(_, found)| !found.iter().any(Refusal::is_certain))
    }

    /// Says what refuses them, and what was not looked at.
    pub(super) fn tell(&self, screen: &mut Screen) -> io::Result<()> {
        for (prefix, refusals) in &self.found {
            for one in refusals {
                told(screen, prefix, one)?;
            }
            if refusals.iter().any(|one| one.is_certain() && !one.is_own()) {
                writeln!(
                    screen,
                    "  denyd did not write that; denyd forgive {prefix} --all-of-it removes lines and rules that name {prefix} and \
                     nothing else"
                )?;
            }
        }
        self.tell_rest(screen)
    }

    fn tell_rest(&self, screen: &mut Screen) -> io::Result<()> {
        if self.more > 0 {
            let more = count(self.more as u64, "other was", "others were");
            writeln!(screen, "{more} not looked at: whether something else refuses one, denyd why ADDRESS says")?;
        }
        self.problems.iter().try_for_each(|problem| writeln!(screen, "{problem}"))
    }

    /// Says what refuses them, and removes what names one of them alone, until nothing more of it goes. Returns whether anything
    /// was removed, and whether something is left that refuses for certain.
    pub(super) fn remove(self, config: &Config, screen: &mut Screen) -> io::Result<(bool, bool)> {
        let (mut any, mut left) = (false, false);
        for (prefix, mut refusals) in self.found.iter().cloned() {
            let mut stays: Vec<String> = Vec::new();
            for _ in 0..ROUNDS {
                let mut removed = false;
                for one in refusals.iter().filter(|one| !stays.contains(&one.text)).collect::<Vec<_>>() {
                    told(screen, &prefix, one)?;
                    match one.remove(&prefix) {
                        Ok(None) => writeln!(screen, "  removed")?,
                        Ok(Some(backup)) => writeln!(screen, "  removed; the file as it was: {}", backup.display())?,
                        Err(problem) => {
                            writeln!(screen, "  not removed: {problem}")?;
                            stays.push(one.text.clone());
                            continue;
                        }
                    }
                    removed = true;
                    // What else there is has another number or handle now.
                    break;
                }
                if !removed {
                    break;
                }
                any = true;
                refusals = read(config).of(&prefix);
            }
            left |= refusals.iter().any(Refusal::is_certain);
        }
        self.tell_rest(screen)?;
        Ok((any, left || !self.problems.is_empty() || self.more > 0))
    }
}

fn told(screen: &mut Screen, prefix: &Prefix, one: &Refusal) -> io::Result<()> {
    let verb = if one.is_certain() { "is still" } else { "may still be" };
    writeln!(screen, "{prefix} {verb} refused by {one}")?;
    if one.is_own() {
        writeln!(
            screen,
            "  that is denyd's own line, which goes as soon as the file can be written; see denyd doctor"
        )?;
    }
    Ok(())
}
