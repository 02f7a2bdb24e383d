//! The effective configuration as TOML, for people and for reading again.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use super::duration::show;
use super::{Backends, Config, FirstEntry, FirstRead, Input, Source, values};
use crate::decide::policy::Class;

/// A `String` that is written to cannot fail.
const STRING: &str = "a string takes all that is written to it";

pub(super) fn write(config: &Config) -> String {
    let mut out = String::new();
    key(&mut out, "state_dir", path(&config.state_dir));
    key(&mut out, "control_socket", path(&config.control_socket));
    key(&mut out, "log_level", quote(&config.log_level.as_str().to_lowercase()));
    key(&mut out, "rules_dir", path(&config.rules_dir));
    decide(&mut out, config);
    deny(&mut out, config);
    for one in &config.inputs {
        input(&mut out, one);
    }
    out
}

fn decide(out: &mut String, config: &Config) {
    let (decide, policy) = (&config.decide, &config.decide.policy);
    out.push_str("\n[decide]\n");
    for class in Class::ALL {
        let threshold = policy.thresholds[class as usize].map_or(quote("off"), |threshold| threshold.0.to_string());
        key(out, &format!("threshold_{}", class.name()), threshold);
    }
    for class in Class::ALL {
        key(out, &format!("age_reset_{}", class.name()), duration_or(policy.age_reset[class as usize], "never"));
    }
    key(out, "reset_on_success", policy.reset_on_success.to_string());
    key(out, "deny_for", duration_or(policy.deny_for, "forever"));
    key(out, "permanent_after", policy.permanent_after.map_or(quote("never"), |times| times.to_string()));
    key(out, "ipv4_prefix", policy.ipv4_bits.to_string());
    key(out, "ipv6_prefix", policy.ipv6_bits.to_string());
    key(out, "replay_max_age", quote(&show(policy.replay_max_age)));
    key(out, "restricted_users", list(decide.restricted_users.iter()));
    if let Some(file) = &decide.restricted_users_file {
        key(out, "restricted_users_file", path(file));
    }
    key(out, "allow", list(decide.allow.iter()));
    if let Some(file) = &decide.allow_file {
        key(out, "allow_file", path(file));
    }
}

fn deny(out: &mut String, config: &Config) {
    let deny = &config.deny;
    let names: Vec<&str> = match &deny.backends {
        Backends::Auto => vec!["auto"],
        Backends::These(these) => these.iter().map(|backend| backend.name()).collect(),
    };
    out.push_str("\n[deny]\n");
    key(out, "backends", list(names.into_iter()));
    out.push_str("\n[deny.nftables]\n");
    key(out, "table", quote(&deny.nftables.table.to_string()));
    out.push_str("\n[deny.hosts_deny]\n");
    key(out, "path", path(&deny.hosts_deny.path));
    key(out, "service", quote(&deny.hosts_deny.service.to_string()));
    key(out, "comment", deny.hosts_deny.comment.to_string());
}

fn input(out: &mut String, input: &Input) {
    out.push_str("\n[[input]]\n");
    // A derived name may be longer than a given one may be.
    if input.name != input.source.name() {
        key(out, "name", quote(&input.name));
    }
    if let Some(host) = &input.host {
        key(out, "host", quote(host));
    }
    if let Some(zone) = input.timezone.as_ref().and_then(|zone| zone.iana_name()) {
        key(out, "timezone", quote(zone));
    }
    match &input.source {
        Source::File(file) => {
            let format = values::FORMATS.iter().find(|(_, format)| *format == file.format);
            key(out, "kind", quote("file"));
            key(out, "path", path(&file.path));
            key(out, "format", quote(format.map_or("auto", |(name, _)| name)));
            followed(out, file.first_read, file.identifier);
        }
        Source::Multilog(multilog) => {
            key(out, "kind", quote("multilog"));
            key(out, "path", path(&multilog.path));
            followed(out, multilog.first_read, multilog.identifier);
        }
        Source::Journald(journald) => {
            let reader = values::READERS.iter().find(|(_, reader)| *reader == journald.reader);
            key(out, "kind", quote("journald"));
            if let Some(directory) = &journald.directory {
                key(out, "directory", path(directory));
            }
            key(out, "reader", quote(reader.map_or("auto", |(name, _)| name)));
            let first_read = match journald.first_read {
                FirstEntry::Now => "now".to_owned(),
                FirstEntry::Beginning => "beginning".to_owned(),
                FirstEntry::Back(time) => show(time),
            };
            key(out, "first_read", quote(&first_read));
        }
        Source::Syslog(syslog) => {
            key(out, "kind", quote("syslog"));
            key(out, "listen", quote(&syslog.listen.to_string()));
            if syslog.listen.address().is_some() {
                key(out, "from", list(syslog.from.iter()));
            } else {
                key(out, "socket_mode", quote(&format!("{:04o}", syslog.socket_mode)));
            }
            if let Some(identity) = syslog.listen.identity() {
                key(out, "certificate", path(&identity.certificate));
                key(out, "key", path(&identity.key));
                if let Some(clients) = &identity.clients {
                    key(out, "client_ca", path(&clients.ca));
                    if !clients.permitted.is_empty() {
                        key(out, "permitted", list(clients.permitted.iter()));
                    }
                }
            }
            if syslog.listen.is_stream() {
                let framing = values::FRAMINGS.iter().find(|(_, framing)| *framing == syslog.framing);
                key(out, "framing", quote(framing.map_or("auto", |(name, _)| name)));
                key(out, "max_connections", syslog.max_connections.to_string());
                key(out, "max_per_sender", syslog.max_per_sender.to_string());
                key(out, "idle_timeout", quote(&show(syslog.idle_timeout)));
            } else if syslog.listen.address().is_some() {
                key(out, "trust_network", syslog.trust_network.to_string());
            }
            key(out, "max_rate", syslog.max_rate.to_string());
            key(out, "unwrap_imfile", syslog.unwrap_imfile.to_string());
        }
    }
}

fn followed(out: &mut String, first_read: FirstRead, identifier: Option<&str>) {
    let first_read = match first_read {
        FirstRead::Now => "now",
        FirstRead::Beginning => "beginning",
    };
    key(out, "first_read", quote(first_read));
    if let Some(identifier) = identifier {
        key(out, "identifier", quote(identifier));
    }
}

fn key(out: &mut String, name: &str, value: String) {
    writeln!(out, "{name} = {value}").expect(STRING);
}

fn duration_or(duration: Option<Duration>, word: &str) -> String {
    quote(&duration.map_or(word.to_owned(), show))
}

fn path(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

fn list(items: impl Iterator<Item = impl ToString>) -> String {
    let items: Vec<String> = items.map(|item| quote(&item.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A TOML string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => write!(quoted, "\\u{:04X}", u32::from(c)).expect(STRING),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
