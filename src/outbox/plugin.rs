//! Runs the programs of `[plugin]`: a few at once, never two for one prefix at once, and those for one prefix in the order
//! of its decisions. What fails is logged and counted, and not done again.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Mutex, PoisonError};
use std::thread;

use inputs::record::Timestamp;
use serde::{Deserialize, Serialize};

use super::news::{News, What};
use super::output::{Beside, Output, Told, lock};
use crate::config::plugin::{Argument, Plugin};
use crate::decide::prefix::Prefix;
use crate::desk::reply::At;
use crate::whose;

mod child;

/// Programs that run at once.
const AT_ONCE: usize = 4;
/// Prefixes whose end `denyd off` tells at once.
const TOLD_AT_ONCE: usize = 1_000;
/// By which name they follow the history.
pub const NAME: &str = "plugins";
/// Prefixes of which it is remembered by which address their deny was told, if it was by one; the first is forgotten then.
const ADDRESSES_MAX: usize = 1_000;

/// What runs the programs.
pub(super) struct Plugins {
    plugin: Plugin,
    /// By which address the deny of a prefix was told, that its end may be told by the same: the oldest first.
    told_by: VecDeque<(Prefix, IpAddr)>,
    /// Whether `denyd off` told them that nobody is denied.
    is_off: bool,
}

/// What is remembered over a restart.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Note {
    told_by: Vec<(String, IpAddr)>,
    is_off: bool,
}

/// A decision, and what is run for it.
struct Job {
    id: i64,
    prefix: Prefix,
    is_denied: bool,
    argument: String,
}

impl Plugins {
    /// Goes on from what was noted.
    pub(super) fn new(plugin: Plugin, note: Option<&str>) -> Plugins {
        let Note { told_by, is_off } = note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
        let told_by = told_by.into_iter().filter_map(|(prefix, address)| Some((prefix.parse().ok()?, address)));
        Plugins { plugin, told_by: told_by.take(ADDRESSES_MAX).collect(), is_off }
    }

    /// What is run for a decision, if anything is.
    fn job(&mut self, news: &News, seen: &BTreeMap<Prefix, IpAddr>) -> Option<Job> {
        let (prefix, is_denied) = match news.what {
            What::Denied(prefix) => (prefix, true),
            What::Ended(prefix) => (prefix, false),
            What::Suspicious(..) => return None,
        };
        let argument = match self.plugin.argument {
            Argument::Address if !prefix.is_host() => self.address(prefix, is_denied, seen).to_string(),
            _ => prefix.to_string(),
        };
        let programs = if is_denied { &self.plugin.deny } else { &self.plugin.purge };
        (!programs.is_empty()).then_some(Job { id: news.id, prefix, is_denied, argument })
    }

    /// By which address a prefix is told: one that failed there, and at its end the one by which its deny was told.
    fn address(&mut self, prefix: Prefix, is_denied: bool, seen: &BTreeMap<Prefix, IpAddr>) -> IpAddr {
        let known = self.told_by.iter().find(|(one, _)| *one == prefix).map(|(_, address)| *address);
        if !is_denied {
            // What comes again after a crash is told by the same, so it is forgotten only when its room is needed.
            return known.unwrap_or(prefix.address());
        }
        let address = seen.get(&prefix).copied().or(known).unwrap_or(prefix.address());
        self.told_by.retain(|(one, _)| *one != prefix);
        if self.told_by.len() >= ADDRESSES_MAX {
            self.told_by.pop_front();
        }
        self.told_by.push_back((prefix, address));
        address
    }
}

impl Output for Plugins {
    fn wants_addresses(&self) -> bool {
        self.plugin.argument == Argument::Address
    }

    fn note(&self) -> Option<String> {
        let told_by = self.told_by.iter().map(|(prefix, address)| (prefix.to_string(), *address)).collect();
        serde_json::to_string(&Note { told_by, is_off: self.is_off }).ok()
    }

    fn wants_all(&self) -> bool {
        self.is_off
    }

    fn has_all(&mut self) {
        self.is_off = false;
    }

    fn tell(&mut self, news: &[News], beside: &Beside, told: &Told<'_>) -> Result<(), String> {
        let jobs: Vec<Job> = news.iter().filter_map(|one| self.job(one, &beside.addresses)).collect();
        // Those of one prefix are a lane, in their order.
        let mut lanes: Vec<Vec<&Job>> = Vec::new();
        for job in &jobs {
            match lanes.iter_mut().find(|lane| lane[0].prefix == job.prefix) {
                Some(lane) => lane.push(job),
                None => lanes.push(vec![job]),
            }
        }
        let workers = lanes.len().min(AT_ONCE);
        let lanes = Mutex::new(VecDeque::from(lanes));
        let next = || lanes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let plugin = &self.plugin;
        let work = |done: mpsc::Sender<i64>| {
            while let Some(lane) = next() {
                for job in lane {
                    if told.is_ending() {
                        return;
                    }
                    let result = run(plugin, job);
                    told.went(result);
                    let _ = done.send(job.id);
                }
            }
        };
        thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            let mut refused = None;
            for _ in 0..workers {
                let done = done.clone();
                let spawned = thread::Builder::new().name("plugin".to_owned()).spawn_scoped(scope, || work(done));
                // Where the system has no thread to spare, those that there are do it all.
                refused = spawned.err().or(refused);
            }
            drop(done);
            let mut open: BTreeMap<i64, bool> = jobs.iter().map(|job| (job.id, false)).collect();
            for id in ended {
                open.insert(id, true);
                while let Some(first) = open.first_entry().filter(|first| *first.get()) {
                    told.done(*first.key());
                    first.remove();
                }
            }
            match (open.is_empty(), refused) {
                (true, _) => Ok(()),
                (false, Some(error)) => Err(format!("no thread can be started: {error}")),
                (false, None) => Err("denyd ends".to_owned()),
            }
        })
    }
}

/// Runs what is to be run for a decision, each in turn; what went wrong last. What somebody else could have written is not run.
fn run(plugin: &Plugin, job: &Job) -> Result<(), String> {
    let mut result = Ok(());
    for words in if job.is_denied { &plugin.deny } else { &plugin.purge } {
        let name = words.first().map_or("", String::as_str);
        let ran = others(Path::new(name)).map_or_else(|| child::run(words, &job.argument, plugin.time_limit), Err);
        match ran {
            Ok(said) => tracing::debug!(plugin = name, host = job.argument, said, "ended well"),
            Err(problem) => result = Err(format!("{name} {}: {problem}", job.argument)),
        }
    }
    result
}

/// What is to be remembered of this note before [`tell_off`]: that the next start tells them who is denied then.
pub fn off(plugin: &Plugin, note: Option<&str>) -> String {
    let plugins = Plugins { is_off: true, ..Plugins::new(plugin.clone(), note) };
    plugins.note().unwrap_or_default()
}

/// Tells the programs that these are denied no longer, since a person takes all denies away; how often that went well, and
/// how often not.
pub fn tell_off(plugin: &Plugin, note: &str, denied: &[Prefix], now: Timestamp) -> Result<(u64, u64), String> {
    let mut plugins = Plugins::new(plugin.clone(), Some(note));
    let (state, ends, seen, logged) = Default::default();
    let told = Told { state: &state, ends: &ends, seen: &seen, logged: &logged, name: NAME };
    for some in denied.chunks(TOLD_AT_ONCE) {
        let news = |(id, prefix): (i64, &Prefix)| News { id, at: At(now), what: What::Ended(*prefix) };
        let news: Vec<_> = (0..).zip(some).map(news).collect();
        plugins.tell(&news, &Beside::default(), &told)?;
    }
    let state = lock(&state);
    Ok((state.told, state.failed))
}

/// Why a program is not run, if somebody else could have written it or put it there.
fn others(path: &Path) -> Option<String> {
    let others = whose::closed_place(path).ok()?.err()?;
    Some(format!("it is not run, since somebody else could make it another program: {others}"))
}

/// Whether the programs are there and can be run: the paths of those that cannot, each with what is wrong.
pub fn missing(plugin: &Plugin) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let wrong = |path: &Path| match std::fs::metadata(path) {
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_file() => Some("it is no file".to_owned()),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("it may not be executed: chmod +x it".to_owned()),
        Ok(_) => {
            let refused = nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).err();
            refused.map(|error| error.to_string()).or_else(|| others(path))
        }
    };
    let named = |path: std::path::PathBuf| Some(format!("{}: {}", path.display(), wrong(&path)?));
    plugin.programs().into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_told_by_the_address_of_its_deny() {
        let plugin = Plugin {
            argument: Argument::Address,
            deny: vec![vec!["/d".to_owned()]],
            purge: vec![vec!["/p".to_owned()]],
            ..Plugin::default()
        };
        let mut plugins = Plugins::new(plugin.clone(), None);
        let net: Prefix = "2001:db8::/64".parse().unwrap();
        let news = |what| News { id: 1, at: At::default(), what };
        let seen: BTreeMap<_, _> = [(net, "2001:db8::7".parse().unwrap())].into();
        let told =
            |plugins: &mut Plugins, what, seen: &BTreeMap<_, _>| plugins.job(&news(what), seen).unwrap().argument;
        assert_eq!(told(&mut plugins, What::Denied(net), &seen), "2001:db8::7");
        let mut plugins = Plugins::new(plugin, plugins.note().as_deref());
        assert_eq!(told(&mut plugins, What::Ended(net), &BTreeMap::new()), "2001:db8::7");
        assert_eq!(told(&mut plugins, What::Ended("192.0.2.7".parse().unwrap()), &seen), "192.0.2.7");
        assert_eq!(told(&mut plugins, What::Ended("2001:db8:0:1::/64".parse().unwrap()), &seen), "2001:db8:0:1::");
        let mut plugins = Plugins::new(Plugin { argument: Argument::Prefix, ..plugins.plugin }, None);
        assert_eq!(told(&mut plugins, What::Denied(net), &seen), "2001:db8::/64");
        for n in 0..2 * ADDRESSES_MAX {
            plugins.address(format!("2001:db8:{n:x}::/64").parse().unwrap(), true, &seen);
        }
        assert_eq!(plugins.told_by.len(), ADDRESSES_MAX);
    }
}
