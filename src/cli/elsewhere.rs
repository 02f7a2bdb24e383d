//! What refuses an address and is not ours, for `why`, `allow` and `forgive`.

use std::io::Write as _;
use std::time::Duration;

use super::output::Screen;
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::deny::elsewhere::{self, Refusal};
use crate::desk::reply;

/// Released addresses that are looked for.
const LOOKED_MAX: usize = 20;
/// How often, and for how long together, it is looked whether a line that may be ours is gone: the daemon removes it in a
/// thread of its own.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// What still refuses an address that was let in.
pub(super) struct Still {
    prefix: Prefix,
    refusals: Vec<Refusal>,
}

/// What refuses it now, for a reply.
pub(super) fn of(config: &Config, prefix: &Prefix) -> Vec<reply::Elsewhere> {
    let found = elsewhere::Elsewhere::read(&config.deny).of(prefix).into_iter();
    found.map(|one| reply::Elsewhere { place: one.place, text: one.text, only: one.only.to_owned() }).collect()
}

/// What still refuses those that were just let in, and another one if there was nothing to release of it. What firewalls have is
/// read `once`, for all that a verb asks about.
pub(super) fn after(
    once: &mut Option<elsewhere::Elsewhere>,
    config: &Config,
    released: &[Prefix],
    other: Option<Prefix>,
) -> Vec<Still> {
    let mut of = |prefix: &Prefix| {
        let elsewhere = once.get_or_insert_with(|| elsewhere::Elsewhere::read(&config.deny));
        elsewhere.look_again();
        let mut refusals = elsewhere.of(prefix);
        for _ in 0..LOOKS {
            if !released.contains(prefix) || !refusals.iter().any(|one| one.is_in(&config.deny.hosts_deny.path)) {
                break;
            }
            std::thread::sleep(PAUSE);
            elsewhere.look_again();
            refusals = elsewhere.of(prefix);
        }
        Still { prefix: *prefix, refusals }
    };
    let other = other.filter(|prefix| !released.contains(prefix));
    released.iter().take(LOOKED_MAX).chain(&other).map(&mut of).collect()
}

impl Still {
    /// Whether something refuses it for certain.
    pub(super) fn is_refused(still: &[Still], prefix: &Prefix) -> bool {
        still.iter().any(|one| one.prefix == *prefix && one.refusals.iter().any(Refusal::is_certain))
    }

    /// Whether anything refuses one of them.
    pub(super) fn any(still: &[Still]) -> bool {
        still.iter().any(|one| !one.refusals.is_empty())
    }

    /// Says what refuses it; removes what names it alone, where that is wanted.
    pub(super) fn tell(still: &[Still], removes: bool, screen: &mut Screen) -> std::io::Result<()> {
        for Still { prefix, refusals } in still {
            for one in refusals {
                let verb = if one.is_certain() { "is still" } else { "may still be" };
                writeln!(screen, "{prefix} {verb} refused by {one}")?;
                if !removes {
                    continue;
                }
                match one.remove(prefix) {
                    Ok(None) => writeln!(screen, "  removed")?,
                    Ok(Some(backup)) => writeln!(screen, "  removed; the file as it was: {}", backup.display())?,
                    Err(problem) => writeln!(screen, "  not removed: {problem}")?,
                }
            }
            if !removes && refusals.iter().any(Refusal::is_certain) {
                writeln!(screen, "  that is not denyd's; to remove what names {prefix} alone: --all-of-it")?;
            }
        }
        Ok(())
    }
}
