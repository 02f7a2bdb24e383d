//! Why somebody is denied, in words: as it was stored with the deny, never guessed.

use super::output::{self, when};
use crate::decide::claim::{Part, Reason};
use crate::decide::prefix::Prefix;
use crate::store::wave_on;
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
        Reason::Wave(part) => {
            let Part { count, threshold, user, addresses, hosts, since, .. } = &**part;
            let (on, since) = (wave_on(user), when(*since));
            let what = match user.is_empty() {
                true => "that try one of our hosts after the other".to_owned(),
                false => format!("that tried {on}"),
            };
            format!(
                "it takes part in a wave on {on}: one of {} {what}, on {} since {since}; it tried {} ({threshold} is \
                 tolerated)",
                output::count(*addresses, "address", "addresses"),
                output::count(*hosts, "host", "hosts"),
                output::count(*count, "time", "times"),
            )
        }
        Reason::Operator { because: None } => "an operator denied it".to_owned(),
        Reason::Operator { because: Some(because) } => format!("an operator denied it: {}", plain(because)),
        Reason::Adopted => "taken over from the firewall when the database was lost".to_owned(),
        Reason::Imported => "taken over from DenyHosts, which denied it".to_owned(),
        Reason::Sync { server, reporters } => {
            let those = if *reporters == 1 { "1 machine".to_owned() } else { format!("{reporters} machines") };
            format!("the server {} told of it: at least {those} reported it", plain(server))
        }
        Reason::Peer(number) => format!("denyd number {number} denies it"),
    }
}

#[cfg(test)]
mod tests {
    use inputs::record::Timestamp;

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
        let part = |user: &[u8]| {
            Reason::Wave(Box::new(Part {
                class: Class::Root,
                count: 2,
                threshold: 1,
                user: user.into(),
                addresses: 3_214,
                hosts: 5,
                since: Timestamp::from_secs(1_794_787_200),
            }))
        };
        let since = when(Timestamp::from_secs(1_794_787_200));
        check(
            part(b"ro\x1b"),
            &format!(
                "it takes part in a wave on ro\\x1b: one of 3214 addresses that tried ro\\x1b, on 5 hosts since {since}; it \
                 tried 2 times (1 is tolerated)"
            ),
        );
        check(
            part(b""),
            &format!(
                "it takes part in a wave on our hosts: one of 3214 addresses that try one of our hosts after the other, on 5 \
                 hosts since {since}; it tried 2 times (1 is tolerated)"
            ),
        );
        let hostile = "spam\u{1b}[2J\u{202e}\nfor Müller's \"list\"";
        check(
            Reason::Operator { because: Some(hostile.into()) },
            "an operator denied it: spam\\u{1b}[2J\\u{202e}\\nfor Müller's \"list\"",
        );
    }
}
