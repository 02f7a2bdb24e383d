//! Which back ends enforce, found or configured, and their start.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use inputs::record::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::store::Store;

use super::hosts_deny::{self, Form, HostsDeny};
use super::nft::{self, Lengths, Nft};
use super::reconciler::{Feed, Pace, Reconciler, SnapshotRequest, Status};
use super::stdout::Stdout;
use super::{DenyBackend, DenySet, Until};

/// Where denies are enforced, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By what.
    pub backends: Backends,
    /// Settings of [`Backend::Nftables`].
    pub nftables: nft::Settings,
    /// Settings of [`Backend::HostsDeny`].
    pub hosts_deny: hosts_deny::Settings,
}

/// Which back ends enforce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Backends {
    /// nftables where it can be used, else hosts.deny if sshd is linked with libwrap. Found at start.
    #[default]
    Auto,
    /// All of these: at least one, none twice.
    These(Vec<Backend>),
}

/// Something that enforces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's packet filter.
    Nftables,
    /// libwrap's file.
    HostsDeny,
    /// Enforces nothing; prints what was denied and released.
    Stdout,
}

impl Backend {
    /// Its name in the configuration and in output.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Nftables => "nftables",
            Backend::HostsDeny => "hosts.deny",
            Backend::Stdout => "stdout",
        }
    }
}

/// One back end.
enum Place {
    Nft(Nft),
    HostsDeny(HostsDeny),
    Stdout(Stdout<std::io::Stdout>),
}

/// All back ends that enforce.
pub struct Places(Vec<Place>);

/// The back ends of the configuration; `auto` tries nftables, then hosts.deny.
pub async fn find(config: &Config, dry_run: bool, store: &mut Store) -> anyhow::Result<Places> {
    if dry_run {
        return Ok(Places(vec![Place::Stdout(Stdout::new(std::io::stdout()))]));
    }
    let chosen = match &config.deny.backends {
        Backends::These(chosen) => chosen.clone(),
        Backends::Auto => {
            let (found, why) = choose(config).await?;
            if let Some(why) = why {
                tracing::warn!(why, "nftables cannot be used; sshd reads hosts.deny, so that is used");
            }
            vec![found]
        }
    };
    let mut places = Vec::new();
    for backend in chosen {
        places.push(match backend {
            Backend::Nftables => Place::Nft(nft(config)),
            Backend::HostsDeny => Place::HostsDeny(hosts_deny(config, store)?),
            Backend::Stdout => Place::Stdout(Stdout::new(std::io::stdout())),
        });
    }
    Ok(Places(places))
}

/// What `auto` means on this machine, and why it is not nftables.
pub async fn choose(config: &Config) -> anyhow::Result<(Backend, Option<String>)> {
    let Err(why_not) = nft(config).usable().await else { return Ok((Backend::Nftables, None)) };
    let file = &config.deny.hosts_deny.path;
    let why_not_either = if !sshd_reads_hosts_deny() {
        "and sshd is not linked with libwrap, so hosts.deny would do nothing".to_owned()
    } else if let Err(error) = writable(file) {
        format!("and {} cannot be written: {error}", file.display())
    } else {
        return Ok((Backend::HostsDeny, Some(why_not.to_string())));
    };
    bail!(
        "there is no way to deny on this machine: {why_not}; {why_not_either}. Install nftables and run as root, or \
         look without denying: denyd run --dry-run"
    )
}

/// Why a back end that the configuration names cannot be used, for `check`.
pub async fn try_backend(config: &Config, backend: Backend) -> anyhow::Result<()> {
    let file = &config.deny.hosts_deny.path;
    match backend {
        Backend::Nftables => Ok(nft(config).usable().await?),
        Backend::HostsDeny => writable(file).with_context(|| format!("{} cannot be written", file.display())),
        Backend::Stdout => Ok(()),
    }
}

/// Whether a file can be written, or made.
fn writable(file: &Path) -> nix::Result<()> {
    let probe = if file.exists() { Some(file) } else { file.parent() };
    nix::unistd::access(probe.unwrap_or(file), nix::unistd::AccessFlags::W_OK)
}

fn nft(config: &Config) -> Nft {
    let lengths = Lengths { v4: config.decide.policy.ipv4_bits, v6: config.decide.policy.ipv6_bits };
    Nft::new(config.deny.nftables.table.clone(), lengths)
}

fn hosts_deny(config: &Config, store: &mut Store) -> anyhow::Result<HostsDeny> {
    const LEDGER: &str = "hosts_deny_ledger";
    let settings = &config.deny.hosts_deny;
    let form = Form {
        service: settings.service.clone(),
        stamped: settings.comment.then(jiff::tz::TimeZone::system),
        adopt: store.set_aside.is_some(),
    };
    let kept = store.note(LEDGER)?.map(|json| serde_json::from_str::<BTreeSet<String>>(&json));
    let ledger = kept.transpose().context("the ledger of hosts.deny in the database cannot be read")?;
    let mut keeper = store.keeper()?;
    let keep = move |ledger: &BTreeSet<String>| {
        let json = serde_json::to_string(ledger).map_err(|error| error.to_string())?;
        keeper.set_note(LEDGER, &json).map_err(|error| error.to_string())
    };
    Ok(HostsDeny::new(settings.path.clone(), form, ledger.unwrap_or_default(), Box::new(keep)))
}

/// Whether this machine's sshd asks libwrap: Debian's does up to 12 in `sshd`, in 13 in `sshd-session`.
fn sshd_reads_hosts_deny() -> bool {
    const PROGRAMS: &[&str] = &[
        "/usr/sbin/sshd",
        "/usr/local/sbin/sshd",
        "/usr/lib/openssh/sshd-session",
        "/usr/libexec/openssh/sshd-session",
    ];
    PROGRAMS.iter().map(PathBuf::from).any(|program| mentions(&program, b"libwrap.so"))
}

fn mentions(program: &Path, name: &[u8]) -> bool {
    const PROGRAM_MAX: u64 = 64 << 20;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(program).and_then(|file| file.take(PROGRAM_MAX).read_to_end(&mut bytes));
    read.is_ok() && memchr::memmem::find(&bytes, name).is_some()
}

impl Places {
    /// What they are called.
    pub fn names(&self) -> Vec<String> {
        let name = |place: &Place| match place {
            Place::Nft(nft) => nft.name().to_owned(),
            Place::HostsDeny(hosts_deny) => hosts_deny.name().to_owned(),
            Place::Stdout(stdout) => stdout.name().to_owned(),
        };
        self.0.iter().map(name).collect()
    }

    /// What they deny now: what is left when the database was lost. hosts.deny tells no end: `else_until` it is.
    pub async fn kept(&self, now: Timestamp, else_until: Until) -> anyhow::Result<BTreeMap<Prefix, Until>> {
        let mut kept = BTreeMap::new();
        let mut timeless = Vec::new();
        for place in &self.0 {
            match place {
                Place::Nft(backend) => kept.extend(backend.kept(now).await?),
                Place::HostsDeny(backend) => timeless.extend(backend.kept().await?),
                Place::Stdout(_) => {}
            }
        }
        for prefix in timeless {
            kept.entry(prefix).or_insert(else_until);
        }
        Ok(kept)
    }

    /// Starts a reconciler for each; they end when the feeds are dropped.
    pub fn start(
        self,
        tasks: &mut JoinSet<()>,
        snapshots: mpsc::Sender<SnapshotRequest>,
    ) -> (Vec<Feed>, Vec<watch::Receiver<Status>>) {
        let mut feeds = Vec::new();
        let mut statuses = Vec::new();
        for place in self.0 {
            let (feed, status) = match place {
                Place::Nft(backend) => start(backend, tasks, snapshots.clone()),
                Place::HostsDeny(backend) => start(backend, tasks, snapshots.clone()),
                Place::Stdout(backend) => start(backend, tasks, snapshots.clone()),
            };
            feeds.push(feed);
            statuses.push(status);
        }
        (feeds, statuses)
    }

    /// Makes each exactly so, once: for the command line while no daemon runs.
    pub async fn replace(&mut self, want: &DenySet, now: Timestamp) -> anyhow::Result<()> {
        for place in &mut self.0 {
            match place {
                Place::Nft(backend) => backend.replace(want, now).await?,
                Place::HostsDeny(backend) => backend.replace(want, now).await?,
                Place::Stdout(backend) => backend.replace(want, now).await?,
            }
        }
        Ok(())
    }
}

fn start<B: DenyBackend + Sync + 'static>(
    backend: B,
    tasks: &mut JoinSet<()>,
    snapshots: mpsc::Sender<SnapshotRequest>,
) -> (Feed, watch::Receiver<Status>) {
    let (reconciler, feed, status) = Reconciler::new(backend, clock::now, Pace::default(), snapshots);
    tasks.spawn(async move {
        reconciler.run().await;
    });
    (feed, status)
}
