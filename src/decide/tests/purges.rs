//! What `denyhosts --purge` ends.

use std::time::Duration;

use inputs::record::Timestamp;

use super::RECEIVED;
use crate::decide::claim::{Claim, Claimant, Reason};
use crate::decide::engine::{Command, Engine, Input};
use crate::decide::policy::Policy;
use crate::decide::prefix::Prefix;
use crate::decide::state::Change;

#[test]
fn a_purge_ends_what_is_old_and_not_for_life() {
    let day = Duration::from_secs(86_400);
    let [old, young] = [RECEIVED.before(day * 5), RECEIVED.before(day)];
    let end: Option<Timestamp> = Some(RECEIVED.after(day));
    let mut engine = Engine::new(Policy { permanent_after: Some(2), ..Policy::default() });
    let mut deny = |address: &str, since, until, by, reason: Reason| {
        let prefix: Prefix = address.parse().unwrap();
        let claim = Claim { since, until, reason, enforceable: true };
        engine.state.apply(&Change::Denied { prefix, by, claim });
    };
    deny("192.0.2.1", old, end, Claimant::Policy, Reason::Adopted);
    deny("192.0.2.2", young, end, Claimant::Policy, Reason::Adopted);
    // Of a run that ended: nobody was there to end it in time.
    deny("192.0.2.3", old, None, Claimant::Policy, Reason::Adopted);
    // A stamped entry of DenyHosts, and one without a stamp, which DenyHosts never purged.
    deny("192.0.2.4", old, end, Claimant::Policy, Reason::Imported);
    deny("192.0.2.5", old, None, Claimant::Policy, Reason::Imported);
    // A person's.
    deny("192.0.2.6", old, None, Claimant::Operator, Reason::Operator { because: None });
    // Released often enough.
    deny("192.0.2.7", old, None, Claimant::Policy, Reason::Adopted);
    engine.state.released.insert("192.0.2.7".parse().unwrap(), 2);
    engine.step(RECEIVED, Input::Command(Command::Purge(RECEIVED.before(day * 3))));
    let mut left: Vec<_> = engine.state.denies.keys().map(Prefix::to_string).collect();
    left.sort_unstable();
    assert_eq!(left, ["192.0.2.2", "192.0.2.5", "192.0.2.6", "192.0.2.7"]);
}
