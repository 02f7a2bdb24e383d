//! One denyd a place: two that keep one table equal to what each of them wants would undo each other's work for ever.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Result, anyhow};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::config::Config;
use crate::deny::DenyBackend;

/// Where the locks are, whatever else is configured: the daemons would differ in that.
const DIRECTORY: &str = "/run/denyd";

/// The places that are ours alone, and their locks, which are held as long as the daemon runs: what is left may stand there
/// for a while.
#[derive(Debug, Default)]
pub(super) struct Alone(BTreeMap<String, Option<Flock<File>>>);

impl Alone {
    /// Takes the lock of each place in the kernel that these back ends write to, too; an error names who has it.
    pub(super) fn also(&mut self, config: &Config, back_ends: &[Box<dyn DenyBackend>]) -> Result<()> {
        for back_end in back_ends {
            let (place, key) = match back_end.name() {
                "nftables" => (format!("table inet {}", config.deny.nftables.table), "nftables.table"),
                "iptables" => (format!("chain {}", config.deny.iptables.chain), "iptables.chain"),
                "pf" => (config.deny.pf.place(), "pf.table"),
                _ => continue,
            };
            if let Entry::Vacant(free) = self.0.entry(place) {
                let place = free.key();
                let lock = take(place).map_err(|pid| {
                    anyhow!("another denyd (pid {pid}) keeps {place}; stop it first, or give this one another {key}")
                })?;
                free.insert(lock);
            }
        }
        Ok(())
    }
}

/// The lock; `None` where there can be no file: that is no reason to deny nobody. An error is the holder's pid.
fn take(place: &str) -> Result<Option<Flock<File>>, String> {
    let _ = fs::DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY);
    let path = Path::new(DIRECTORY).join(format!("{}.lock", place.replace(' ', "-")));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
    let open = options.open(&path);
    let Ok(file) = open else {
        tracing::debug!(path = %path.display(), "no lock can be made: it is not seen whether another denyd keeps the same");
        return Ok(None);
    };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let _ = lock.set_len(0);
            let _ = writeln!(lock, "{}", std::process::id());
            Ok(Some(lock))
        }
        Err((file, Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            let _ = file.take(20).read_to_string(&mut pid);
            Err(pid.trim().parse::<u32>().map_or("unknown".to_owned(), |pid| pid.to_string()))
        }
        Err(_) => Ok(None),
    }
}
