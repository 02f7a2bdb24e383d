//! What runs by the configuration, and how it is made anew while it runs.
//!
//! All of a new configuration holds, or nothing of it. Whatever can fail is done before anything is given up; only an
//! input that changed must end first, since two cannot listen at one address, and is opened again where the new one
//! cannot be. What did not change goes on: its connections, its cursor, and what is known of its senders.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use inputs::input::{Start, Worker};
use inputs::record::{Batch, SourceId};
use inputs::syslog::listen::Inherited;
use tokio::sync::mpsc;

use super::connected::Connected;
use super::{Given, descriptors, feeds};
use crate::config::{self, Backends, Config, Input, OldLog};
use crate::deny::effect::SPARED_MAX;
use crate::deny::hosts_deny::advice;
use crate::desk::Desk;
use crate::detect::rule::Rules;
use crate::intake::Source;

/// How long the thread of an input may take to end, which has handed over everything, or hangs.
const WORKER_END: Duration = Duration::from_secs(1);

/// A configuration that was read whole and is valid.
pub(super) struct Fresh {
    pub(super) config: Config,
    pub(super) inputs: Vec<Input>,
    pub(super) rules: Arc<Rules>,
}

impl Fresh {
    /// Tells whom hosts.allow lets in and a firewall of ours would not. A one-shot run would tell it each time.
    pub(super) fn tell_admitted(&self) {
        let Config { deny, .. } = &self.config;
        if !deny.has_firewall() {
            return;
        }
        let policy = self.config.policy();
        for what in advice::admitted(&deny.hosts_deny, |prefix| policy.allow.covers(prefix)) {
            tracing::warn!("{what}");
        }
    }

    /// Reads the configuration `file`, or the usual one. That may take long: it asks other programs, journals and file systems.
    pub(super) fn read(file: Option<&Path>, given: Given, dry_run: bool) -> anyhow::Result<Fresh> {
        let usual = || Some(Path::new(config::FILE)).filter(|usual| usual.exists());
        let mut config = file.or_else(usual).map_or_else(|| Ok(Config::default()), Config::read)?;
        given.apply(&mut config);
        let fresh = Fresh::of(config, dry_run)?;
        fresh.tell_admitted();
        for input in &fresh.inputs {
            input.try_certificates().with_context(|| format!("input {}", input.name))?;
        }
        Ok(fresh)
    }

    /// What a configuration comes to on this machine. A dry run only prints what it would do.
    pub(super) fn of(mut config: Config, dry_run: bool) -> anyhow::Result<Fresh> {
        if dry_run {
            config.deny.backends = Backends::printing();
        }
        for remark in config.remarks.iter().filter(|remark| remark.differs) {
            tracing::warn!(line = remark.line, "{}", remark.what);
        }
        if let Some(what) = config.deny.refuses_nobody() {
            tracing::error!("{what}");
        }
        let inputs = if config.inputs.is_empty() { vec![feeds::found()?] } else { config.inputs.clone() };
        ensure!(inputs.len() <= usize::from(u16::MAX), "there are too many inputs");
        descriptors::make_room(&inputs)?;
        if inputs.iter().flat_map(Input::spared).nth(SPARED_MAX).is_some() {
            tracing::warn!(
                "inputs name more than {SPARED_MAX} networks in `from`: name wider ones, or logs of the last stop where \
                            a sender is denied"
            );
        }
        let rules = Arc::new(config.rules()?.rules);
        Ok(Fresh { config, inputs, rules })
    }
}

/// An input, and the thread that reads it.
struct Fed {
    input: Input,
    worker: Worker,
}

/// What runs.
pub(super) struct Configured {
    pub(super) config: Config,
    rules: Arc<Rules>,
    fed: Vec<Fed>,
    inherited: Inherited,
    /// Where the inputs put what they read; none once they are told to end.
    sink: Option<mpsc::Sender<Batch>>,
}

/// Inputs that were told to end, because they changed or are not wanted any more.
pub(super) struct Leaving(Vec<Fed>);

impl Leaving {
    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|fed| fed.input.name.clone()).collect()
    }

    /// Whether each has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.0.iter().all(|fed| fed.worker.has_ended())
    }
}

impl Configured {
    /// Starts the inputs, each where its cursor is; none of them unless they are `read`.
    pub(super) fn start(
        fresh: Fresh,
        inherited: Inherited,
        desk: &mut Desk,
        (sink, read): (mpsc::Sender<Batch>, bool),
    ) -> anyhow::Result<(Configured, Vec<Connected>)> {
        let Fresh { config, inputs, rules } = fresh;
        let mut configured = Configured { config, rules, fed: Vec::new(), inherited, sink: Some(sink) };
        let new = if read { inputs.clone() } else { Vec::new() };
        let old_log = configured.config.old_log.clone();
        let sources = configured.begin(&inputs, new, old_log.as_ref(), desk)?;
        for socket in configured.inherited.names() {
            tracing::warn!(socket, "no input listens where this socket of the service manager is, or has its name");
        }
        Ok((configured, sources))
    }

    /// An input as another fold needs it, beside the one that it has; none where it is not read.
    pub(super) fn source(&self, name: &str, id: SourceId) -> Option<Source> {
        let fed = self.fed.iter().find(|fed| fed.input.name == name)?;
        Some(feeds::source(&fed.input, id, &self.rules))
    }

    /// The inputs that are read.
    pub(super) fn inputs(&self) -> Vec<Input> {
        self.fed.iter().map(|fed| fed.input.clone()).collect()
    }

    /// Their rules.
    pub(super) fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Sees that a configuration can take the place of this one.
    pub(super) fn admits(&self, fresh: &Fresh) -> anyhow::Result<()> {
        let fixed = |key: &str, now: &Path, new: &Path| {
            let (now, new) = (now.display(), new.display());
            ensure!(
                now.to_string() == new.to_string(),
                "{key} is {now} and cannot become {new} while denyd runs; restart it"
            );
            Ok(())
        };
        fixed("state_dir", &self.config.state_dir, &fresh.config.state_dir)?;
        fixed("control_socket", &self.config.control_socket, &fresh.config.control_socket)
    }

    /// Whether the back ends are to be made anew.
    pub(super) fn changes_back_ends(&self, fresh: &Fresh) -> bool {
        let lengths = |config: &Config| (config.decide.policy.ipv4_bits, config.decide.policy.ipv6_bits);
        self.config.deny != fresh.config.deny || lengths(&self.config) != lengths(&fresh.config)
    }

    /// Tells those inputs to end that `fresh` has not, or not so.
    pub(super) fn leave(&mut self, fresh: &Fresh) -> Leaving {
        let (stay, leave): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.fed).into_iter().partition(|fed| fresh.inputs.contains(&fed.input));
        self.fed = stay;
        leave.iter().for_each(|fed| fed.worker.reins.stop());
        Leaving(leave)
    }

    /// Starts the inputs that are new, once those that leave have ended, and returns them. On an error those that left are
    /// opened again where they were, and returned.
    pub(super) fn enter(
        &mut self,
        fresh: &Fresh,
        leaving: Leaving,
        desk: &mut Desk,
    ) -> (anyhow::Result<()>, Vec<Connected>) {
        let is_fed = |input: &&Input| self.fed.iter().any(|fed| fed.input == **input);
        let new = fresh.inputs.iter().filter(|input| !is_fed(input)).cloned().collect();
        let hangs = leaving.0.iter().find(|fed| !fed.worker.has_ended());
        let entered = match hangs {
            Some(fed) => Err(anyhow!("input {} does not end: it hangs in the system", fed.input.name)),
            None => self.begin(&fresh.inputs, new, fresh.config.old_log.as_ref(), desk),
        };
        let error = match entered {
            Ok(sources) => return (Ok(()), sources),
            Err(error) => error,
        };
        let mut back = Vec::new();
        let before = self.config.old_log.clone();
        let all: Vec<_> = self.inputs().into_iter().chain(leaving.0.iter().map(|fed| fed.input.clone())).collect();
        for Fed { input, worker } in leaving.0 {
            let name = input.name.clone();
            if !worker.has_ended() {
                tracing::error!(input = name, "hangs in the system, and is read again after a restart of denyd");
                continue;
            }
            match self.begin(&all, vec![input], before.as_ref(), desk) {
                Ok(sources) => back.extend(sources),
                Err(error) => tracing::error!(input = name, "cannot be opened again, restart denyd: {error:#}"),
            }
        }
        (Err(error), back)
    }

    /// Opens these inputs, which are among `all`, and starts them once each is open. One of them may be `old_log` or stand in
    /// for it.
    fn begin(
        &mut self,
        all: &[Input],
        new: Vec<Input>,
        old_log: Option<&OldLog>,
        desk: &mut Desk,
    ) -> anyhow::Result<Vec<Connected>> {
        let names: Vec<_> = all.iter().map(|input| input.name.as_str()).collect();
        let ids: BTreeMap<_, _> = names.iter().copied().zip(desk.number(&names)?).collect();
        let mut opened = Vec::new();
        for input in new {
            // What was logged since a copy was taken that is the database now is no business of it.
            let cursor = desk.cursor(&input.name);
            let first_read = match desk.begins_anew(&input.name) {
                true => Start::Now,
                false => {
                    let goes_on = old_log.and_then(|log| log.goes_on(&input, cursor.as_ref()));
                    goes_on.unwrap_or_else(|| input.first_read.clone())
                }
            };
            let begins = Input { first_read, ..input.clone() };
            let log = feeds::open(&begins, cursor, &mut self.inherited);
            opened.push((log.with_context(|| format!("input {}", input.name))?, input));
        }
        let Some(sink) = &self.sink else { bail!("the inputs were told to end") };
        let mut sources = Vec::new();
        for (log, input) in opened {
            let id = ids[input.name.as_str()];
            let worker = feeds::feed(&input, id, log, sink.clone())?;
            let mut source = Connected::new(&input, id, &self.rules, worker.health.clone());
            if old_log.is_some_and(|log| log.is_stand_in(&input)) {
                source.fold.will_hand_over();
            }
            if let Err(error) = source.recall(desk) {
                tracing::warn!(input = input.name, %error, "what was known of its senders cannot be read, and begins anew");
            }
            sources.push(source);
            self.fed.push(Fed { input, worker });
        }
        Ok(sources)
    }

    /// Takes the place of what was configured; the inputs that stay read their certificates anew.
    pub(super) fn take(&mut self, Fresh { config, inputs, rules }: Fresh) {
        (self.config, self.rules) = (config, rules);
        let place = |fed: &Fed| inputs.iter().position(|input| input.name == fed.input.name);
        self.fed.sort_by_key(place);
        self.fed.iter().for_each(|fed| fed.worker.reins.reload());
    }

    /// Tells all inputs to end once they have handed over all that is there.
    pub(super) fn finish(&mut self) {
        self.sink = None;
        self.fed.iter().for_each(|fed| fed.worker.reins.finish());
    }

    /// Tells all inputs to end. What they still hand over ends with them.
    pub(super) fn stop(&mut self) {
        self.sink = None;
        self.fed.iter().for_each(|fed| fed.worker.reins.stop());
    }

    /// Waits until they have.
    pub(super) fn wait(self) {
        for fed in self.fed {
            fed.worker.wait(WORKER_END);
        }
    }
}
