//! Reads back, for a person, whether what is denied is refused now.

use super::{Family, Iptables, sets};
use crate::decide::prefix::Prefix;
use crate::deny::effect::Action;
use crate::deny::{DenyError, program};

impl Iptables {
    /// How a packet is refused whose address is denied: each step of its way is read from the kernel. The error names the step
    /// that it does not take.
    pub fn prove(&self, denied: Option<&Prefix>) -> Result<String, DenyError> {
        let fault = |cause: String| self.failed(format!("refuse anybody by chain {}", self.chain), cause);
        let word = match self.effect.action {
            Action::Drop => "DROP",
            Action::Reject => "REJECT",
        };
        let names = self.sets_there()?;
        let mut packets = 0;
        for family in Family::here() {
            let listed = self.listing(*family, self.place())?;
            let set = sets::denied(&self.chain, *family);
            let set = names.contains(&set).then_some(&*set);
            let lets_in = || listed.lets_in(&self.chain, set, word);
            if let Some(cause) = listed.fault(listed.rules.len()).or_else(lets_in) {
                return Err(fault(format!("{}: {cause}", family.program())));
            }
            packets += listed.refused.packets;
        }
        let mut of_set = String::new();
        if let Some(prefix) = denied {
            let family = if prefix.is_ipv4() { Family::V4 } else { Family::V6 };
            let set = sets::denied(&self.chain, family);
            let (holds, what) = match names.contains(&set) {
                true => (program::ask("ipset", &["test", &set, &prefix.to_string()], "").is_ok(), format!("set {set}")),
                // One in which somebody is allowed is in pieces.
                false => (
                    self.listing(family, self.place())?
                        .denied()
                        .any(|one| one.contains(prefix) || prefix.contains(&one)),
                    format!("chain {}", self.chain),
                ),
            };
            if !holds {
                return Err(fault(format!("{what} does not hold {prefix}, which is denied")));
            }
            of_set = format!(", where {what} holds {prefix}");
        }
        let counted = if packets == 1 { "1 packet".to_owned() } else { format!("{packets} packets") };
        Ok(format!(
            "what is denied comes to chain {} of table {} before all others{of_set}, and is refused there: {counted} since the chain \
             was written",
            self.chain,
            self.place().table
        ))
    }
}
