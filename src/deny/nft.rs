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
//! # What it does not do
//!
//! [`Nft::probe`] sees at once that a table, chain, set or rule is missing. Of a foreign commit that leaves those alone
//! it cannot say whether it took elements of ours: then the set is written anew, for at most a hundredth of the time.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use inputs::record::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::decide::prefix::Prefix;

use super::span::{flatten, join};
use super::{AllowRange, DenyBackend, DenyError, DenySet, Diff, Life, Probe, Until, netlink};

/// The nftables back end. Needs CAP_NET_ADMIN and the program `nft`.
#[derive(Debug)]
pub struct Nft {
    table: String,
    hashed: Lengths,
    /// Where `nft` is, if not in [`DIRECTORIES`].
    binary: Option<PathBuf>,
    /// The kernel's generation when our table was last known to be well.
    generation: Option<u32>,
}

/// The prefix lengths that go into hash sets: those that addresses are denied with by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Bits of an IPv4 prefix, 1 to 32.
    pub v4: u8,
    /// Bits of an IPv6 prefix, 1 to 128.
    pub v6: u8,
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { v4: 32, v6: 64 }
    }
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
        Err(format!("a table's name: letters, digits, _ and -, a letter first, at most {TABLE_MAX}"))
    }
}

impl Nft {
    /// A back end for table `inet TABLE`, which is ours alone. Prefixes of the lengths in `hashed` are the fast ones.
    pub fn new(table: Table, hashed: Lengths) -> Self {
        Nft { table: table.0, hashed, binary: None, generation: None }
    }

    /// Uses this program instead of looking for `nft`.
    pub fn with_binary(self, binary: PathBuf) -> Self {
        Nft { binary: Some(binary), ..self }
    }

    /// Asks whether nftables can be used; changes nothing.
    pub async fn usable(&mut self) -> Result<(), DenyError> {
        let table = &self.table;
        self.run("make", &["-c", "-f", "-"], &format!("add table inet {table}\n")).await?;
        Ok(())
    }

    /// What is denied in the kernel now, whoever put it there; nothing if our table is not there.
    pub async fn kept(&self, now: Timestamp) -> Result<Vec<(Prefix, Until)>, DenyError> {
        let tables = self.run("look for", &["list", "tables", "inet"], "").await?;
        let ours = format!("table inet {}", self.table);
        if !String::from_utf8_lossy(&tables).lines().any(|line| line.trim() == ours) {
            return Ok(Vec::new());
        }
        let mut kept = Vec::new();
        for set in ["deny4", "deny6", "wide4", "wide6"] {
            let listing = self.run("list", &["-j", "list", "set", "inet", &self.table, set], "").await?;
            let elements = super::kept::elements(&listing, (self.hashed.v4, self.hashed.v6), now);
            kept.extend(elements.map_err(|cause| DenyError {
                backend: NAME,
                tried: format!("read set {set}"),
                cause,
                remedy: None,
            })?);
        }
        Ok(kept)
    }

    /// Takes our table out of the kernel, and with it every deny. Not an error if there is none.
    pub async fn remove(&mut self) -> Result<(), DenyError> {
        self.generation = None;
        let table = &self.table;
        self.run("remove", &["-f", "-"], &format!("add table inet {table}\ndelete table inet {table}\n")).await?;
        Ok(())
    }

    /// Commits a transaction; the generation is known only if ours was the one commit meanwhile.
    async fn commit(&mut self, verb: &str, script: &str) -> Result<(), DenyError> {
        // `None` first: if this future is dropped half way, the next probe looks closely
        let known = self.generation.take();
        let before = netlink::generation();
        self.run(verb, &["-f", "-"], script).await?;
        let after = netlink::generation();
        let alone = before.is_some_and(|before| after == Some(before.wrapping_add(1)));
        // an update also leans on what was there before it
        let well = alone && (verb == REPLACE || known == before);
        self.generation = after.filter(|_| well);
        Ok(())
    }

    async fn run(&self, verb: &str, arguments: &[&str], input: &str) -> Result<Vec<u8>, DenyError> {
        let fail = |cause: String, remedy| DenyError {
            backend: NAME,
            tried: format!("{verb} table inet {}", self.table),
            cause,
            remedy,
        };
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => DIRECTORIES
                .iter()
                .map(|directory| Path::new(directory).join("nft"))
                .find(|path| path.is_file())
                .ok_or_else(|| fail(format!("no nft in {}", DIRECTORIES.join(", ")), Some(INSTALL)))?,
        };
        let child = Command::new(&binary)
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| fail(format!("{}: {error}", binary.display()), Some(INSTALL)))?;
        let ended = tokio::time::timeout(TIME_MAX, talk(child, input.as_bytes())).await;
        let outcome = match ended {
            Err(_) => return Err(fail(format!("nft took more than {} s", TIME_MAX.as_secs()), None)),
            Ok(Err(error)) => return Err(fail(format!("cannot talk to nft: {error}"), None)),
            Ok(Ok(outcome)) => outcome,
        };
        if outcome.status.success() {
            return Ok(outcome.stdout);
        }
        let cause = complaint(&outcome.stderr).unwrap_or_else(|| format!("nft ended with {}", outcome.status));
        let remedy = remedy(&cause);
        Err(fail(cause, remedy))
    }

    /// The length of the hash set that `prefix` would be in, and the set's name.
    fn hash(&self, prefix: &Prefix) -> (u8, &'static str) {
        if prefix.is_ipv4() { (self.hashed.v4, "deny4") } else { (self.hashed.v6, "deny6") }
    }

    fn is_hashed(&self, prefix: &Prefix) -> bool {
        prefix.bits() == self.hash(prefix).0
    }

    fn replace_script(&self, want: &DenySet, now: Timestamp) -> String {
        let table = &self.table;
        let mut script = format!("add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
        for family in [4, 6] {
            let kind = format!("type ipv{family}_addr");
            script += &format!("set allow{family} {{ {kind}; flags interval; }}\n");
            script += &format!("set deny{family} {{ {kind}; flags timeout; }}\n");
            script += &format!("set wide{family} {{ {kind}; flags interval, timeout; }}\n");
        }
        script += &format!("chain {CHAIN} {{\ntype filter hook prerouting priority {PRIORITY}; policy accept;\n");
        for rule in self.rules() {
            script += &rule;
            script.push('\n');
        }
        script += "}\n}\n";
        self.add_allowed(&mut script, &want.allowed);
        for set in ["deny4", "deny6"] {
            let hashed = want.denied.iter().filter(|(prefix, _)| self.is_hashed(prefix) && self.hash(prefix).1 == set);
            self.elements(
                &mut script,
                "add",
                set,
                hashed.filter_map(|(prefix, until)| element(prefix.address(), *until, now)),
            );
        }
        self.add_wide(&mut script, "wide4", want, now);
        self.add_wide(&mut script, "wide6", want, now);
        script
    }

    fn rules(&self) -> [String; RULES] {
        let v4 = match self.hashed.v4 {
            32 => String::new(),
            bits => format!(" & {}", Ipv4Addr::from(u32::MAX << (32 - bits))),
        };
        let v6 = match self.hashed.v6 {
            128 => String::new(),
            bits => format!(" & {}", Ipv6Addr::from(u128::MAX << (128 - bits))),
        };
        [
            "iif lo accept".to_owned(),
            "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept"
                .to_owned(),
            "ip saddr @allow4 accept".to_owned(),
            "ip6 saddr @allow6 accept".to_owned(),
            format!("ip saddr{v4} @deny4 counter drop"),
            format!("ip6 saddr{v6} @deny6 counter drop"),
            "ip saddr @wide4 counter drop".to_owned(),
            "ip6 saddr @wide6 counter drop".to_owned(),
        ]
    }

    /// Only what `diff` names; what becomes of it is looked up in `want`.
    fn update_script(&self, diff: &Diff, want: &DenySet, now: Timestamp) -> String {
        let table = &self.table;
        let mut script = String::new();
        if diff.allowed.is_some() {
            script += &format!("flush set inet {table} allow4\nflush set inet {table} allow6\n");
            self.add_allowed(&mut script, &want.allowed);
        }
        let (hashed, wide): (Vec<Prefix>, Vec<Prefix>) = diff.touched().partition(|prefix| self.is_hashed(prefix));
        for set in ["deny4", "deny6"] {
            let touched: Vec<&Prefix> = hashed.iter().filter(|prefix| self.hash(prefix).1 == set).collect();
            // A delete fails on what is not there, so it is added first. An add does not change the end of
            // what is there on kernels before 6.12, so that is deleted first.
            for verb in ["add", "delete"] {
                self.elements(&mut script, verb, set, touched.iter().map(|prefix| prefix.address().to_string()));
            }
            let kept = touched.iter().filter_map(|prefix| element(prefix.address(), *want.denied.get(prefix)?, now));
            self.elements(&mut script, "add", set, kept);
        }
        for (set, ipv4) in [("wide4", true), ("wide6", false)] {
            if wide.iter().any(|prefix| prefix.is_ipv4() == ipv4) {
                script += &format!("flush set inet {table} {set}\n");
                self.add_wide(&mut script, set, want, now);
            }
        }
        script
    }

    fn add_allowed(&self, script: &mut String, allowed: &[AllowRange]) {
        let spans = join(allowed);
        for (set, ipv4) in [("allow4", true), ("allow6", false)] {
            let family = spans.iter().filter(|span| span.ipv4 == ipv4);
            self.elements(script, "add", set, family.map(|span| span.to_string()));
        }
    }

    fn add_wide(&self, script: &mut String, set: &str, want: &DenySet, now: Timestamp) {
        let wide = want.denied.iter().filter(|(prefix, until)| {
            let family = prefix.is_ipv4() == (set == "wide4");
            family && !self.is_hashed(prefix) && Life::left(**until, now) != Life::Over
        });
        let flat = flatten(wide.map(|(prefix, until)| (*prefix, *until)));
        self.elements(script, "add", set, flat.iter().filter_map(|(span, until)| element(span, *until, now)));
    }

    /// Writes one command for every [`ELEMENTS_MAX`] elements; none for none.
    fn elements(&self, script: &mut String, verb: &str, set: &str, elements: impl Iterator<Item = String>) {
        let mut written = 0;
        for element in elements {
            match written % ELEMENTS_MAX {
                0 if written > 0 => _ = write!(script, " }}\n{verb} element inet {} {set} {{ {element}", self.table),
                0 => _ = write!(script, "{verb} element inet {} {set} {{ {element}", self.table),
                _ => _ = write!(script, ", {element}"),
            }
            written += 1;
        }
        if written > 0 {
            script.push_str(" }\n");
        }
    }

    /// What is wrong with our table in a listing of all of family inet, if anything.
    fn fault(&self, listing: &str) -> Option<String> {
        let head = format!("table inet {} {{", self.table);
        let mut lines = listing.lines().skip_while(|line| *line != head);
        if lines.next().is_none() {
            return Some("the table is gone".to_owned());
        }
        let ours: Vec<&str> = lines.take_while(|line| *line != "}").map(str::trim).collect();
        for set in ["allow4", "allow6", "deny4", "deny6", "wide4", "wide6"] {
            if !ours.contains(&format!("set {set} {{").as_str()) {
                return Some(format!("set {set} is gone"));
            }
        }
        let mut chain = ours.iter().skip_while(|line| !line.starts_with("type filter hook prerouting"));
        if chain.next().is_none() {
            return Some("the chain is gone".to_owned());
        }
        let rules = chain.take_while(|line| **line != "}").count();
        (rules != RULES).then(|| format!("{rules} rules where there were {RULES}"))
    }
}

impl DenyBackend for Nft {
    fn name(&self) -> &str {
        NAME
    }

    async fn replace(&mut self, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let script = self.replace_script(want, now);
        self.commit(REPLACE, &script).await
    }

    async fn update(&mut self, diff: &Diff, want: &DenySet, now: Timestamp) -> Result<(), DenyError> {
        let script = self.update_script(diff, want, now);
        if script.is_empty() { Ok(()) } else { self.commit("update", &script).await }
    }

    /// Costs one netlink message while nobody else changes rules, else one `nft` process (12 ms).
    async fn probe(&mut self) -> Result<Probe, DenyError> {
        // asked before the listing: a change in between is looked at next time
        let generation = netlink::generation();
        if generation.is_some() && generation == self.generation {
            return Ok(Probe::Ours);
        }
        self.generation = None;
        // `list chain` reads all elements of our sets (1.1 s for 100 000); this one, terse, none (12 ms)
        let listing = self.run("look at", &["-t", "list", "ruleset", "inet"], "").await?;
        if let Some(cause) = self.fault(&String::from_utf8_lossy(&listing)) {
            return Err(DenyError {
                backend: NAME,
                tried: format!("find table inet {} as we left it", self.table),
                cause,
                remedy: Some("look for what changes it: a firewall's reload should not do \"flush ruleset\""),
            });
        }
        self.generation = generation;
        // Somebody committed something: perhaps only elements of ours, which no listing that is cheap shows.
        Ok(if generation.is_some() { Probe::Touched } else { Probe::Ours })
    }
}

/// What a process said and how it ended.
struct Outcome {
    status: std::process::ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Writes all of `input` while reading both outputs, so that no pipe fills up.
async fn talk(mut child: Child, input: &[u8]) -> std::io::Result<Outcome> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        let Some(mut stdin) = stdin else { return Ok(()) };
        match stdin.write_all(input).await {
            // it ended early, and its status says why
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            done => done,
        }
    };
    let (written, stdout, stderr) = tokio::join!(write, read(stdout, STDOUT_MAX), read(stderr, STDERR_MAX));
    let status = child.wait().await?;
    written?;
    Ok(Outcome { status, stdout: stdout?, stderr: stderr? })
}

/// Reads to the end, keeps the first `most` bytes.
async fn read(from: Option<impl AsyncRead + Unpin>, most: usize) -> std::io::Result<Vec<u8>> {
    let Some(mut from) = from else { return Ok(Vec::new()) };
    let mut kept = Vec::new();
    (&mut from).take(most as u64).read_to_end(&mut kept).await?;
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(kept)
}

/// An element with its timeout; `None` for one that has ended.
fn element(key: impl fmt::Display, until: Until, now: Timestamp) -> Option<String> {
    match Life::left(until, now) {
        Life::Over => None,
        Life::Seconds(left) => Some(format!("{key} timeout {}s", left.min(TIMEOUT_MAX_S))),
        Life::Forever => Some(key.to_string()),
    }
}

/// nft's first complaint, without the place in our script: that changes from try to try.
fn complaint(stderr: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    let line = line.split_once("Error: ").map_or(line, |(_, rest)| rest).trim();
    Some(line.chars().filter(|c| !c.is_control()).take(COMPLAINT_MAX).collect())
}

fn remedy(cause: &str) -> Option<&'static str> {
    if cause.contains("Operation not permitted") {
        Some("run denyd with CAP_NET_ADMIN")
    } else if cause.contains("not supported") {
        Some("the kernel has no nf_tables for family inet: load it, or choose another back end")
    } else {
        None
    }
}

/// The table's usual name.
pub const TABLE: &str = "denyd";
/// The longest name that we take for our table, in bytes; the kernel's own limit is 255 (`NFT_NAME_MAXLEN`).
const TABLE_MAX: usize = 64;
const CHAIN: &str = "prerouting";
const PRIORITY: i32 = -300;
const RULES: usize = 8;
const NAME: &str = "nftables";
const REPLACE: &str = "replace";
const INSTALL: &str = "install the package nftables, or choose another back end";
/// Where `nft` is looked for. `$PATH` is not asked: it is not ours.
const DIRECTORIES: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
/// Elements a command: 1000 a line is as fast as all in one, and four times one a line.
const ELEMENTS_MAX: usize = 1000;
/// 3 years: nft 1.0.6 reads no more than eight digits. The daily `replace` starts it anew.
const TIMEOUT_MAX_S: u64 = 99_999_999;
/// 100 000 elements take half a second; a million on a slow box must not be cut off.
const TIME_MAX: Duration = Duration::from_secs(60);
/// A listing without elements, all tables of family inet.
const STDOUT_MAX: usize = 16 * 1024 * 1024;
const STDERR_MAX: usize = 4 * 1024;
/// Characters of nft's complaint that go into an error.
const COMPLAINT_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(denied: &str) -> DenySet {
        let item = |item: &str| {
            let (prefix, end) = item.split_once('@').unwrap();
            (prefix.parse().unwrap(), end.parse().ok().map(Timestamp::from_secs))
        };
        DenySet { denied: denied.split_whitespace().map(item).collect(), allowed: Vec::new() }
    }

    fn nft(v4: u8, v6: u8) -> Nft {
        Nft::new("t".parse().unwrap(), Lengths { v4, v6 })
    }

    /// The lines of a script that name elements, without `element inet t`.
    fn elements(script: &str) -> String {
        let lines = script.lines().filter(|line| line.contains(" element ") || line.starts_with("flush"));
        lines.map(|line| line.replace(" element inet t", "").replace(" set inet t", "")).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn sorts_prefixes_into_sets() {
        let check = |nft: Nft, denied: &str, want: &str| {
            assert_eq!(elements(&nft.replace_script(&set(denied), Timestamp::from_secs(100))), want, "{denied}");
        };
        check(nft(32, 64), "192.0.2.1@160 192.0.2.2@- 192.0.2.3@100", "add deny4 { 192.0.2.1 timeout 60s, 192.0.2.2 }");
        check(nft(32, 64), "2001:db8::/64@101", "add deny6 { 2001:db8:: timeout 1s }");
        check(
            nft(32, 64),
            "2001:db8::1@- 2001:db8:1::/48@- 192.0.2.0/24@101",
            "add wide4 { 192.0.2.0-192.0.2.255 timeout 1s }; \
             add wide6 { 2001:db8::1, 2001:db8:1::-2001:db8:1:ffff:ffff:ffff:ffff:ffff }",
        );
        check(nft(24, 128), "192.0.2.0/24@- 2001:db8::1@-", "add deny4 { 192.0.2.0 }; add deny6 { 2001:db8::1 }");
        check(nft(24, 128), "192.0.2.1@-", "add wide4 { 192.0.2.1 }");
        check(nft(32, 64), "192.0.2.1@9000000000", "add deny4 { 192.0.2.1 timeout 99999999s }");
    }

    #[test]
    fn masks() {
        assert_eq!(nft(24, 56).rules()[4], "ip saddr & 255.255.255.0 @deny4 counter drop");
        assert_eq!(nft(32, 56).rules()[5], "ip6 saddr & ffff:ffff:ffff:ff00:: @deny6 counter drop");
        assert_eq!(nft(1, 128).rules()[4], "ip saddr & 128.0.0.0 @deny4 counter drop");
        assert_eq!(nft(32, 128).rules()[5], "ip6 saddr @deny6 counter drop");
    }

    #[test]
    fn updates_only_what_changed() {
        let check = |denied: &str, released: &str, after: &str, want: &str| {
            let diff = Diff {
                denied: set(denied).denied.into_iter().collect(),
                released: released.split_whitespace().map(|p| p.parse().unwrap()).collect(),
                allowed: None,
            };
            let script = nft(32, 64).update_script(&diff, &set(after), Timestamp::from_secs(100));
            assert_eq!(elements(&script), want, "{denied} released {released}");
        };
        check("", "", "192.0.2.7@-", "");
        check(
            "192.0.2.1@160",
            "192.0.2.2",
            "192.0.2.1@160 192.0.2.7@-",
            "add deny4 { 192.0.2.1, 192.0.2.2 }; delete deny4 { 192.0.2.1, 192.0.2.2 }; add deny4 { 192.0.2.1 timeout 60s }",
        );
        check("192.0.2.1@99", "", "192.0.2.1@99", "add deny4 { 192.0.2.1 }; delete deny4 { 192.0.2.1 }");
        // the wanted set wins
        check("192.0.2.1@160", "192.0.2.1", "", "add deny4 { 192.0.2.1 }; delete deny4 { 192.0.2.1 }");
        // a wider one is released: the narrower one comes back, the hosts are left alone
        check(
            "",
            "192.0.2.0/24",
            "192.0.2.0/25@160 192.0.2.7@- 2001:db8::/48@-",
            "flush wide4; add wide4 { 192.0.2.0-192.0.2.127 timeout 60s }",
        );
        check("2001:db8::/48@90", "", "2001:db8::/48@90", "flush wide6");
    }

    #[test]
    fn cuts_long_commands() {
        let denied = (0..2001_u32).map(|n| (Prefix::host(Ipv4Addr::from(0x0a00_0000 + n)), None)).collect();
        let script = nft(32, 64).replace_script(&DenySet { denied, allowed: Vec::new() }, Timestamp(0));
        let counts: Vec<usize> =
            script.lines().filter(|l| l.starts_with("add element")).map(|l| l.matches("10.0.").count()).collect();
        assert_eq!(counts, [1000, 1000, 1]);
    }

    #[test]
    fn refuses_names() {
        for bad in ["", "a b", "1a", "-a", "a;b", "a{", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<Table>().is_err(), "{bad}");
        }
    }

    #[test]
    fn complains_in_one_line() {
        let check = |stderr: &str, want: Option<&str>| assert_eq!(complaint(stderr.as_bytes()).as_deref(), want);
        check("", None);
        check(
            "/dev/stdin:3:1-9: Error: No such file or directory\nadd element\n^^^\n",
            Some("No such file or directory"),
        );
        check(
            "netlink: Error: cache initialization failed: Operation not permitted\n",
            Some("cache initialization failed: Operation not permitted"),
        );
        check("\n\x1b[1mhm\n", Some("[1mhm"));
        check(&"x".repeat(4000), Some(&"x".repeat(300)));
    }
}
