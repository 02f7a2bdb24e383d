//! What people ask, answered from engine and store.

use std::net::IpAddr;
use std::time::Duration;

use inputs::record::Timestamp;
use serde_json::{Value, json};

use super::{APPLIED_MAX, Desk, ROWS_MAX, Request, WIDEST, What};
use crate::decide::allow::AllowList;
use crate::decide::engine::Command;
use crate::decide::policy::Class;
use crate::decide::prefix::Prefix;
use crate::decide::state::{Claimant, Deny, UserCounts};
use crate::decide::tally::Tally;
use crate::store::{Decision, StoreError};
use crate::text::printable;

impl Desk {
    /// Answers what needs only engine and store; `Err` is a message for the person who asked.
    pub fn answer(&mut self, request: &Request, now: Timestamp) -> Result<Value, String> {
        self.engine.tell_wall(now);
        match request {
            Request::Status | Request::Tap => Err("only a running daemon can tell".to_owned()),
            Request::List { what } => self.list(*what, now).map_err(|error| error.to_string()),
            Request::Why { address } => self.why(*address, now).map_err(|error| error.to_string()),
            Request::History { prefix, limit } => self.history(*prefix, *limit).map_err(|error| error.to_string()),
            Request::Deny { prefix, seconds, force, caller } => self.deny(*prefix, *seconds, *force, *caller, now),
            Request::Apply { denied } => {
                if denied.len() > APPLIED_MAX {
                    return Err(format!("more than {APPLIED_MAX} denies in one request"));
                }
                Ok(json!({"denied": self.engine.adopt(denied)}))
            }
            Request::Forgive { prefix } => {
                let command = prefix.map_or(Command::ForgiveAll, |prefix| Command::Forgive { prefix });
                let counted = prefix.map_or(self.engine.state.tallies.len(), |prefix| {
                    self.engine.state.tallies.iter().filter(|(other, _)| prefix.contains(other)).count()
                });
                let mut released = self.engine.command(&command);
                released.sort();
                Ok(json!({"released": released, "counts_cleared": counted}))
            }
            Request::Allow { entry: None, .. } => Ok(json!({
                "configured": self.configured.entries().collect::<Vec<_>>(),
                "added": self.added,
            })),
            Request::Allow { entry: Some(entry), remove } => self.allow(entry, *remove),
        }
    }

    fn deny(
        &mut self,
        prefix: Prefix,
        seconds: Option<u64>,
        force: bool,
        caller: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Value, String> {
        let widest = if prefix.is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        if !force && prefix.bits() < widest {
            return Err(format!("{prefix} is wider than /{widest}; if you mean it, say --force"));
        }
        if let Some(caller) = caller
            && !force
            && prefix.contains(&Prefix::host(caller))
        {
            return Err(format!("{prefix} holds {caller}, from where you are logged in; if you mean it, say --force"));
        }
        if self.engine.policy.allow.covers(&prefix) {
            return Err(format!("{prefix} is on the allow list; take it off first: denyd allow --remove"));
        }
        let until = seconds.map(|seconds| now.after(Duration::from_secs(seconds)));
        self.engine.command(&Command::Deny { prefix, until });
        Ok(json!({"prefix": prefix, "until": until.map(|until| until.to_string())}))
    }

    fn allow(&mut self, entry: &str, remove: bool) -> Result<Value, String> {
        let mut list = self.engine.policy.allow.clone();
        if remove {
            let known: Vec<_> = self.added.iter().filter(|known| same_entry(known, entry)).cloned().collect();
            if known.is_empty() {
                let why = if self.configured.entries().any(|known| same_entry(known, entry)) {
                    "it is in the configuration; take it out there"
                } else {
                    "it is not on the allow list"
                };
                return Err(format!("{}: {why}", printable(entry.as_bytes())));
            }
            for known in known {
                self.store.set_allowed(&known, false).map_err(|error| error.to_string())?;
                self.added.remove(&known);
            }
            self.rebuild_allow_list();
            self.allow_changed = true;
            return Ok(json!({"removed": entry}));
        }
        if !list.add(entry).map_err(|error| error.to_string())? {
            return Ok(json!({"allowed": entry, "released": [], "known": true}));
        }
        self.store.set_allowed(entry, true).map_err(|error| error.to_string())?;
        self.added.insert(entry.to_owned());
        self.rebuild_allow_list();
        self.allow_changed = true;
        let released = self.engine.command(&Command::Allowed);
        Ok(json!({"allowed": entry, "released": released, "known": false}))
    }

    fn list(&self, what: What, now: Timestamp) -> Result<Value, StoreError> {
        let state = &self.engine.state;
        Ok(match what {
            What::Hosts => {
                let hosts = self.store.hosts_by_prefix()?;
                let row = |(prefix, deny): (&Prefix, &Deny)| {
                    let claims: Vec<_> = deny.claims().map(|(by, _)| by.name()).collect();
                    let policy = deny.claim(Claimant::Policy);
                    let since = deny.claims().map(|(_, claim)| claim.since).min();
                    let hosts: Vec<_> =
                        hosts.get(prefix).into_iter().flatten().map(|host| printable(state.host_name(*host))).collect();
                    json!({
                        "prefix": prefix, "since": since.map(|at| at.to_string()),
                        "until": deny.until().map(|until| until.to_string()),
                        "class": policy.and_then(|claim| claim.class),
                        "count": policy.map_or(0, |claim| claim.count), "claimants": claims,
                        "times": state.released.get(prefix).copied().unwrap_or(0), "hosts": hosts,
                        "enforced": deny.enforced(now).is_some(),
                    })
                };
                let mut rows: Vec<_> = state.denies.iter().collect();
                rows.sort_by_key(|(prefix, _)| **prefix);
                rows.into_iter().take(ROWS_MAX).map(row).collect()
            }
            What::Users => {
                let mut rows: Vec<_> = state.users.iter().map(|(name, counts)| (&**name, counts)).collect();
                rows.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.attempts));
                let row = |(name, counts): &(&[u8], &UserCounts)| {
                    let mut row = json!({"account": counts.account, "attempts": counts.attempts});
                    crate::text::put_bytes(&mut row, "user", name);
                    row
                };
                rows.iter().take(ROWS_MAX).map(row).collect()
            }
            What::Addresses => {
                let mut rows: Vec<_> = state.tallies.iter().collect();
                rows.sort_by_key(|(prefix, tally)| (std::cmp::Reverse(tally.failures()), *prefix));
                let row = |(prefix, tally): (Prefix, &Tally)| {
                    let last = Timestamp::from_secs(i64::from(tally.last_failure()));
                    let mut row = json!({"prefix": prefix, "last": last.to_string(), "successes": tally.successes,
                        "denied": state.denies.get(&prefix).is_some_and(|deny| deny.enforced(now).is_some())});
                    for class in Class::ALL {
                        row[class.name()] = tally.counts[class as usize].into();
                    }
                    row
                };
                rows.into_iter().take(ROWS_MAX).map(row).collect()
            }
        })
    }

    fn why(&self, address: IpAddr, now: Timestamp) -> Result<Value, StoreError> {
        let state = &self.engine.state;
        let policy = &self.engine.policy;
        let host = Prefix::host(address);
        let address = host.address();
        let own = self.engine.prefix(address.into());
        let denied = state
            .denies
            .iter()
            .filter(|(prefix, _)| prefix.contains(&host))
            .find_map(|(prefix, deny)| deny.enforced(now).map(|until| (*prefix, until, deny)));
        let tally = state.tallies.get(&own).copied().unwrap_or_default();
        let allowed_by = policy.allow.allowed_by(address);
        let verdict = match (&allowed_by, &denied) {
            (Some(_), _) => "allowed",
            (None, Some(_)) => "denied",
            (None, None) if tally.failures() > 0 || state.denies.contains_key(&own) => "counted",
            (None, None) => "unknown",
        };
        let mut tallies = json!({});
        let mut thresholds = json!({});
        for class in Class::ALL {
            tallies[class.name()] = tally.aged(class, policy.age_reset[class as usize], now).into();
            thresholds[class.name()] =
                policy.thresholds[class as usize].map_or(Value::from("off"), |threshold| threshold.0.into());
        }
        let prefix = denied.as_ref().map_or(own, |(prefix, ..)| *prefix);
        let mut prefixes = vec![own];
        if prefix != own {
            prefixes.push(prefix);
        }
        let evidence: Vec<_> = self
            .store
            .evidence(&prefixes)?
            .into_iter()
            .map(|one| {
                let mut row = json!({"at": one.at.to_string(), "source": one.source,
                    "host": printable(state.host_name(one.host))});
                crate::text::put_bytes(&mut row, "message", &one.message);
                row
            })
            .collect();
        let claim = denied.as_ref().and_then(|(_, _, deny)| deny.claim(Claimant::Policy));
        Ok(json!({
            "address": address, "verdict": verdict, "prefix": prefix, "tallies": tallies, "thresholds": thresholds,
            "until": denied.as_ref().and_then(|(_, until, _)| until.map(|until| until.to_string())),
            "evidence": evidence, "allowed_by": allowed_by,
            "by": denied.as_ref().map(|(_, _, deny)| deny.claims().map(|(by, _)| by.name()).collect::<Vec<_>>()),
            "class": claim.and_then(|claim| claim.class), "since": claim.map(|claim| claim.since.to_string()),
            "times": state.released.get(&own).copied().unwrap_or(0), "successes": tally.successes,
        }))
    }

    fn history(&self, prefix: Option<Prefix>, limit: usize) -> Result<Value, StoreError> {
        let rows = self.store.history(prefix, limit.min(ROWS_MAX))?;
        Ok(rows.into_iter().map(|(at, prefix, decision)| decision_json(at, prefix, &decision)).collect())
    }
}

/// A decision as `history` and `watch` print it.
pub fn decision_json(at: Timestamp, prefix: Option<Prefix>, decision: &Decision) -> Value {
    let mut row = json!({"at": at.to_string(), "prefix": prefix});
    match decision {
        Decision::Denied { by, class, count, until, enforced } => {
            row["decision"] = "denied".into();
            row["by"] = by.name().into();
            row["class"] = class.map_or(Value::Null, |class| class.name().into());
            row["count"] = (*count).into();
            row["until"] = until.map_or(Value::Null, |until| until.to_string().into());
            row["enforced"] = (*enforced).into();
        }
        Decision::Released { by, why } => {
            row["decision"] = "released".into();
            row["by"] = by.name().into();
            row["why"] = serde_json::to_value(why).unwrap_or_default();
        }
        Decision::Suspicious { address, user } => {
            row["decision"] = "suspicious".into();
            row["address"] = address.to_string().into();
            crate::text::put_bytes(&mut row, "user", user);
        }
    }
    row
}

/// Whether two entries of an allow list mean the same.
fn same_entry(a: &str, b: &str) -> bool {
    let ranges = |entry: &str| {
        let mut list = AllowList::default();
        list.add(entry).ok().map(|_| list.ranges().collect::<Vec<_>>())
    };
    a == b || ranges(a).is_some_and(|a| Some(a) == ranges(b))
}
