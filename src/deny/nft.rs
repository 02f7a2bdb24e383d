//! Denies in nftables: a table of our own, written by `nft -f -`, one transaction a call.
//!
//! Promises that there is no moment without the set: `replace` builds the new table in the transaction that
//! takes the old one away, and a failed transaction changes nothing. Elements carry their remaining time, so
//! denies end even if we are gone, and outlive us till then. Tables of others are never named.
//!
//! # The chain
//!
//! Hook prerouting, priority -300 (`raw`). Prerouting sees what goes to this box and what it forwards to
//! containers; -300 comes before conntrack (-200), so that a denied flood takes no conntrack entries, and
//! before DNAT (-100). No `ct state established accept` of anybody's can come first: accept ends one chain
//! only, and all others are later. Open connections of a denied address stall at once, also those that we opened to it (nothing
//! is known of connections there), but for those in the sets `keep4` and `keep6`, by address and port: somebody is logged in
//! there. No packet that begins a connection passes by these.
//! First come loopback, neighbour discovery (else a deny of an on-link IPv6 prefix, such as the router's
//! fe80::/64, cuts the box off), all but the ports that are closed, and the allow sets, so that allowed wins inside a denied
//! prefix. What is denied goes on to a second chain, which lets log senders reach our listeners, counts what is left, and drops
//! or answers it.
//!
//! # The sets
//!
//! Prefixes of the two usual lengths are in plain hash sets, as masked network addresses: a single add to an *interval*
//! set of 100 000 takes nft seconds. All other lengths are in the small interval sets `wide4` and
//! `wide6`, which nft wants without overlap: there each range carries the latest end of all prefixes that
//! hold it, and any change rewrites the whole wide set.
//!
//! # How it is made so
//!
//! `plan` says what is to be done. The whole set is written by `nft` (`script` is in its language; `answer` reads what it
//! says). A change goes to the kernel over netlink, without a process: `message` is that language, `wire` its form, `socket`
//! the way. Where netlink is refused, or a change is too large for it, `nft` carries that out too.
//!
//! # How it stays so
//!
//! `watch` hears what others do to our table, and [`Nft::probe`] tells of it; what they touched is mended, and no more. What
//! may not have been heard is read (`found`), and so is everything that `nft` wrote: that a program says it is done is
//! no proof. Where netlink is refused, [`Nft::probe`] tries once more to listen, then asks `nft` what it lists without
//! elements; that somebody took single elements out is not seen there, and mended by the daily `replace`.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use inputs::record::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};

use super::effect::{Effect, NOT_EVERYWHERE, Refused};
use super::program::{self, DIRECTORIES, TIME_MAX};
use super::{DenyBackend, DenyError, DenySet, Diff, Kept, Probe};
use crate::decide::prefix::Prefix;
use found::Made;
pub use plan::Lengths;
use plan::{ALLOWED, Plan, Set, Step, Touched, USUAL, WIDE};
use script::Script;
use socket::Socket;
use watch::{News, TOUCHED_MAX, Watch};

mod answer;
mod found;
mod kept;
pub mod message;
mod plan;
mod proof;
mod script;
mod socket;
mod watch;
pub mod wire;

/// The nftables back end. Needs CAP_NET_ADMIN and the program `nft`.
#[derive(Debug)]
pub struct Nft {
    table: Table,
    usual: Lengths,
    /// Where `nft` is, if not where programs are.
    binary: Option<PathBuf>,
    netlink: Netlink,
    watch: Option<Watch>,
    /// What others did and nobody has mended yet.
    news: News,
    /// The table that we made, as it was read then.
    made: Option<Made>,
    effect: Effect,
    /// What the table that we made refused, when it was last asked.
    refused: Refused,
    /// What those refused that we made before it.
    refused_before: Refused,
}

/// The way to the kernel that needs no process.
#[derive(Debug)]
enum Netlink {
    Unopened,
    Open(Socket),
    /// It cannot be used here.
    Refused,
}

/// What an administrator decides of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Our table's name, in the family `inet`. Default `denyd`.
    pub table: Table,
}

/// The name of our table, in the family `inet`: what `nft` reads as one word, and the kernel takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table(String);

impl Default for Table {
    fn default() -> Self {
        Table(TABLE.to_owned())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Table {
    type Err = String;

    /// Reads a name. A word of nft's own language, such as `set`, is read here and refused by `nft`: `denyd check` asks it.
    fn from_str(text: &str) -> Result<Self, String> {
        let letters = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        if letters && text.len() <= TABLE_MAX {
            return Ok(Table(text.to_owned()));
        }
        Err(format!("expected a table's name: letters, digits, _ and -, a letter first, at most {TABLE_MAX}"))
    }
}

impl Nft {
    /// A back end for table `inet TABLE`, which is ours alone. Prefixes of the lengths in `usual` are the fast ones.
    pub fn new(table: Table, usual: Lengths) -> Self {
        Nft {
            table,
            usual,
            binary: None,
            netlink: Netlink::Unopened,
            watch: None,
            news: News::default(),
            made: None,
            effect: Effect::default(),
            refused: Refused::default(),
            refused_before: Refused::default(),
        }
    }

    /// Refuses packets in this way.
    pub fn with_effect(self, effect: Effect) -> Self {
        Nft { effect, ..self }
    }

    /// Uses this program instead of looking for `nft`.
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Nft { binary: Some(binary), ..self }
    }

    /// Uses `nft` for everything, as where netlink is refused.
    pub fn without_netlink(self) -> Self {
        Nft { netlink: Netlink::Refused, ..self }
    }

    /// Asks whether nftables can be used; changes nothing. Where `nft` hangs it can: sshd waits for whoever asks, and whoever
    /// enforces says so.
    pub fn usable(&self) -> Result<(), DenyError> {
        let script = format!("add table inet {}\n", self.table);
        self.run_within(USABLE_WITHIN, "make", &["-c", "-f", "-"], &script).map(|_| ())
    }

    /// Takes our table out of the kernel, and with it every deny. Not an error if there is none.
    pub fn remove(&mut self) -> Result<(), DenyError> {
        self.watch = None;
        let mut script = Script::new(&self.table);
        script.remove();
        self.run("remove", &["-f", "-"], &script.text).map(|_| ())
    }

    /// The socket that asks, where there may be one.
    fn socket(&mut self) -> Option<&mut Socket> {
        if matches!(self.netlink, Netlink::Unopened) {
            self.netlink = Socket::open(&self.table).map_or(Netlink::Refused, Netlink::Open);
        }
        match &mut self.netlink {
            Netlink::Open(socket) => Some(socket),
            _ => None,
        }
    }

    /// Has `nft` carry out a script. What is heard of it would be too much, so nobody listens until it is seen.
    fn write(&mut self, verb: &str, script: &str) -> Result<(), DenyError> {
        self.watch = None;
        self.run(verb, &["-f", "-"], script).map(|_| ())
    }

    /// Has `nft` write all of our table anew, and sees that it did.
    fn replace_all(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let mut script = Script::new(&self.table);
        script.remove();
        script.make(self.usual, &self.effect);
        script.take(&Plan { usual: self.usual, want, now }.all());
        let text = script.text;
        self.count();
        self.write("replace", &text)?;
        self.refused_before += std::mem::take(&mut self.refused);
        self.made = None;
        self.see(want, now)
    }

    /// Sees that `nft` did what it was told, where netlink can be used.
    fn see(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        if self.listens() { self.read(want, now) } else { Ok(()) }
    }

    /// Whether it is heard what others do, if need be from now on.
    fn listens(&mut self) -> bool {
        if self.watch.is_none() {
            self.news = News::default();
            self.news.unsure = true; // until it is read
            self.watch = match self.socket() {
                Some(_) => Watch::begin(&self.table).ok(),
                None => None,
            };
        }
        self.watch.is_some()
    }

    /// Reads our table. What is not as wanted goes to the news, unless that is too much to be mended.
    fn read(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let plan = Plan { usual: self.usual, want, now };
        let (made, chains) = (self.made.clone(), script::chains(self.usual, &self.effect));
        // Whatever is heard from now on is of after this generation, or is seen below.
        let found = self.socket().ok_or(socket::Refused::Unread).and_then(|socket| {
            let generation = socket.generation()?;
            Ok(match found::whole(socket, &chains, made.as_ref())? {
                Err(fault) => Err(fault),
                Ok(made) => Ok((generation, made, found::differences(socket, &plan)?)),
            })
        });
        let (generation, made, touched) = match found {
            Ok(Ok(found)) => found,
            Ok(Err(fault)) => return Err(self.spoilt(fault)),
            Err(refused) => {
                self.netlink = Netlink::Unopened; // it may be in the midst of an answer
                return Err(self.failed(format!("read table inet {}", self.table), refused.to_string(), None));
            }
        };
        let many = touched.elements.len();
        if many > TOUCHED_MAX {
            return Err(self.spoilt(format!("{many} elements are not as they were")));
        }
        if let Some(watch) = &mut self.watch {
            watch.know(generation);
        }
        self.made = Some(made);
        self.news.unsure = false;
        self.news.touched.anew.extend(touched.anew);
        self.news.touched.elements.extend(touched.elements);
        Ok(())
    }

    /// Our table is not as we left it.
    fn spoilt(&self, cause: String) -> DenyError {
        let remedy = "look for what changes it: a firewall's reload should not do \"flush ruleset\"";
        self.failed(format!("find table inet {} as we left it", self.table), cause, Some(remedy))
    }

    /// Takes the news, so that all transactions up to now are known.
    fn hear(&mut self) {
        let generation = self.socket().and_then(|socket| socket.generation().ok());
        let (Some(watch), Netlink::Open(socket)) = (&mut self.watch, &self.netlink) else {
            self.news.unsure = true;
            return;
        };
        let mut heard = watch.hear(socket.port, &mut self.news);
        // A commit counts a moment before it is told.
        if heard.is_ok() && generation.is_some_and(|generation| !watch.knows(generation)) {
            let mut fds = [PollFd::new(watch.stirs(), PollFlags::POLLIN)];
            _ = poll(&mut fds, TOLD_MAX_MS);
            heard = watch.hear(socket.port, &mut self.news);
        }
        let all = generation.is_some_and(|generation| watch.knows(generation));
        self.news.unsure |= heard.is_err() || !all;
    }

    /// Asks `nft` what it lists of us.
    fn look(&self) -> Result<Probe, DenyError> {
        // `list chain` reads all elements of our sets (1.1 s for 100 000); this one, terse, none (12 ms)
        let listing = self.run("look at", &["-t", "list", "ruleset", "inet"], "")?;
        let chains = script::chains(self.usual, &self.effect);
        match answer::fault(&self.table, &chains, &String::from_utf8_lossy(&listing)) {
            Some(cause) => Err(self.spoilt(cause)),
            None => Ok(Probe::Ours),
        }
    }

    /// Asks what our rules refused, of the table that we made.
    fn count(&mut self) {
        let ours = self.made.is_some();
        if let Some(count) = self.socket().filter(|_| ours).and_then(|socket| found::refused(socket).ok()) {
            self.refused = count;
        }
    }

    /// Carries out steps without a process, if that can be; `None` if not.
    fn send(&mut self, verb: &str, steps: &[Step]) -> Option<Result<(), DenyError>> {
        let refused = self.socket()?.commit(steps).err();
        match refused {
            None => Some(Ok(())),
            Some(socket::Refused::By(Errno::EMSGSIZE | Errno::EINVAL)) => None,
            Some(socket::Refused::By(error @ (Errno::EPERM | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT))) => {
                tracing::warn!(error = error.desc(), "nftables refuses changes over netlink, so nft makes them");
                (self.netlink, self.watch) = (Netlink::Refused, None);
                None
            }
            Some(refused) => {
                let cause = refused.to_string();
                Some(Err(self.failed(format!("{verb} table inet {}", self.table), cause, None)))
            }
        }
    }

    fn run(&self, verb: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, DenyError> {
        let output = self.run_within(TIME_MAX, verb, arguments, input)?;
        let slow = || format!("nft took more than {} s", TIME_MAX.as_secs());
        output.ok_or_else(|| self.failed(self.tried(verb), slow(), None))
    }

    fn tried(&self, verb: &str) -> String {
        format!("{verb} table inet {}", self.table)
    }

    /// What `nft` prints; `None` if it takes longer.
    fn run_within(
        &self,
        time: Duration,
        verb: &str,
        arguments: &[&str],
        input: &str,
    ) -> Result<Option<Vec<u8>>, DenyError> {
        let fail = |cause: String, remedy| self.failed(self.tried(verb), cause, remedy);
        let binary = self.binary.clone().or_else(|| program::find("nft"));
        let binary = binary.ok_or_else(|| fail(format!("no nft in {}", DIRECTORIES.join(", ")), Some(INSTALL)))?;
        let child = program::start(&binary, arguments)
            .map_err(|error| fail(format!("{}: {error}", binary.display()), Some(INSTALL)))?;
        let output = match program::finish_within(time, child, input.as_bytes()) {
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => return Ok(None),
            output => output.map_err(|error| fail(format!("cannot talk to nft: {error}"), None))?,
        };
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let cause = answer::complaint(&output.stderr).unwrap_or_else(|| format!("nft ended with {}", output.status));
        let remedy = answer::remedy(&cause);
        Err(fail(cause, remedy))
    }

    /// Makes what was touched as wanted.
    fn make_wanted(&mut self, verb: &str, touched: &Touched, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let mut by_program = false;
        for steps in (Plan { usual: self.usual, want, now }).mend(touched) {
            if let Some(done) = self.send(verb, &steps) {
                done?;
                continue;
            }
            let mut script = Script::new(&self.table);
            script.take(&steps);
            let text = script.text;
            self.write(verb, &text)?;
            by_program = true;
        }
        // Only when all of it is there, or what is to come yet would be somebody else's doing.
        if by_program { self.see(want, now) } else { Ok(()) }
    }

    /// The elements of sets of ours; none if our table is not there.
    fn elements(&self, sets: &[Set], lengths: Lengths, now: Timestamp) -> Result<Kept, DenyError> {
        let tables = self.run("look for", &["list", "tables", "inet"], "")?;
        let ours = format!("table inet {}", self.table);
        if !String::from_utf8_lossy(&tables).lines().any(|line| line.trim() == ours) {
            return Ok(Kept::new());
        }
        let mut kept = Kept::new();
        for set in sets {
            let listing = self.run("list", &["-j", "list", "set", "inet", &self.table.0, set.name], "")?;
            let elements = kept::elements(&listing, lengths, now);
            kept.extend(elements.map_err(|cause| self.failed(format!("read set {}", set.name), cause, None))?);
        }
        Ok(kept)
    }

    fn failed(&self, tried: String, cause: String, remedy: Option<&'static str>) -> DenyError {
        DenyError { backend: NAME, tried, cause, remedy }
    }
}

impl DenyBackend for Nft {
    fn name(&self) -> &'static str {
        NAME
    }

    fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let failed = match self.replace_all(want, now) {
            Err(error) if error.cause.ends_with(LACKING) => error,
            done => return done,
        };
        // Nobody denied would be worse than a sender that is not heard.
        let Some(effect) = self.effect.without_everywhere() else { return Err(failed) };
        tracing::warn!(backend = NAME, cause = failed.cause, "{NOT_EVERYWHERE}");
        self.effect = effect;
        self.replace_all(want, now)
    }

    fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let touched = Plan { usual: self.usual, want, now }.touched(diff);
        self.make_wanted("update", &touched, want, now)
    }

    /// Costs a netlink message, and what others did since; where netlink is refused, an `nft` process (12 ms).
    fn probe(&mut self, want: &DenySet, now: Timestamp) -> Result<Probe, DenyError> {
        if !self.listens() {
            return self.look();
        }
        self.hear();
        self.count();
        let by = self.news.by.take().map_or(String::new(), |name| format!(", by {name}"));
        if self.news.unsure {
            let told = |error: DenyError| DenyError { cause: format!("{}{by}", error.cause), ..error };
            self.read(want, now).map_err(told)?;
        }
        if self.news.touched.is_empty() {
            return Ok(Probe::Ours);
        }
        let Touched { anew, elements } = &self.news.touched;
        let mut sets: BTreeMap<&str, usize> = anew.iter().map(|set| (set.name, 0)).collect();
        elements.iter().for_each(|(set, _)| *sets.entry(set.name).or_default() += 1);
        let sets = sets.into_iter().map(|(name, count)| match count {
            0 => name.to_owned(),
            _ => format!("{count} of {name}"),
        });
        let what = format!("elements of table inet {}: {}{by}", self.table, sets.collect::<Vec<_>>().join(", "));
        let plan = Plan { usual: self.usual, want, now };
        let missing = elements.iter().filter(|(_, address)| plan.life(*address).is_some()).count();
        Ok(Probe::Changed { what, missing })
    }

    fn mend(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let touched = std::mem::take(&mut self.news.touched);
        self.make_wanted("mend", &touched, want, now)
    }

    fn stirs(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::stirs)
    }

    fn take_away(&mut self, _now: Timestamp) -> Result<(), DenyError> {
        self.remove()
    }

    fn refused(&self) -> Option<Refused> {
        let mut all = self.refused_before;
        all += self.refused;
        self.watch.as_ref().map(|_| all)
    }

    /// Needs netlink.
    fn refused_of_each(&mut self) -> Result<BTreeMap<Prefix, u64>, DenyError> {
        if !self.effect.counters {
            return Ok(BTreeMap::new());
        }
        let usual = self.usual;
        let counts =
            self.socket().ok_or(socket::Refused::Unread).and_then(|socket| found::refused_of_each(socket, usual));
        counts.map_err(|error| self.failed(self.tried("count packets of"), error.to_string(), None))
    }

    /// What is denied in the kernel; nothing if our table is not there.
    fn kept(&mut self, now: Timestamp) -> Result<Kept, DenyError> {
        self.elements(&[USUAL, WIDE].concat(), self.usual, now)
    }

    fn allowed(&mut self, now: Timestamp) -> Result<Vec<Prefix>, DenyError> {
        let hosts = Lengths { v4: 32, v6: 128 };
        Ok(self.elements(&ALLOWED, hosts, now)?.into_iter().map(|(prefix, _)| prefix).collect())
    }
}

/// The table's usual name.
const TABLE: &str = "denyd";
/// The longest name that we take for our table, in bytes; the kernel's own limit is 255 (`NFT_NAME_MAXLEN`).
const TABLE_MAX: usize = 64;
pub(super) const NAME: &str = "nftables";
/// How nft ends what it says of an expression that the kernel lacks (ENOENT).
const LACKING: &str = "No such file or directory";
/// How long after it counted a commit may be told, in milliseconds.
const TOLD_MAX_MS: u8 = 100;
/// How long it may take to say whether it can be used: at a boot, sshd is waiting.
const USABLE_WITHIN: Duration = Duration::from_secs(2);
const INSTALL: &str = "install the package nftables, or choose another back end";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names() {
        for bad in ["", "a b", "1a", "-a", "a;b", "a{", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<Table>().is_err(), "{bad}");
        }
    }
}
