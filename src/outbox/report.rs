//! What a mail says: the sections and titles that DenyHosts' reports have, and what stands behind each of their items.
//!
//! What it tells of comes from the history, and is bounded here. All text of the log is printable by then.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use inputs::record::Timestamp;

use super::post::Letter;
use crate::decide::claim::Claimant;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::desk::reply::{At, Decided, Decision, Evidence, Session, Wave, Why};
use crate::text::when;

/// Items of a section; of more it is said how many they are.
const LISTED_MAX: usize = 200;
/// Denied prefixes of which it is told why.
const EXPLAINED_MAX: usize = 20;
/// Failures that are told of a denied prefix.
const FAILURES_MAX: usize = 3;
/// Logins that are told with all that is known of them, and sessions of each.
const LOGINS_MAX: usize = 10;
/// What is older when it can be told at last is counted and not listed.
const LISTED_FOR: Duration = Duration::from_secs(3 * 86_400);

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Report {
    denied: Vec<Denied>,
    logins: Vec<Login>,
    spared: Vec<Spared>,
    waves: Vec<(bool, Wave)>,
    /// How many there are of each kind, those that are listed and those that are not.
    counts: [u64; 4],
    /// How many more there are that happened too long ago to be listed.
    old: u64,
    /// Who is allowed, and refused all the same by lines of others in hosts.deny.
    refused: BTreeSet<String>,
    /// The numbers of the first and the last decision, and when the last one was made.
    span: Option<(i64, i64, Timestamp)>,
}

#[derive(Debug)]
struct Denied {
    prefix: Prefix,
    until: Option<At>,
    class: Option<Class>,
    count: u32,
}

#[derive(Debug)]
struct Login {
    address: IpAddr,
    user: String,
    method: Option<String>,
    at: At,
}

#[derive(Debug)]
struct Spared {
    prefix: Prefix,
    user: String,
    class: Class,
    count: u32,
    most: u32,
}

/// What is known beside the decisions when the mail is written.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// What enforces, each with what is wrong with it.
    pub(super) enforced_by: Vec<(String, Option<String>)>,
    /// What is known of those whom it is about.
    pub(super) known: BTreeMap<Prefix, Why>,
    /// Which connections those who logged in have to this machine: the ends here, and there.
    pub(super) open: BTreeMap<IpAddr, Vec<(SocketAddr, SocketAddr)>>,
    /// What `hosts.deny` is called on this machine.
    pub(super) hosts_deny: String,
    /// How many decisions were forgotten before they could be told.
    pub(super) missed: u64,
    /// What is to be shown behind addresses.
    pub(super) names: HashMap<IpAddr, String>,
    /// Whether all that strangers wrote is to be left out, since a server refused a mail with it.
    pub(super) bare: bool,
}

/// Titles that DenyHosts' reports have.
pub(super) const ADDED: &str = "Added the following hosts to";
pub(super) const NOT_ADDED: &str = "WARNING: Could not add the following hosts to";
const REFUSED: &str = "WARNING: The following hosts appear in";
pub(super) const OBSERVED: &str = "Observed the following suspicious login activity";
/// And one where nothing enforces.
pub(super) const DENIED_TITLE: &str = "Denied the following hosts";

/// An address or a prefix, with its name where that is known.
pub(super) fn host(prefix: Prefix, names: &HashMap<IpAddr, String>) -> String {
    match names.get(&prefix.address()).filter(|_| prefix.is_host()) {
        Some(name) => format!("{prefix} ({name})"),
        None => prefix.to_string(),
    }
}

/// Which of the counts.
const DENIED: usize = 0;
const LOGINS: usize = 1;
const SPARED: usize = 2;
const WAVES: usize = 3;

impl Report {
    /// Takes in what was decided, if anybody is to be told of it: who was denied by the policy, and from when on it was
    /// enforced; not what a person did himself.
    pub(super) fn add(&mut self, decided: Decided, now: Timestamp) {
        let Decided { id, at, prefix, what } = decided;
        let kind = match &what {
            Decision::Denied { by: Claimant::Policy, enforced: true, .. } => DENIED,
            Decision::Suspicious { .. } => LOGINS,
            Decision::Spared { .. } => SPARED,
            Decision::Wave { .. } => WAVES,
            _ => return,
        };
        let first = self.span.map_or(id, |(first, ..)| first);
        self.span = Some((first, id, at.0));
        if at.0.after(LISTED_FOR) < now {
            self.old += 1;
            return;
        }
        self.counts[kind] += 1;
        if self.counts[kind] > LISTED_MAX as u64 {
            return;
        }
        match (what, prefix) {
            (Decision::Denied { class, count, until, .. }, Some(prefix)) => {
                self.denied.push(Denied { prefix, until, class, count });
            }
            (Decision::Suspicious { address, user, method, .. }, _) => {
                self.logins.push(Login { address, user, method, at });
            }
            (Decision::Spared { user, class, count, most, .. }, Some(prefix)) => {
                self.spared.push(Spared { prefix, user, class, count, most });
            }
            (Decision::Wave { over, wave }, _) => self.waves.push((over, wave)),
            _ => {}
        }
    }

    /// These are allowed, and refused all the same by lines of others in hosts.deny.
    pub(super) fn refuse(&mut self, refused: BTreeSet<String>) {
        self.refused = refused;
    }

    /// Those.
    pub(super) fn refused(&self) -> &BTreeSet<String> {
        &self.refused
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.span.is_none() && self.refused.is_empty()
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.old + self.refused.len() as u64
    }

    /// Whether a person is to know of it at once.
    pub(super) fn is_urgent(&self) -> bool {
        self.counts[LOGINS] + self.counts[SPARED] > 0
    }

    /// From where somebody logged in of whom it is to be known more.
    pub(super) fn logins(&self) -> impl Iterator<Item = IpAddr> {
        self.logins.iter().take(LOGINS_MAX).map(|login| login.address)
    }

    /// The addresses that it names.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let denied = self.denied.iter().filter(|one| one.prefix.is_host()).map(|one| one.prefix.address());
        self.logins.iter().map(|login| login.address).chain(denied)
    }

    /// Of whom it is to be known more.
    pub(super) fn about(&self) -> impl Iterator<Item = Prefix> {
        self.logins().map(Prefix::host).chain(self.denied.iter().take(EXPLAINED_MAX).map(|denied| denied.prefix))
    }

    /// The mail.
    pub(super) fn letter(&self, beside: &Beside) -> Letter {
        let (first, last, at) = self.span.unwrap_or_default();
        let mut body = String::new();
        self.put_logins(&mut body, beside);
        self.put_spared(&mut body, beside);
        self.put_waves(&mut body, beside);
        self.put_denied(&mut body, beside);
        self.put_refused(&mut body, beside);
        let of_old = count(self.old, "decision", "decisions");
        let of_missed = count(beside.missed, "decision was", "decisions were");
        for (is_there, title, item) in [
            (self.old > 0, "Older than three days, so not listed", format!("{of_old}: denyd history")),
            (
                beside.bare,
                "What strangers wrote is left out",
                "a server refused a mail, maybe for that: denyd why ADDRESS".to_owned(),
            ),
            (beside.missed > 0, "WARNING: Not all is told here", format!("{of_missed} forgotten before this mail")),
        ] {
            if is_there {
                section(&mut body, title, &item);
            }
        }
        let ([denied, logins, spared, _], refused) = (self.counts, self.refused.len() as u64);
        let begun = self.waves.iter().filter(|(over, _)| !over).count() as u64;
        let over = self.counts[WAVES] - begun;
        let parts = [
            (logins, count(logins, "suspicious login", "suspicious logins")),
            (spared, count(spared, "administrator's address spared", "administrators' addresses spared")),
            (begun, count(begun, "slow attack by many", "slow attacks by many")),
            (over, count(over, "slow attack over", "slow attacks over")),
            (denied, count(denied, "host denied", "hosts denied")),
            (refused, count(refused, "allowed host in hosts.deny", "allowed hosts in hosts.deny")),
            (self.old, count(self.old, "older decision", "older decisions")),
        ];
        let subject = parts.into_iter().filter(|(count, _)| *count > 0).map(|(_, text)| text).collect::<Vec<_>>();
        // What is no decision tells one mail from another, too.
        let mut hasher = DefaultHasher::new();
        self.refused.hash(&mut hasher);
        let refused = if self.refused.is_empty() { String::new() } else { format!(".{:x}", hasher.finish()) };
        Letter { subject: subject.join(", "), body, id: format!("denyd.{first}.{last}.{}{refused}", at.0) }
    }

    fn put_denied(&self, body: &mut String, beside: &Beside) {
        if self.denied.is_empty() {
            return;
        }
        // A name is a stranger's text, too.
        let none = HashMap::new();
        let names = if beside.bare { &none } else { &beside.names };
        let mut hosts = self.denied.iter().map(|denied| host(denied.prefix, names) + "\n").collect::<String>();
        rest(&mut hosts, self.counts[DENIED], "denyd list hosts");
        let well: Vec<_> =
            beside.enforced_by.iter().filter(|(_, error)| error.is_none()).map(|(name, _)| &**name).collect();
        if !well.is_empty() {
            section(body, &format!("{ADDED} {}", well.join(", ")), &hosts);
        }
        for (name, error) in beside.enforced_by.iter().filter_map(|(name, error)| Some((name, error.as_ref()?))) {
            let why = format!("\n{name} says: {error}\n");
            section(body, &format!("{NOT_ADDED} {name}"), &(hosts.clone() + &why));
        }
        if beside.enforced_by.is_empty() {
            section(body, DENIED_TITLE, &hosts);
        }
        let mut why = String::new();
        for Denied { prefix, until, class, count: failures } in self.denied.iter().take(EXPLAINED_MAX) {
            let class = class.map_or("-", Class::name);
            let until = until.map_or("for ever".to_owned(), |until| format!("until {}", when(until.0)));
            let failures = count(u64::from(*failures), "failure", "failures");
            let _ = writeln!(why, "{prefix} {until}: {failures} of class {class}");
            if let Some(known) = beside.known.get(prefix).filter(|_| !beside.bare) {
                put_failures(&mut why, known, FAILURES_MAX);
            }
        }
        if self.denied.len() > EXPLAINED_MAX {
            why += "of the others: denyd why ADDRESS\n";
        }
        section(body, "Why", &why);
    }

    fn put_logins(&self, body: &mut String, beside: &Beside) {
        if self.logins.is_empty() {
            return;
        }
        let names = &beside.names;
        let item = |login: &Login| match beside.bare {
            false => format!("{} - {}\n", login.user, host(Prefix::host(login.address), names)),
            true => format!("{}\n", login.address),
        };
        let mut items = self.logins.iter().map(item).collect::<String>();
        rest(&mut items, self.counts[LOGINS], "denyd list suspicious");
        section(body, OBSERVED, &items);
        for login in self.logins.iter().take(LOGINS_MAX) {
            let (user, address) = if beside.bare { ("somebody", login.address) } else { (&*login.user, login.address) };
            let by = login.method.as_ref().map_or(String::new(), |method| format!(", by {method}"));
            let mut text = format!("{user} logged in{by} at {}, after too many failures.\n", when(login.at.0));
            if let Some(known) = beside.known.get(&Prefix::host(address)).filter(|_| !beside.bare) {
                text += "\nWhat failed before:\n";
                put_failures(&mut text, known, usize::MAX);
                text += "\nSessions from there whose end was not told:\n";
                for Session { user, since, .. } in known.sessions.iter().take(LOGINS_MAX) {
                    let _ = writeln!(text, "    {user} since {}", when(since.0));
                }
                if known.sessions.is_empty() {
                    text += "    none but this one, if that is open\n";
                }
            }
            text += "\nConnections from there to this machine now:\n";
            let open = beside.open.get(&address).map_or(&[][..], Vec::as_slice);
            for (here, there) in open {
                let _ = writeln!(text, "    {here} from {there}");
            }
            if open.is_empty() {
                text += "    none\n";
            }
            let peer = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
            text += "\nIf you do not know who that was, look, keep the address out, and cut what is open:\n";
            let _ = write!(text, "    denyd why {address}\n    denyd deny {address}\n    ss -K dst {peer}\n");
            section(body, &format!("About the login from {address}"), &text);
        }
    }

    fn put_refused(&self, body: &mut String, beside: &Beside) {
        if self.refused.is_empty() {
            return;
        }
        let mut items = self.refused.iter().take(LISTED_MAX).map(|host| format!("{host}\n")).collect::<String>();
        rest(&mut items, self.refused.len() as u64, "denyd doctor");
        items += "\nThey are refused by lines there that are not denyd's, and so stay: denyd why ADDRESS\n";
        let title = format!("{REFUSED} {} but should be allowed", beside.hosts_deny);
        section(body, &title, &items);
    }

    fn put_spared(&self, body: &mut String, beside: &Beside) {
        if self.spared.is_empty() {
            return;
        }
        let item = |spared: &Spared| {
            let Spared { prefix, user, class, count: failures, most } = spared;
            let (failures, class) = (count(u64::from(*failures), "failure", "failures"), class.name());
            let user = if beside.bare { "somebody" } else { user };
            format!("{prefix}: {failures} of class {class}, denied above {most}; {user} is logged in from there\n")
        };
        let mut items = self.spared.iter().map(item).collect::<String>();
        rest(&mut items, self.counts[SPARED], "denyd status");
        section(body, "WARNING: Not denied, because an administrator is logged in from there", &items);
    }
}

impl Report {
    /// Waves that began or are over.
    fn put_waves(&self, body: &mut String, beside: &Beside) {
        if self.waves.is_empty() {
            return;
        }
        let item = |(over, wave): &(bool, Wave)| {
            let since = when(wave.since.0);
            let told = match (&wave.user, beside.bare) {
                (Some(_), true) => Wave { user: Some("an account".to_owned()), ..wave.clone() }.told(),
                _ => wave.told(),
            };
            format!("{}{told}, a few times each, since {since}\n", if *over { "over: " } else { "" })
        };
        let mut items = self.waves.iter().map(item).collect::<String>();
        rest(&mut items, self.counts[WAVES], "denyd history");
        section(body, "Slow attacks by many addresses", &items);
    }
}

/// What a test says.
pub fn test(host: &str) -> Letter {
    let mut body = String::new();
    let text = format!("This is what `denyd mail --test` on {host} sends. Mail about denies comes by the same way.");
    section(&mut body, "Test", &text);
    Letter { subject: "a test".to_owned(), body, id: format!("denyd.test.{}", crate::clock::now().0) }
}

/// The last failures that are known of somebody.
fn put_failures(text: &mut String, known: &Why, most: usize) {
    let counted: Vec<_> = known.evidence.iter().filter(|one| !one.forgiven).collect();
    for Evidence { at, host, message, .. } in &counted[counted.len().saturating_sub(most)..] {
        let _ = writeln!(text, "    {} {host}: {message}", when(at.0));
    }
}

/// How many more there are than can be listed, and where they are.
fn rest(items: &mut String, all: u64, verb: &str) {
    if let Some(more) = all.checked_sub(LISTED_MAX as u64).filter(|more| *more > 0) {
        let _ = writeln!(items, "and {more} more: {verb}");
    }
}

/// A section as DenyHosts wrote it.
fn section(body: &mut String, title: &str, items: &str) {
    let _ = write!(body, "{title}:\n\n{}\n\n{}\n", items.trim_end(), "-".repeat(70));
}

fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_795_304_306);

    fn denied(id: i64, at: Timestamp, by: Claimant, enforced: bool) -> Decided {
        let address = format!("10.0.{}.{}", id / 250, id % 250);
        let what = Decision::Denied { by, class: Some(Class::Root), count: 2, until: None, enforced, because: None };
        Decided { id, at: At(at), prefix: Some(address.parse().unwrap()), what }
    }

    fn login(id: i64, user: &str) -> Decided {
        let address = "2001:db8::7".parse().unwrap();
        let what = Decision::Suspicious { address, user: user.to_owned(), user_b64: None, method: None };
        Decided { id, at: At(NOW), prefix: Some(Prefix::host(address)), what }
    }

    fn spared(id: i64) -> Decided {
        let (user, class) = ("mallory".to_owned(), Class::Valid);
        let what = Decision::Spared { user, user_b64: None, class, count: 11, most: 33 };
        Decided { id, at: At(NOW), prefix: Some("192.0.2.9".parse().unwrap()), what }
    }

    fn report(all: impl IntoIterator<Item = Decided>) -> Report {
        let mut report = Report::default();
        all.into_iter().for_each(|one| report.add(one, NOW));
        report
    }

    #[test]
    fn only_what_somebody_must_know_is_told() {
        let check = |decided: Decided, want: (bool, u64, bool)| {
            let report = report([decided]);
            assert_eq!((report.is_empty(), report.waiting(), report.is_urgent()), want);
        };
        let none = (true, 0, false);
        check(denied(1, NOW, Claimant::Policy, true), (false, 1, false));
        check(denied(1, NOW, Claimant::Policy, false), none);
        check(denied(1, NOW, Claimant::Operator, true), none);
        let what = Decision::Allowed { entry: "192.0.2.7".to_owned(), removed: false };
        check(Decided { id: 1, at: At(NOW), prefix: None, what }, none);
        check(login(1, "al"), (false, 1, true));
        check(spared(1), (false, 1, true));
        let old = Timestamp(NOW.0 - LISTED_FOR.as_micros() as i64 - 1);
        check(denied(1, old, Claimant::Policy, true), (false, 1, false));
    }

    #[test]
    fn a_million_denies_make_a_short_mail() {
        let report = report((1..=1_000_000).map(|id| denied(id % 60_000, NOW, Claimant::Policy, true)));
        let letter = report.letter(&Beside { enforced_by: vec![("nftables".to_owned(), None)], ..Beside::default() });
        assert_eq!(letter.subject, "1000000 hosts denied");
        assert!(letter.body.contains("\nand 999800 more: denyd list hosts\n"), "{}", letter.body);
        assert!(letter.body.len() < 20_000 && report.about().count() == EXPLAINED_MAX);
    }

    #[test]
    fn what_was_missed_is_old_or_was_not_added_is_said() {
        let old = Timestamp(NOW.0 - LISTED_FOR.as_micros() as i64 - 1);
        let report = report([denied(1, old, Claimant::Policy, true), denied(2, NOW, Claimant::Policy, true)]);
        let enforced_by =
            vec![("nftables".to_owned(), Some("no nft".to_owned())), ("/etc/hosts.deny".to_owned(), None)];
        let letter = report.letter(&Beside { enforced_by, missed: 3, ..Beside::default() });
        for part in [
            "Added the following hosts to /etc/hosts.deny:\n\n10.0.0.2\n\n---",
            "WARNING: Could not add the following hosts to nftables:\n\n10.0.0.2\n\nnftables says: no nft\n\n---",
            "Older than three days, so not listed:\n\n1 decision: denyd history\n",
            "WARNING: Not all is told here:\n\n3 decisions were forgotten before this mail\n",
        ] {
            assert!(letter.body.contains(part), "{part}: {}", letter.body);
        }
        assert_eq!(letter.subject, "1 host denied, 1 older decision");
    }

    #[test]
    fn what_strangers_wrote_can_be_left_out() {
        let report = report([login(1, "mallory"), spared(2)]);
        let letter = |bare| report.letter(&Beside { bare, ..Beside::default() }).body;
        assert!(
            letter(false).contains("mallory - 2001:db8::7") && !letter(true).contains("mallory"),
            "{}",
            letter(true)
        );
        assert!(letter(true).contains("ss -K dst [2001:db8::7]") && letter(true).contains("192.0.2.9: 11 failures"));
    }

    #[test]
    fn waves_are_told_and_wait_for_the_next_mail() {
        let wave = |id, over, user: Option<&str>| {
            let (user, since) = (user.map(str::to_owned), At(Timestamp::from_secs(1_794_787_200)));
            let wave = Wave { user, user_b64: None, addresses: 128, hosts: 1, since, last: None };
            Decided { id, at: At(NOW), prefix: None, what: Decision::Wave { over, wave } }
        };
        let report = report([wave(1, false, Some("mallory")), wave(2, true, None)]);
        assert!(!report.is_urgent() && report.waiting() == 2);
        let letter = |bare| report.letter(&Beside { bare, ..Beside::default() });
        assert_eq!(letter(false).subject, "1 slow attack by many, 1 slow attack over");
        let body = |user| {
            let since = when(Timestamp::from_secs(1_794_787_200));
            format!(
                "Slow attacks by many addresses:\n\n128 addresses tried {user} on 1 host, a few times each, since {since}\n\
                 over: 128 addresses tried one host after the other, 1 host in all, a few times each, since {since}\n\n---"
            )
        };
        for (bare, user) in [(false, "mallory"), (true, "an account")] {
            assert!(letter(bare).body.contains(&body(user)), "{}", letter(bare).body);
        }
    }

    #[test]
    fn the_same_decisions_have_the_same_id() {
        let letter = |ids: &[i64]| {
            let all = ids.iter().map(|id| denied(*id, NOW, Claimant::Policy, true));
            report(all).letter(&Beside::default()).id
        };
        assert_eq!(letter(&[1, 2]), letter(&[1, 2]));
        assert_ne!(letter(&[1, 2]), letter(&[1, 2, 3]), "or a mail system would throw the third away");
    }
}
