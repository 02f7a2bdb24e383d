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
//! only, and all others are later. Open connections of a denied address stall at once, also those that we opened to it.
//! First come loopback, neighbour discovery (else a deny of an on-link IPv6 prefix, such as the router's
//! fe80::/64, cuts the box off) and the allow sets, so that allowed wins inside a denied prefix.
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
//! # What it does not do
//!
//! [`Nft::probe`] sees at once that a table, chain, set or rule is missing. Of a foreign commit that leaves those alone
//! it cannot say whether it took elements of ours: then the set is written anew, for at most a hundredth of the time.

use std::fmt;
use std::path::PathBuf;

use inputs::record::Timestamp;
use nix::errno::Errno;

use super::program::{self, DIRECTORIES, TIME_MAX};
use super::{DenyBackend, DenyError, DenySet, Diff, Kept, Probe};
pub use plan::Lengths;
use plan::{Plan, Step, USUAL, WIDE};
use script::Script;
use socket::{Refused, Socket};

mod answer;
mod kept;
pub mod message;
mod plan;
mod script;
mod socket;
pub mod wire;

/// The nftables back end. Needs CAP_NET_ADMIN and the program `nft`.
#[derive(Debug)]
pub struct Nft {
    table: Table,
    usual: Lengths,
    /// Where `nft` is, if not where programs are.
    binary: Option<PathBuf>,
    /// The kernel's generation when our table was last known to be well.
    generation: Option<u32>,
    netlink: Netlink,
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
        Nft { table, usual, binary: None, generation: None, netlink: Netlink::Unopened }
    }

    /// Uses this program instead of looking for `nft`.
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Nft { binary: Some(binary), ..self }
    }

    /// Uses `nft` for everything, as where netlink is refused.
    pub fn without_netlink(self) -> Self {
        Nft { netlink: Netlink::Refused, ..self }
    }

    /// Asks whether nftables can be used; changes nothing.
    pub fn usable(&self) -> Result<(), DenyError> {
        self.run("make", &["-c", "-f", "-"], &format!("add table inet {}\n", self.table)).map(|_| ())
    }

    /// Takes our table out of the kernel, and with it every deny. Not an error if there is none.
    pub fn remove(&mut self) -> Result<(), DenyError> {
        self.generation = None;
        let mut script = Script::new(&self.table);
        script.remove();
        self.run("remove", &["-f", "-"], &script.text).map(|_| ())
    }

    /// The socket that asks, where there may be one.
    fn socket(&mut self) -> Option<&mut Socket> {
        if matches!(self.netlink, Netlink::Unopened) {
            self.netlink = Socket::open().map_or(Netlink::Refused, Netlink::Open);
        }
        match &mut self.netlink {
            Netlink::Open(socket) => Some(socket),
            _ => None,
        }
    }

    fn generation(&mut self) -> Option<u32> {
        self.socket()?.generation().ok()
    }

    /// Commits what `by` does; the generation is known only if that was the one commit meanwhile.
    fn commit(&mut self, verb: &str, by: impl FnOnce(&mut Self) -> Result<(), DenyError>) -> Result<(), DenyError> {
        let known = self.generation.take();
        let before = self.generation();
        by(self)?;
        let after = self.generation();
        let alone = before.is_some_and(|before| after == Some(before.wrapping_add(1)));
        // An update also leans on what was there before it.
        let well = alone && (verb == REPLACE || known == before);
        self.generation = after.filter(|_| well);
        Ok(())
    }

    /// Carries out steps without a process, if that can be; `None` if not.
    fn send(&mut self, verb: &str, steps: &[Step]) -> Option<Result<(), DenyError>> {
        let table = self.table.clone();
        let refused = self.socket()?.commit(&table, steps).err();
        match refused {
            None => Some(Ok(())),
            Some(Refused::By(Errno::EMSGSIZE | Errno::EINVAL)) => None,
            Some(Refused::By(error @ (Errno::EPERM | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT))) => {
                tracing::warn!(error = error.desc(), "nftables refuses changes over netlink, so nft makes them");
                self.netlink = Netlink::Refused;
                None
            }
            Some(refused) => {
                let cause = refused.to_string();
                Some(Err(self.failed(format!("{verb} table inet {}", self.table), cause, None)))
            }
        }
    }

    fn run(&self, verb: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, DenyError> {
        let fail = |cause: String, remedy| self.failed(format!("{verb} table inet {}", self.table), cause, remedy);
        let binary = self.binary.clone().or_else(|| program::find("nft"));
        let binary = binary.ok_or_else(|| fail(format!("no nft in {}", DIRECTORIES.join(", ")), Some(INSTALL)))?;
        let child = program::start(&binary, arguments)
            .map_err(|error| fail(format!("{}: {error}", binary.display()), Some(INSTALL)))?;
        let output = program::finish(child, input.as_bytes()).map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => fail(format!("nft took more than {} s", TIME_MAX.as_secs()), None),
            _ => fail(format!("cannot talk to nft: {error}"), None),
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let cause = answer::complaint(&output.stderr).unwrap_or_else(|| format!("nft ended with {}", output.status));
        let remedy = answer::remedy(&cause);
        Err(fail(cause, remedy))
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
        let mut script = Script::new(&self.table);
        script.remove();
        script.make(self.usual);
        script.take(&Plan { usual: self.usual, want, now }.all());
        let text = script.text;
        self.commit(REPLACE, |nft| nft.run(REPLACE, &["-f", "-"], &text).map(|_| ()))
    }

    fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        const UPDATE: &str = "update";
        let plan = Plan { usual: self.usual, want, now };
        for steps in plan.mend(&plan.touched(diff)) {
            self.commit(UPDATE, |nft| {
                if let Some(done) = nft.send(UPDATE, &steps) {
                    return done;
                }
                let mut script = Script::new(&nft.table);
                script.take(&steps);
                let text = script.text;
                nft.run(UPDATE, &["-f", "-"], &text).map(|_| ())
            })?;
        }
        Ok(())
    }

    /// Costs one netlink message while nobody else changes rules, else one `nft` process (12 ms).
    fn probe(&mut self) -> Result<Probe, DenyError> {
        // Asked before the listing: a change in between is looked at next time.
        let generation = self.generation();
        if generation.is_some() && generation == self.generation {
            return Ok(Probe::Ours);
        }
        self.generation = None;
        // `list chain` reads all elements of our sets (1.1 s for 100 000); this one, terse, none (12 ms)
        let listing = self.run("look at", &["-t", "list", "ruleset", "inet"], "")?;
        if let Some(cause) = answer::fault(&self.table, &String::from_utf8_lossy(&listing)) {
            let remedy = "look for what changes it: a firewall's reload should not do \"flush ruleset\"";
            return Err(self.failed(format!("find table inet {} as we left it", self.table), cause, Some(remedy)));
        }
        self.generation = generation;
        // Somebody committed something: perhaps only elements of ours, which no listing that is cheap shows.
        Ok(if generation.is_some() { Probe::Touched } else { Probe::Ours })
    }

    /// What is denied in the kernel; nothing if our table is not there.
    fn take_away(&mut self, _now: Timestamp) -> Result<(), DenyError> {
        self.remove()
    }

    fn kept(&mut self, now: Timestamp) -> Result<Kept, DenyError> {
        let tables = self.run("look for", &["list", "tables", "inet"], "")?;
        let ours = format!("table inet {}", self.table);
        if !String::from_utf8_lossy(&tables).lines().any(|line| line.trim() == ours) {
            return Ok(Kept::new());
        }
        let mut kept = Kept::new();
        for set in USUAL.into_iter().chain(WIDE) {
            let listing = self.run("list", &["-j", "list", "set", "inet", &self.table.0, set.name], "")?;
            let elements = kept::elements(&listing, self.usual, now);
            kept.extend(elements.map_err(|cause| self.failed(format!("read set {}", set.name), cause, None))?);
        }
        Ok(kept)
    }
}

/// The table's usual name.
const TABLE: &str = "denyd";
/// The longest name that we take for our table, in bytes; the kernel's own limit is 255 (`NFT_NAME_MAXLEN`).
const TABLE_MAX: usize = 64;
pub(super) const NAME: &str = "nftables";
const REPLACE: &str = "replace";
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
