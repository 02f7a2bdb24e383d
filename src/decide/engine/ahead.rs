//! What was decided by a clock that was ahead, and is right now.

use std::time::Duration;

use inputs::record::Timestamp;

use super::Engine;
use crate::decide::claim::Claim;
use crate::decide::state::Change;

impl Engine {
    /// Has what was decided at a time that has not come begin now.
    pub(super) fn set_back(&mut self, after: Timestamp) {
        let now = self.wall;
        let claims = self
            .state
            .denies
            .iter()
            .flat_map(|(prefix, deny)| deny.claims().map(move |(by, claim)| (*prefix, by, claim)));
        let ahead = claims.filter(|(.., claim)| claim.since > after);
        let ahead: Vec<_> = ahead.map(|(prefix, by, claim)| (prefix, by, claim.clone())).collect();
        for (prefix, by, claim) in ahead {
            let until = claim.until.map(|until| {
                let length = until.0.saturating_sub(claim.since.0);
                now.after(Duration::from_micros(length.max(0).unsigned_abs()))
            });
            self.change(Change::Denied { prefix, by, claim: Claim { since: now, until, ..claim } });
        }
        self.redate(|at| at > after, now);
    }

    /// Has what was forgiven at some times have been forgiven at another one.
    pub(super) fn redate(&mut self, is_it: impl Fn(Timestamp) -> bool, to: Timestamp) {
        for prefix in self.state.forgives.of_times(is_it) {
            self.change(Change::Forgave { prefix, at: Some(to) });
        }
    }
}
