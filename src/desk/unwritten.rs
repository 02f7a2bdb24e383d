//! What waits while the database cannot be written: of each thing its last value, every decision, and a few messages.

use std::collections::HashSet;

use crate::decide::live::LiveKey;
use crate::decide::nets::World;
use crate::decide::prefix::Prefix;
use crate::decide::session::{HostId, KeptKey};
use crate::decide::state::Change;
use crate::store::Commit;

/// Messages that are kept as evidence until the database can be written.
const EVIDENCE_MAX: usize = 10_000;

/// What a change is the value of.
#[derive(PartialEq, Eq, Hash)]
enum Of {
    Counts(Prefix),
    Share(Prefix, Option<HostId>),
    Releases(Prefix),
    User(usize),
    Connection(KeptKey),
    Net(Prefix, World),
    Stranger(Prefix),
    Target(u16),
    Familiar(Prefix),
    Live(LiveKey),
    Forgave(Prefix),
    LoggedIn(Prefix, Box<[u8]>),
    Cleared(Prefix),
    Namesakes,
}

/// What `change` is the value of; `None` of what happened once, such as a deny.
fn of(change: &Change) -> Option<Of> {
    match change {
        Change::Counted { prefix, .. } => Some(Of::Counts(*prefix)),
        Change::Shared { prefix, host, .. } => Some(Of::Share(*prefix, *host)),
        Change::Remembered { prefix, .. } => Some(Of::Releases(*prefix)),
        Change::Tried { user, .. } => Some(Of::User(*user)),
        Change::Connection(key, _) => Some(Of::Connection(*key)),
        Change::Net(net, world, _) => Some(Of::Net(*net, *world)),
        Change::Stranger(prefix, _) => Some(Of::Stranger(*prefix)),
        Change::Target(place, _) => Some(Of::Target(*place)),
        Change::Familiar { prefix, .. } => Some(Of::Familiar(*prefix)),
        Change::Live { key, .. } => Some(Of::Live(*key)),
        Change::Forgave { prefix, .. } => Some(Of::Forgave(*prefix)),
        Change::LoggedIn { prefix, user, .. } => Some(Of::LoggedIn(*prefix, user.clone())),
        Change::Cleared { prefix } => Some(Of::Cleared(*prefix)),
        Change::Namesakes(_) => Some(Of::Namesakes),
        _ => None,
    }
}

/// Leaves of each value the last; the order stays. Returns how many messages were forgotten, the oldest.
pub(super) fn squeeze(pending: &mut Commit) -> u64 {
    let mut later = HashSet::new();
    let mut is_last: Vec<bool> =
        pending.changes.iter().rev().map(|change| of(change).is_none_or(|of| later.insert(of))).collect();
    pending.changes.retain(|_| is_last.pop().unwrap_or(true));
    let forgotten = pending.evidence.len().saturating_sub(EVIDENCE_MAX);
    pending.evidence.drain(..forgotten);
    forgotten as u64
}

#[cfg(test)]
mod tests {
    use inputs::record::Timestamp;

    use super::*;
    use crate::decide::claim::{Claim, Claimant, Reason};
    use crate::decide::state::{State, Why};
    use crate::decide::tally::Tally;
    use crate::store::Evidence;

    #[test]
    fn the_last_of_each_and_every_decision() {
        let [one, two] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().expect("a prefix"));
        let counted = |prefix, n| {
            let tally = Tally { counts: [n, 0, 0, 0, 0], ..Tally::default() };
            Change::Counted { prefix, tally: Some(tally) }
        };
        let claim = || Claim { since: Timestamp(7), until: None, reason: Reason::Adopted, enforceable: true };
        let denied = || Change::Denied { prefix: one, by: Claimant::Policy, claim: claim() };
        let released = |times| {
            let (by, at, why) = (Claimant::Policy, Timestamp(8), Why::Forgiven);
            Change::Released { prefix: one, by, at, why, forgeable: false, times, who: None }
        };
        let shared = |host, n| Change::Shared { prefix: one, host, counts: [n, 0, 0, 0, 0] };
        let [host, all] = [Some(HostId(1)), None];
        let changes = [
            counted(one, 1),
            shared(host, 1),
            counted(two, 1),
            denied(),
            counted(one, 2),
            released(1),
            shared(all, 0),
            denied(),
            shared(host, 2),
            counted(one, 3),
        ];
        let want = [counted(two, 1), denied(), released(1), shared(all, 0), denied(), shared(host, 2), counted(one, 3)];
        let evidence = |n: usize| Evidence {
            prefix: one,
            at: Timestamp(7),
            host: HostId(0),
            source: n.to_string(),
            message: Vec::new(),
            user: Vec::new(),
            times: 1,
            sound: 1,
        };
        let evidence = (0..EVIDENCE_MAX + 3).map(evidence).collect();
        let mut pending = Commit { changes: changes.to_vec(), evidence, ..Commit::default() };
        assert_eq!(squeeze(&mut pending), 3);
        assert_eq!(pending.changes, want);
        assert_eq!((pending.evidence.len(), &*pending.evidence[0].source), (EVIDENCE_MAX, "3"));
        let after = |changes: &[Change]| {
            let mut state = State::default();
            changes.iter().for_each(|change| state.apply(change));
            (state.tallies.get(&one).copied(), state.shares, state.denies.len(), state.released)
        };
        assert_eq!(after(&changes), after(&want));
    }
}
