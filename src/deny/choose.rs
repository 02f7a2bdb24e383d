//! Which back ends there are, which of them enforce, and how each is made.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use inputs::record::Timestamp;

use crate::decide::prefix::Prefix;

use super::cut::Cut;
use super::effect::Effect;
use super::hosts_deny::{self, Form, HostsDeny};
use super::iptables::{self, Iptables};
use super::ledger::{Ledger, Notes};
use super::nft::{self, Lengths, Nft};
use super::pf::{self, Pf};
use super::stdout::{self, Stdout};
use super::{DenyBackend, DenyError, Kept, Until};

/// All back ends, in the order in which `auto` tries them.
pub static KINDS: &[Kind] = &[
    Kind {
        usable: |settings| nft(settings, Lengths::default()).usable().map_err(|error| error.to_string()),
        auto: Some(|| Ok("the kernel has it")),
        place: |settings| Some(nft_place(settings)),
        ..Kind::plain(nft::NAME, |means| {
            Ledger::open(&nft_place(means.settings), (means.notes)()?, None)?;
            Ok(Box::new(nft(means.settings, means.lengths)))
        })
    },
    Kind {
        usable: |settings| iptables(settings).usable().map_err(|error| error.to_string()),
        auto: Some(|| Ok("the kernel has iptables")),
        place: |settings| Some(iptables_place(settings)),
        ..Kind::plain(iptables::NAME, |means| {
            Ledger::open(&iptables_place(means.settings), (means.notes)()?, None)?;
            Ok(Box::new(iptables(means.settings)))
        })
    },
    Kind {
        usable: |settings| refuses(&settings.hosts_deny).and_then(|()| writable(&settings.hosts_deny.path)),
        auto: Some(|| match sshd_reads_hosts_deny() {
            true => Ok("sshd reads hosts.deny"),
            false => Err("sshd is not linked with libwrap, so hosts.deny would do nothing".to_owned()),
        }),
        place: |settings| Some(hosts_deny::place(&settings.hosts_deny.path)),
        file: |settings| Some(&settings.hosts_deny.path),
        ..Kind::plain(hosts_deny::NAME, |means| {
            let settings = &means.settings.hosts_deny;
            let form = Form {
                service: settings.service.clone(),
                stamped: settings.comment.then(jiff::tz::TimeZone::system),
                adopt: means.lost,
            };
            let ledger = hosts_deny::ledger(&settings.path, (means.notes)()?)?;
            Ok(Box::new(HostsDeny::new(settings.path.clone(), form, ledger)))
        })
    },
    Kind {
        usable: |settings| settings.pf.usable().map_err(|error| error.to_string()),
        place: |settings| Some(settings.pf.place()),
        ..Kind::plain(pf::NAME, |means| {
            let settings = means.settings;
            let ledger = Ledger::open(&settings.pf.place(), (means.notes)()?, None)?;
            let pf = Pf::new(settings.pf.clone(), ledger).with_effect(settings.effect.clone());
            Ok(Box::new(pf.cutting(settings.cut_connections)))
        })
    },
    Kind::plain(stdout::NAME, |_| Ok(Box::new(Stdout::new(std::io::stdout())))),
];

/// A kind of back end.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in the configuration and in output.
    pub name: &'static str,
    make: Make,
    /// Says why it cannot be used.
    usable: fn(&Settings) -> Result<(), String>,
    /// Says why it denies on this machine if it can be used, or why not; `None` for one that is used only where it is named.
    auto: Option<fn() -> Result<&'static str, String>>,
    /// Where it writes, if that outlasts it.
    place: fn(&Settings) -> Option<String>,
    file: fn(&Settings) -> Option<&Path>,
}

type Make = fn(&Means<'_>) -> Result<Box<dyn DenyBackend>, String>;

impl Kind {
    /// One that can always be used, and is used where it is named.
    pub const fn plain(name: &'static str, make: Make) -> Kind {
        Kind { name, make, usable: |_| Ok(()), auto: None, place: |_| None, file: |_| None }
    }

    /// Says why it cannot be used; changes nothing.
    pub fn usable(&self, settings: &Settings) -> Result<(), String> {
        (self.usable)(settings)
    }

    /// The file that it replaces, if it writes one.
    pub fn file<'s>(&self, settings: &'s Settings) -> Option<&'s Path> {
        (self.file)(settings)
    }
}

/// The names are told apart in the configuration, so a name is one kind.
impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

/// Where denies are enforced, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By what.
    pub backends: Backends,
    /// What a deny does to packets.
    pub effect: Effect,
    /// Whether open connections of denied addresses are cut. Default false.
    pub cut_connections: bool,
    /// Whether a daemon that is stopped takes its denies away. Default false.
    pub release_on_exit: bool,
    /// Settings of nftables.
    pub nftables: nft::Settings,
    /// Settings of iptables.
    pub iptables: iptables::Settings,
    /// Settings of pf.
    pub pf: pf::Settings,
    /// Settings of hosts.deny.
    pub hosts_deny: hosts_deny::Settings,
}

impl Settings {
    /// Whether a firewall enforces.
    pub fn has_firewall(&self) -> bool {
        match &self.backends {
            Backends::Auto => find(self).is_ok_and(|found| found.kind.name != hosts_deny::NAME),
            Backends::These(kinds) => kinds.iter().any(|kind| ![hosts_deny::NAME, stdout::NAME].contains(&kind.name)),
        }
    }

    /// Whether hosts.deny enforces.
    pub fn has_hosts_deny(&self) -> bool {
        match &self.backends {
            Backends::Auto => find(self).is_ok_and(|found| found.kind.name == hosts_deny::NAME),
            Backends::These(kinds) => kinds.iter().any(|kind| kind.name == hosts_deny::NAME),
        }
    }

    /// Whether hosts.deny is all that enforces.
    pub fn has_hosts_deny_alone(&self) -> bool {
        matches!(&self.backends, Backends::These(kinds) if kinds.iter().all(|kind| kind.name == hosts_deny::NAME))
    }

    /// Why nobody is refused, if that is so: hosts.deny alone enforces, and sshd does not ask it.
    pub fn refuses_nobody(&self) -> Option<&'static str> {
        (self.has_hosts_deny_alone() && !sshd_reads_hosts_deny()).then_some(NOBODY)
    }
}

/// Which back ends enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backends {
    /// nftables where it can be used, else iptables, else hosts.deny if sshd is linked with libwrap. Found at start.
    #[default]
    Auto,
    /// All of these: at least one, none twice.
    These(Vec<&'static Kind>),
}

impl Backends {
    /// The one that only prints.
    pub fn printing() -> Backends {
        Backends::These(KINDS.iter().filter(|kind| kind.name == stdout::NAME).collect())
    }
}

/// What back ends are made of.
pub struct Means<'a> {
    /// What an administrator decides of them.
    pub settings: &'a Settings,
    /// The lengths of the prefixes that are denied by default.
    pub lengths: Lengths,
    /// Opens what outlasts us.
    pub notes: &'a dyn Fn() -> Result<Box<dyn Notes>, String>,
    /// What outlasts us was lost.
    pub lost: bool,
}

/// Why there is no back end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBackend {
    /// `auto` found none; each reason.
    #[error(
        "there is no way to deny on this machine: {}. Install nftables and run as root, or look without denying: denyd run \
         --dry-run",
        .0.join("; and ")
    )]
    Found(Vec<String>),
    /// It cannot be told whether the database was lost.
    #[error("no way to deny can be begun: the database cannot be read: {0}")]
    Lost(String),
    /// One cannot be made.
    #[error("{name} cannot be begun: the ledger in the database cannot be read: {cause}")]
    Made {
        /// Its name.
        name: &'static str,
        /// Why.
        cause: String,
    },
}

/// What `auto` means on a machine.
#[derive(Clone, Debug)]
pub struct Found {
    /// The back end.
    pub kind: &'static Kind,
    /// Why it denies here.
    pub because: &'static str,
    /// Those that come before it, and why each cannot be used.
    pub not: Vec<(&'static Kind, String)>,
}

/// What `auto` means on this machine.
pub fn find(settings: &Settings) -> Result<Found, NoBackend> {
    let mut not = Vec::new();
    for kind in KINDS {
        let Some(auto) = kind.auto else { continue };
        match auto().and_then(|because| kind.usable(settings).map(|()| because)) {
            Ok(because) => return Ok(Found { kind, because, not }),
            Err(why) => not.push((kind, why)),
        }
    }
    Err(NoBackend::Found(not.into_iter().map(|(_, why)| why).collect()))
}

/// Makes the back ends of the settings.
pub fn make(means: &Means<'_>) -> Result<Vec<Box<dyn DenyBackend>>, NoBackend> {
    let kinds = match &means.settings.backends {
        Backends::These(kinds) => kinds.clone(),
        Backends::Auto => {
            let Found { kind, because, not } = find(means.settings)?;
            for (other, why) in not {
                tracing::warn!(why, "{} cannot be used; {because}, so that is used", other.name);
            }
            vec![kind]
        }
    };
    let made = kinds.iter().map(|kind| (kind.make)(means).map_err(|cause| NoBackend::Made { name: kind.name, cause }));
    let mut made = made.collect::<Result<Vec<_>, _>>()?;
    // Where nothing is enforced, nothing is cut; pf does it itself.
    if means.settings.cut_connections && kinds.iter().any(|kind| ![stdout::NAME, pf::NAME].contains(&kind.name)) {
        made.push(Box::new(Cut::new(means.settings.effect.clone())));
    }
    Ok(made)
}

/// The places where these back ends of the settings write, as [`super::places`] has them.
pub fn places(settings: &Settings, back_ends: &[Box<dyn DenyBackend>]) -> Vec<String> {
    let kinds = KINDS.iter().filter(|kind| back_ends.iter().any(|back_end| back_end.name() == kind.name));
    kinds.filter_map(|kind| (kind.place)(settings)).collect()
}

/// What back ends deny now: what is left when the database was lost. Where no end can be told, `else_until` it is.
pub fn kept(
    backends: &mut [Box<dyn DenyBackend>],
    now: Timestamp,
    else_until: Until,
) -> Result<BTreeMap<Prefix, Until>, DenyError> {
    let mut kept = Kept::new();
    for backend in backends {
        kept.extend(backend.kept(now)?);
    }
    // So that an end that can be told takes the place of none.
    kept.sort_by_key(|(_, until)| until.is_some());
    Ok(kept.into_iter().map(|(prefix, until)| (prefix, until.unwrap_or(else_until))).collect())
}

/// What back ends allow now, inside what they deny.
pub fn allowed(backends: &mut [Box<dyn DenyBackend>], now: Timestamp) -> Result<Vec<Prefix>, DenyError> {
    let mut allowed = Vec::new();
    for backend in backends {
        allowed.extend(backend.allowed(now)?);
    }
    Ok(allowed)
}

/// Packets of single denies that were refused since the sets were last written, by all back ends of the settings together.
pub fn refused_of_each(settings: &Settings, lengths: Lengths) -> Result<BTreeMap<Prefix, u64>, String> {
    let kinds = enforcing(settings).map_err(|error| error.to_string())?;
    let mut all = BTreeMap::new();
    for kind in kinds {
        let mut back_end: Box<dyn DenyBackend> = match kind.name {
            nft::NAME => Box::new(nft(settings, lengths)),
            iptables::NAME => Box::new(iptables(settings)),
            _ => continue,
        };
        for (prefix, count) in back_end.refused_of_each().map_err(|error| error.to_string())? {
            *all.entry(prefix).or_default() += count;
        }
    }
    Ok(all)
}

/// Which kinds enforce by the settings.
fn enforcing(settings: &Settings) -> Result<Vec<&'static Kind>, NoBackend> {
    match &settings.backends {
        Backends::These(kinds) => Ok(kinds.clone()),
        Backends::Auto => Ok(vec![find(settings)?.kind]),
    }
}

/// By each kind that enforces, how what is denied is refused, as it is read back here and now; an error says why it is not.
/// `at_work`: the names of those that a daemon has chosen.
pub fn prove(
    settings: &Settings,
    lengths: Lengths,
    at_work: Option<&[&str]>,
    denied: Option<&Prefix>,
    now: Timestamp,
) -> Vec<(&'static str, Result<String, String>)> {
    let kinds = match at_work {
        Some(names) => KINDS.iter().filter(|kind| names.contains(&kind.name)).collect(),
        None => enforcing(settings).unwrap_or_default(),
    };
    let is_alone = kinds.len() == 1;
    let prove = |kind: &'static Kind| {
        let said = match kind.name {
            nft::NAME => nft(settings, lengths).prove(denied, now).map_err(|error| error.to_string()),
            iptables::NAME => iptables(settings).prove(denied).map_err(|error| error.to_string()),
            hosts_deny::NAME if is_alone && !sshd_reads_hosts_deny() => Err(NOBODY.to_owned()),
            hosts_deny::NAME => hosts_deny::prove(&settings.hosts_deny, denied),
            _ => return None,
        };
        Some((kind.name, said))
    };
    kinds.into_iter().filter_map(prove).collect()
}

fn nft_place(settings: &Settings) -> String {
    format!("{} inet {}", nft::NAME, settings.nftables.table)
}

fn iptables_place(settings: &Settings) -> String {
    format!("{} {}", iptables::NAME, settings.iptables.chain)
}

fn nft(settings: &Settings, lengths: Lengths) -> Nft {
    Nft::new(settings.nftables.table.clone(), lengths).with_effect(settings.effect.clone())
}

fn iptables(settings: &Settings) -> Iptables {
    Iptables::new(settings.iptables.chain.clone()).with_effect(settings.effect.clone())
}

/// Says why what is written would refuse nobody: in a file of libwrap's own a line needs a service.
fn refuses(settings: &hosts_deny::Settings) -> Result<(), String> {
    let own = ["hosts.deny", "hosts.allow"].iter().any(|name| settings.path.ends_with(name));
    match own && settings.service.to_string().is_empty() {
        true => Err(format!(
            "a line of an address alone refuses nobody in {}: name a service there (sshd, or ALL), or another file, a list file",
            settings.path.display()
        )),
        false => Ok(()),
    }
}

/// What is said where hosts.deny is all there is and sshd does not ask it.
const NOBODY: &str = "sshd is not linked with libwrap, so it does not ask hosts.deny, and NOBODY IS REFUSED: let a firewall enforce as \
    well, backends = [\"hosts.deny\", \"nftables\"]";

/// Says why a file can neither be written nor made.
fn writable(file: &Path) -> Result<(), String> {
    let probe = if file.exists() { Some(file) } else { file.parent() };
    let may = nix::unistd::access(probe.unwrap_or(file), nix::unistd::AccessFlags::W_OK);
    may.map_err(|error| format!("{} cannot be written: {}", file.display(), error.desc()))
}

/// Whether this machine's sshd asks libwrap: Debian's does up to 12 in `sshd`, in 13 in `sshd-session`.
pub fn sshd_reads_hosts_deny() -> bool {
    const PROGRAMS: &[&str] = &[
        "/usr/sbin/sshd",
        "/usr/local/sbin/sshd",
        "/usr/lib/openssh/sshd-session",
        "/usr/libexec/openssh/sshd-session",
    ];
    PROGRAMS.iter().any(|program| mentions(Path::new(program), b"libwrap.so"))
}

fn mentions(program: &Path, name: &[u8]) -> bool {
    const PROGRAM_MAX: u64 = 64 << 20;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(PROGRAM_MAX).read_to_end(&mut bytes));
    read.is_ok() && memchr::memmem::find(&bytes, name).is_some()
}
