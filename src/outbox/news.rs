//! What a decision is to those who are told one by one: that a prefix is denied that was not, or is so no longer, or that
//! somebody is to be watched. A deny that came to last otherwise is no news.
//!
//! Whose denies are told says which are begun. One ends when nobody denies the prefix any more: a program that opens a border
//! router must not do so for whom a person wants out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::plugin::Of;
use crate::decide::claim::Claimant;
use crate::decide::prefix::Prefix;
use crate::desk::reply::{At, Decided, Decision};

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct News {
    /// The decision's number.
    pub(super) id: i64,
    /// When it was made, by its record's time.
    pub(super) at: At,
    pub(super) what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A prefix is denied, which it was not.
    Denied(Prefix),
    /// It is so no longer.
    Ended(Prefix),
    /// Somebody logged in from where too many failed.
    Suspicious(IpAddr, String),
}

/// What claimants decided of a prefix, the oldest first, as far as is kept: whether it denies, and that was enforced.
pub(super) type Claims = Vec<(Claimant, bool)>;

/// The prefix of which it must be known what was decided before.
pub(super) fn about(decided: &Decided, of: Of) -> Option<Prefix> {
    match &decided.what {
        Decision::Denied { by, enforced: true, .. } if counts(*by, of) => decided.prefix,
        Decision::Released { .. } => decided.prefix,
        _ => None,
    }
}

/// The news of a decision, if it is any, by what was decided before of its prefix.
pub(super) fn of(decided: Decided, before: &Claims, of: Of) -> Option<News> {
    let Decided { id, at, prefix, what } = decided;
    let (mut standing, mut is_told) = (BTreeSet::new(), false);
    for (by, is_enforced) in before {
        match is_enforced {
            true => _ = standing.insert(*by),
            false => _ = standing.remove(by),
        }
        is_told = (*is_enforced && counts(*by, of)) || (is_told && !standing.is_empty());
    }
    let what = match what {
        Decision::Denied { by, enforced: true, .. } if counts(by, of) && !is_told => What::Denied(prefix?),
        Decision::Released { by, .. } => {
            standing.remove(&by);
            // What the history has forgotten was told.
            let is_forgotten = counts(by, of) && before.iter().all(|(one, _)| *one != by);
            if !standing.is_empty() || !(is_told || is_forgotten) {
                return None;
            }
            What::Ended(prefix?)
        }
        Decision::Suspicious { address, user, .. } => What::Suspicious(address, user),
        _ => return None,
    };
    Some(News { id, at, what })
}

fn counts(by: Claimant, of: Of) -> bool {
    of == Of::All || by == Claimant::Policy
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::state::Why;

    const POLICY: Claimant = Claimant::Policy;
    const PERSON: Claimant = Claimant::Operator;

    fn decided(what: Decision) -> Decided {
        Decided { id: 1, at: At::default(), prefix: Some("192.0.2.7".parse().unwrap()), what }
    }

    fn denied(by: Claimant, enforced: bool) -> Decided {
        decided(Decision::Denied { by, class: None, count: 2, until: None, enforced, because: None })
    }

    fn released(by: Claimant) -> Decided {
        decided(Decision::Released { by, why: Why::Expired, who: None })
    }

    #[test]
    fn a_deny_and_its_end_are_told_once_each() {
        let check = |one: Decided, before: &[(Claimant, bool)], log: &str, all: &str| {
            for (whose, want) in [(Of::Log, log), (Of::All, all)] {
                let found = match of(one.clone(), &before.to_vec(), whose).map(|news| news.what) {
                    Some(What::Denied(_)) => "denied",
                    Some(What::Ended(_)) => "ended",
                    Some(What::Suspicious(..)) => "suspicious",
                    None => "-",
                };
                assert_eq!(found, want, "{one:?} after {before:?}, of {whose:?}");
                assert!(found == "-" || about(&one, whose).is_some());
            }
        };
        check(denied(POLICY, true), &[], "denied", "denied");
        check(denied(POLICY, false), &[], "-", "-");
        check(denied(PERSON, true), &[], "-", "denied");
        check(denied(POLICY, true), &[(POLICY, true)], "-", "-");
        check(denied(POLICY, true), &[(POLICY, false)], "denied", "denied");
        check(denied(POLICY, true), &[(PERSON, true)], "denied", "-");
        check(released(POLICY), &[(POLICY, true)], "ended", "ended");
        check(released(POLICY), &[(POLICY, false)], "-", "-");
        check(released(POLICY), &[], "ended", "ended");
        check(released(POLICY), &[(POLICY, true), (PERSON, true)], "-", "-");
        check(released(PERSON), &[(POLICY, true), (PERSON, true)], "-", "-");
        check(released(PERSON), &[(POLICY, false), (PERSON, true)], "-", "ended");
        check(released(PERSON), &[(POLICY, true), (PERSON, true), (POLICY, false)], "ended", "ended");
        check(denied(POLICY, true), &[(POLICY, true), (PERSON, true), (POLICY, false)], "-", "-");
        check(released(PERSON), &[(POLICY, true), (POLICY, false), (PERSON, true)], "-", "ended");
        check(released(POLICY), &[(PERSON, true)], "-", "-");
    }
}
