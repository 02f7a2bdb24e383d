//! What people order: to deny, to forgive, to allow.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use inputs::record::Timestamp;

use super::super::reply::{Allowed, At, Denied, Forgiven, Removed, Reply};
use super::super::{BECAUSE_MAX, Desk, ROWS_MAX, WIDEST};
use crate::decide::allow;
use crate::decide::claim::{Claim, Claimant, Reason, latest};
use crate::decide::engine::{Command, Input};
use crate::decide::forgives::FORGIVES_MAX;
use crate::decide::machine::Machine;
use crate::decide::prefix::Prefix;
use crate::decide::range::Range;
use crate::decide::state::Who;
use crate::detect::{dropbear, sshd};
use crate::store::Wanted;
use crate::text::printable;

/// A deny that a person orders.
pub(super) struct Deny {
    /// Of which prefix.
    pub(super) prefix: Prefix,
    /// For how long; `None` = for ever.
    pub(super) seconds: Option<u64>,
    /// Whatever speaks against it.
    pub(super) force: bool,
    /// Where that person is logged in from.
    pub(super) caller: Option<IpAddr>,
}

impl Desk {
    pub(super) fn deny(&mut self, order: &Deny, because: Option<&str>, now: Timestamp) -> Result<Reply, String> {
        let Deny { prefix, seconds, force, caller } = *order;
        let until = seconds.map(|seconds| now.after(Duration::from_secs(seconds)));
        let because = because.map(str::trim).filter(|because| !because.is_empty());
        if let Some(length) = because.map(str::len).filter(|length| *length > BECAUSE_MAX) {
            return Err(format!("{prefix}: the reason has {length} bytes; it may have {BECAUSE_MAX}"));
        }
        if !force && let Some(widest) = Range::from(prefix).wider_than(WIDEST) {
            return Err(format!("{prefix} is wider than /{widest}; if you mean it, say --force"));
        }
        if let Some(caller) = caller
            && !force
            && prefix.contains(&Prefix::host(caller))
        {
            return Err(format!("{prefix} holds {caller}, from where you are logged in; if you mean it, say --force"));
        }
        let Machine { own, gateways, .. } = &self.engine.policy.machine;
        for (what, all) in [("this machine's own address", own), ("this machine's default gateway", gateways)] {
            if all.iter().any(|one| one.contains(&prefix)) {
                return Err(format!("{prefix} is {what}, which is never denied"));
            }
        }
        if self.engine.policy.allow.covers(&prefix) {
            return Err(format!("{prefix} is on the allow list; take it off first: denyd allow --remove"));
        }
        let known = self.engine.state.denies.get(&prefix).and_then(|deny| deny.claim(Claimant::Operator));
        if let Some(known) = known.filter(|known| known.is_due(now) && latest(known.until, until) != until)
            && !force
        {
            let end = known.until.map_or("for ever".to_owned(), |end| format!("until {end}"));
            return Err(format!("{prefix} is denied {end} already, which is longer; to shorten that, say --force"));
        }
        let reason = Reason::Operator { because: because.map(Box::from) };
        let claim = Claim { since: now, until, reason, enforceable: true };
        self.engine.step(now, Input::Claim { prefix, by: Claimant::Operator, claim });
        let until = self.engine.state.denies.get(&prefix).map_or(until, |deny| deny.until());
        Ok(Reply::Denied(Denied { prefix, until: until.map(At), note: self.drops_nothing(prefix) }))
    }

    /// Why a deny of a prefix drops nothing, or not everywhere.
    fn drops_nothing(&self, prefix: Prefix) -> Option<String> {
        if prefix.address().is_loopback() && prefix.last().is_loopback() {
            return Some(format!(
                "{prefix} is this machine itself: nftables and iptables let loopback pass, so only hosts.deny denies it"
            ));
        }
        let special = |address: IpAddr| self.engine.policy.special(address.into());
        let (first, last) = (special(prefix.address())?, special(prefix.last())?);
        (first.is_never_denied && first.name == last.name)
            .then(|| format!("nobody connects from {prefix} ({}), so it drops nothing", first.name))
    }

    pub(super) fn forgive(&mut self, prefixes: Vec<Prefix>, who: Option<&str>, now: Timestamp) -> Forgiven {
        self.forgiven(now, Command::Forgive(prefixes, person(who)))
    }

    /// Does what a person asks for who lets somebody in again, and says what that was.
    pub(super) fn forgiven(&mut self, now: Timestamp, command: Command) -> Forgiven {
        let counted = self.engine.state.tallies.len();
        let mut released = self.released(now, command);
        released.sort();
        released.dedup();
        Forgiven { released, counts_cleared: counted - self.engine.state.tallies.len(), left: Vec::new() }
    }

    /// Who tried other names beside this one is no user who mistyped, so that stays denied.
    pub(super) fn forgive_user(&mut self, user: &str, who: Option<&str>, now: Timestamp) -> Result<Reply, String> {
        let is_it = |message: &[u8]| {
            let event = sshd::parse(message, false).or_else(|| dropbear::parse(message, false));
            let tried = event.and_then(|event| event.user)?;
            Some(tried == user.as_bytes() || printable(tried) == user)
        };
        let wanted = Wanted { within: None, user: Some(user.as_bytes().to_vec()) };
        let lately = self.store.database.pairs(&wanted, now, ROWS_MAX).map_err(|error| error.to_string())?;
        let tried = self.store.evidence_that(is_it).map_err(|error| error.to_string())?;
        let tried = tried.into_iter().filter(|(_, tried)| tried.contains(&true));
        let (others, alone): (Vec<_>, Vec<_>) = tried.partition(|(_, tried)| tried.contains(&false));
        let [others, alone] = [others, alone].map(|all| all.into_iter().map(|(prefix, _)| prefix).collect::<Vec<_>>());
        if alone.len() > FORGIVES_MAX {
            return Err(format!(
                "{} addresses tried {} and nobody else, which is no user who mistyped; at most {FORGIVES_MAX} are forgiven \
                 at once. Name them: denyd forgive ADDRESS",
                alone.len(),
                printable(user.as_bytes())
            ));
        }
        let mut all = self.forgive(alone, who, now);
        // The last first, as `list --user` has them: that is who asks, most often.
        let places: HashMap<Prefix, usize> =
            lately.iter().enumerate().map(|(place, one)| (one.prefix, place)).collect();
        all.released.sort_by_key(|prefix| places.get(prefix).copied().unwrap_or(usize::MAX));
        let denies = &self.engine.state.denies;
        all.left = others.into_iter().filter(|prefix| denies.contains_key(prefix)).collect();
        Ok(Reply::Forgiven(all))
    }

    pub(super) fn allow(
        &mut self,
        entry: &str,
        force: bool,
        who: Option<&str>,
        now: Timestamp,
    ) -> Result<Reply, String> {
        let mut list = self.engine.policy.allow.clone();
        let known = !list.add(entry).map_err(|error| error.to_string())?;
        let (allowed, configured) = (entry.to_owned(), self.is_configured(entry));
        if self.added.iter().any(|added| same_entry(added, entry)) {
            return Ok(Reply::Allowed(Allowed { allowed, released: Vec::new(), known, configured }));
        }
        if !known
            && !force
            && let Some(widest) = widest(entry)
        {
            let entry = printable(entry.as_bytes());
            return Err(format!("{entry} is wider than /{widest}; if you mean it, say --force"));
        }
        // Also where the configuration has it, which may drop it one day.
        self.pending.allowed.insert(entry.to_owned(), true);
        self.added.insert(entry.to_owned());
        self.rebuild_allow_list(now);
        self.allow_changed = true;
        let released = self.released(now, Command::Allowed(person(who)));
        Ok(Reply::Allowed(Allowed { allowed, released, known, configured }))
    }

    /// Whether the configuration allows just that.
    fn is_configured(&self, entry: &str) -> bool {
        self.configured.entries().any(|known| same_entry(known, entry))
    }

    pub(super) fn disallow(&mut self, entry: &str, now: Timestamp) -> Result<Reply, String> {
        let known: Vec<_> = self.added.iter().filter(|known| same_entry(known, entry)).cloned().collect();
        if known.is_empty() {
            let why = if self.is_configured(entry) {
                "it is in the configuration; take it out there"
            } else {
                "it is not on the allow list"
            };
            return Err(format!("{}: {why}", printable(entry.as_bytes())));
        }
        for known in known {
            self.added.remove(&known);
            self.pending.allowed.insert(known, false);
        }
        self.rebuild_allow_list(now);
        self.allow_changed = true;
        Ok(Reply::Removed(Removed { removed: entry.to_owned(), configured: self.is_configured(entry) }))
    }
}

/// Bytes of a person's name that are kept.
const PERSON_MAX: usize = 64;

/// A person who asks for something, as the command line says.
fn person(who: Option<&str>) -> Who {
    let name: String = printable(who.unwrap_or("root").as_bytes()).chars().take(PERSON_MAX).collect();
    Some(name.into())
}

/// The length above which an entry of an allow list is dangerously wide, if it is.
fn widest(entry: &str) -> Option<u8> {
    allow::means(entry)?.ranges().iter().find_map(|range| range.wider_than(WIDEST))
}

/// Whether two entries of an allow list mean the same.
fn same_entry(a: &str, b: &str) -> bool {
    a == b || allow::means(a).is_some_and(|a| Some(a) == allow::means(b))
}
