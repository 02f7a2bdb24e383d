//! `denyd allow [ENTRY…] [--remove]`: the allow list.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::elsewhere;
use super::office::Office;
use super::output::when_if;
use super::{output, person};
use crate::config::Config;
use crate::decide::allow;
use crate::desk::Request;
use crate::desk::reply::{AllowList, Allowed, Name, Removed};
use crate::text::printable;

/// What `allow` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("allow", "the list"),
    ("allow 192.0.2.7 198.51.100.0/24", "never deny these"),
    ("allow home.example.org", "never deny the address that this name resolves to"),
    ("allow 192.0.2.7 --remove", "take it off the list"),
]))]
pub(super) struct Arguments {
    /// Addresses, prefixes, ranges such as 192.0.2.[6-23], wildcards such as 192.0.2.*, host names; without any the list is
    /// shown
    #[arg(value_name = "ENTRY")]
    entries: Vec<String>,
    /// Take them off the list
    #[arg(long, requires = "entries")]
    remove: bool,
    /// Also what is dangerous: more than a /8, of IPv6 a /32; a host name without a dot
    #[arg(long, conflicts_with = "remove")]
    force: bool,
    /// Also remove others' lines of hosts.deny and rules of firewalls that refuse exactly one of these addresses; each is shown
    #[arg(long, requires = "entries", conflicts_with_all = ["remove", "json"])]
    all_of_it: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 2 if one of the entries was refused; the others are done.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let Arguments { entries, remove, force, all_of_it, json } = arguments;
    let mut office = Office::new(config);
    if entries.is_empty() {
        let list: AllowList = office.ask(&Request::Allow { entry: None, remove: false, force, who: None })?;
        output::show(json, &list, |out| {
            let mut row = |entry: &String, from: &str| {
                let meant = allow::means(entry).and_then(|means| means.name().map(ToString::to_string));
                let name = list.names.iter().find(|one| meant.as_ref() == Some(&one.name));
                writeln!(out, "{entry}  ({from}){}", name.map_or(String::new(), |name| format!("  {}", resolves(name))))
            };
            list.configured.iter().try_for_each(|entry| row(entry, "configuration"))?;
            list.added.iter().try_for_each(|entry| row(entry, "added by denyd allow"))?;
            match list.configured.is_empty() && list.added.is_empty() {
                true => writeln!(out, "Nobody is on the allow list."),
                false => Ok(()),
            }
        })?;
    }
    let mut once = None;
    office.each(&entries, |office, entry| {
        let mut is_done = true;
        let word = allow::means(entry).and_then(|means| means.name().map(|name| !name.to_string().contains('.')));
        if word == Some(true) && !remove && !force {
            bail!("`{entry}` is one word, for which other domains may answer, too; write the whole name of the host, or add --force");
        }
        let request = Request::Allow { entry: Some(entry.clone()), remove, force, who: person::name() };
        if remove {
            let removed: Removed = office.ask(&request)?;
            output::show(json, &removed, |out| match removed.configured {
                true => writeln!(out, "{entry} is no more allowed by denyd allow, but still by the configuration"),
                false => writeln!(out, "{entry} is off the allow list"),
            })?;
        } else {
            let allowed: Allowed = office.ask(&request)?;
            let still = elsewhere::after(&mut once, config, &allowed.released, entry.parse().ok());
            output::show(json, &allowed, |out| {
                let known = match (allowed.configured, allowed.known) {
                    (true, _) => ", also in the configuration,",
                    (false, true) => " already",
                    (false, false) => "",
                };
                let what = match allow::means(entry).is_some_and(|means| means.name().is_some()) {
                    true => "what it resolves to will not be denied: denyd allow shows that",
                    false => "will not be denied",
                };
                writeln!(out, "{entry} is on the allow list{known} and {what}")?;
                allowed.released.iter().try_for_each(|prefix| match still.is_let_in(prefix) && office.is_enforced() {
                    true => writeln!(out, "{prefix} is let in again"),
                    false => writeln!(out, "{prefix} is denied by denyd no more"),
                })
            })?;
            if !json {
                let mut screen = output::Screen::new();
                match all_of_it {
                    true => is_done &= !still.remove(config, &mut screen)?.1,
                    false => still.tell(&mut screen)?,
                }
                screen.flush()?;
            }
        }
        Ok(is_done)
    })
}

/// What a host name on the allow list resolves to, or that it does not.
pub(super) fn resolves(name: &Name) -> String {
    let addresses = name.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let problem = printable(name.problem.as_deref().unwrap_or("-").as_bytes());
    match (name.failing, name.addresses.is_empty()) {
        (None, true) => "not resolved yet: it allows nobody".to_owned(),
        (None, false) => format!("resolves to {addresses}"),
        (Some(_), true) => format!("does not resolve since {}, and allows nobody: {problem}", when_if(name.failing)),
        (Some(_), false) => format!(
            "stale: resolved to {addresses} at {}, and does not since {}: {problem}",
            when_if(name.resolved),
            when_if(name.failing)
        ),
    }
}
