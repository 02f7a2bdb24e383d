//! What the owner does about a drill.

use inputs::record::Batch;
use rustls::crypto::ring::default_provider;

use super::drill::{self, Drill};
use super::owner::Owner;
use crate::clock;
use crate::decide::prefix::Prefix;
use crate::desk::{Drilling, reply};

/// Addresses that are tried until nothing is known of one.
const TRIES: usize = 100;

impl Owner {
    /// Begins a drill, tells how it goes, or ends it.
    pub(super) fn drill_on(&mut self, step: Drilling, input: Option<&str>, ipv6: bool) -> Result<reply::Drill, String> {
        self.end_drill_in_time();
        match step {
            Drilling::Begin if self.drill.is_some() => {
                Err("another drill goes on; it ends within half a minute".to_owned())
            }
            Drilling::Begin => {
                let drill = self.begin_drill(input, ipv6)?;
                tracing::info!(prefix = %drill.told.prefix, input = drill.told.input, "a drill begins");
                Ok(self.drill.insert(drill).told.clone())
            }
            Drilling::Look => {
                let now = self.clock.now();
                let diff = self.drill.as_mut().and_then(|drill| drill.tick(now));
                self.publish_drill(diff);
                self.drill.as_ref().map(|drill| drill.told.clone()).ok_or_else(over)
            }
            Drilling::End => self.end_drill().ok_or_else(over),
        }
    }

    /// Takes what is of a drill out of a batch.
    pub(super) fn drill(&mut self, batch: &mut Batch) {
        self.end_drill_in_time();
        let now = self.clock.now();
        let diff = self.drill.as_mut().and_then(|drill| drill.take(batch, now));
        self.publish_drill(diff);
    }

    /// Whoever asked for it may have gone.
    pub(super) fn end_drill_in_time(&mut self) {
        if self.drill.as_ref().is_some_and(|drill| drill.is_over(clock::monotonic())) {
            tracing::warn!("a drill did not end in time, and is ended");
            self.end_drill();
        }
    }

    /// Ends the drill, if there is one: what it denied is denied no more.
    pub(super) fn end_drill(&mut self) -> Option<reply::Drill> {
        let drill = self.drill.take()?;
        if let Some(diff) = drill.withdrawal() {
            self.publish(&diff);
        }
        tracing::info!(prefix = %drill.told.prefix, read = drill.told.read, "a drill ends");
        Some(drill.told)
    }

    fn begin_drill(&self, name: Option<&str>, ipv6: bool) -> Result<Drill, String> {
        let inputs = self.configured.inputs();
        let found = inputs.iter().find(|input| match name {
            Some(name) => input.name == name,
            None => drill::can(input),
        });
        let input = found.ok_or_else(|| match name {
            Some(name) => format!("there is no input {name}; denyd status shows all"),
            None => {
                "no input of the configuration can be drilled: a file, this machine's journal or a listener".to_owned()
            }
        })?;
        let id = self.sources.iter().find(|source| source.name() == input.name).map(|source| source.fold.id);
        let source = id.and_then(|id| self.configured.source(&input.name, id));
        let source = source.ok_or_else(|| format!("input {} is not read now", input.name))?;
        let policy = self.desk.policy();
        let free = (0..TRIES).find_map(|_| {
            let address = drill::address(ipv6, random()?);
            self.desk.is_stranger(&policy.prefix(address.into())).then_some(Prefix::host(address))
        });
        let prefix =
            free.ok_or("addresses of documentation (RFC 5737, RFC 3849) are allowed, counted or denied here")?;
        let nonce = random().ok_or("the system gives no random numbers")?;
        let mut drill = Drill::begin((input, source), policy, prefix, nonce, clock::monotonic())?;
        drill.told.backends = self.outside.reconcilers.statuses().into_iter().map(|status| status.name).collect();
        Ok(drill)
    }

    fn publish_drill(&mut self, diff: Option<crate::deny::Diff>) {
        let is_enforced = !self.outside.shown.dry_run && !self.is_idle();
        if let Some(diff) = diff.filter(|_| is_enforced) {
            self.publish(&diff);
            if let Some(drill) = &mut self.drill {
                drill.told.published = true;
            }
        }
    }
}

fn over() -> String {
    "the drill is over: it took longer than half a minute".to_owned()
}

fn random() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    default_provider().secure_random.fill(&mut bytes).ok().map(|()| bytes)
}
