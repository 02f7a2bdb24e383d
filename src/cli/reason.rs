//! Why somebody is denied, in words: as it was stored with the deny, never guessed.

use crate::decide::claim::Reason;
use crate::decide::prefix::Prefix;
use crate::text::plain;

/// The reason of a deny of `prefix`, for people.
pub(super) fn reason(reason: &Reason, prefix: &Prefix) -> String {
    match reason {
        Reason::Policy { class, count, threshold, parts, probation, .. } => {
            let from = match parts {
                0 => String::new(),
                parts => {
                    let those = if prefix.is_ipv4() { "addresses" } else { "/64s" };
                    format!(", from {parts} of its {those} or more, and no login from there in 30 days")
                }
            };
            let short = if *probation { "; for a short time, since somebody logged in from there lately" } else { "" };
            format!(
                "too many failures of class {} ({count}, where {threshold} are tolerated){from}{short}",
                class.name()
            )
        }
        Reason::Operator { because: None } => "an operator denied it".to_owned(),
        Reason::Operator { because: Some(because) } => format!("an operator denied it: {}", plain(because)),
        Reason::Adopted => "taken over from the firewall when the database was lost".to_owned(),
        Reason::Imported => "taken over from DenyHosts, which denied it".to_owned(),
        Reason::Sync => "a shared list has it".to_owned(),
        Reason::Peer(number) => format!("denyd number {number} denies it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::claim::Basis;
    use crate::decide::policy::Class;

    #[test]
    fn each_reason_has_words() {
        let net: Prefix = "2001:db8::/48".parse().unwrap();
        let check = |why: Reason, want: &str| assert_eq!(reason(&why, &net), want);
        let policy = |parts, probation| Reason::Policy {
            class: Class::Root,
            count: 2,
            threshold: 1,
            basis: Basis::Sound,
            parts,
            probation,
        };
        check(policy(0, false), "too many failures of class root (2, where 1 are tolerated)");
        check(
            policy(4, true),
            "too many failures of class root (2, where 1 are tolerated), from 4 of its /64s or more, and no login from \
             there in 30 days; for a short time, since somebody logged in from there lately",
        );
        check(Reason::Operator { because: None }, "an operator denied it");
        let hostile = "spam\u{1b}[2J\u{202e}\nfor Müller's \"list\"";
        check(
            Reason::Operator { because: Some(hostile.into()) },
            "an operator denied it: spam\\u{1b}[2J\\u{202e}\\nfor Müller's \"list\"",
        );
    }
}
