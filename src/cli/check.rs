//! `denyd check`: whether the configuration is right, and what can be opened with it.

use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use inputs::syslog::listen::{self, Listener};

use super::office;
use super::output::{self, Screen, Style};
use crate::config::mail::{Mail, Server, Tls};
use crate::config::{self, Backends, Config, Input, Remark, Source, Sync, Syslog};
use crate::daemon::feeds;
use crate::deny::choose;
use crate::deny::hosts_deny::advice;
use crate::desk::Request;
use crate::desk::reply::Status;
use crate::detect::rule::EVERY;
use crate::outbox::each::Each;
use crate::outbox::{self, logfile, post, webhook};
use crate::text::{plain, printable};
use crate::work_dir;
use profile::Unit;

mod profile;

/// What `check` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("check", "is the file right, and can all be opened"),
    ("check --print", "every key as it is in effect"),
]))]
pub(super) struct Arguments {
    /// Print the effective configuration, every key written out
    #[arg(long)]
    print: bool,
}

/// Runs the verb. Where the service manager's unit reads this configuration, all is tried with the rights of the unit.
///
/// Exit status 0 if all is well, 1 if something would not work, 2 if the file or a rule is wrong.
pub(super) fn run(arguments: Arguments, path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let has_rights = profile::is_taken_on();
    let config = super::config(path);
    let mut config = if has_rights { config.context("with the rights of denyd.service")? } else { config? };
    if arguments.print {
        line(config.to_toml().trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    // Another configuration is none of the unit's.
    let is_its = super::file(path).is_none_or(|file| file == Path::new(crate::config::FILE));
    let mut unit = if is_its { Unit::installed() } else { None };
    let mut refused = None;
    if let Some(found) = &unit
        && !has_rights
    {
        match nix::unistd::geteuid().is_root() {
            // It comes back only if it cannot.
            true => refused = Some(found.take_on()),
            false => unit = None,
        }
    }
    let rules = config.rules()?;
    let screen = Screen::new();
    let mut well = true;
    let mut say = |what: &str, result: Result<String, String>| match result {
        Ok(found) => line(&format!("{} {what}: {found}", screen.paint(Style::Green, "ok  "))),
        Err(problem) => {
            well = false;
            line(&format!("{} {what}: {problem}", screen.paint(Style::Red, "FAIL")));
        }
    };
    let file = super::file(path);
    say("configuration", Ok(file.map_or("none; the defaults hold".to_owned(), |file| file.display().to_string())));
    for remark in &config.remarks {
        let (word, style) = if remark.differs { ("note", Style::Bold) } else { ("    ", Style::Plain) };
        line(&format!("{} {}", screen.paint(style, word), told(file.unwrap_or(Path::new("")), remark)));
    }
    if let Some(unit) = &unit {
        match refused {
            None => say("tried", Ok(unit.describe())),
            Some(error) => say("tried", Err(format!("as root, and not {}: {error:#}", unit.describe()))),
        }
    }
    say("rules", Ok(rules.to_string()));
    for rule in rules.rules.iter() {
        let every = rule.identifiers == [EVERY];
        let of = if every { "every program".to_owned() } else { rule.identifiers.join(", ") };
        let forgeable = if rule.is_forgeable() { "; forgeable: it denies for an hour at most" } else { "" };
        let how = rule.fooled().map_or(String::new(), |fooled| format!(", since {fooled}"));
        line(&format!("     {:<20} of {of}{forgeable}{how}", rule.name));
    }
    for (name, answer) in crate::daemon::names::resolve_all(config.policy().allow.names().cloned().collect()) {
        let listed = |all: Vec<IpAddr>| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let answer = answer.map(|all| format!("resolves to {}", listed(all)));
        say(
            &format!("allow {name}"),
            answer.map_err(|problem| format!("does not resolve, so it allows nobody: {problem}")),
        );
    }
    if config.inputs.is_empty() {
        match feeds::found() {
            Ok(input) => config.inputs.push(input),
            Err(error) => say("input", Err(error.to_string())),
        }
    }
    let rules = Arc::new(rules.rules);
    // Open till the end, as in `run`: two may be in each other's way.
    let mut opened = Vec::new();
    for input in &config.inputs {
        let tried = match &input.source {
            Source::Syslog(syslog) => try_listener(&config, input, syslog, &mut opened),
            _ => feeds::try_log(input, &rules),
        };
        say(&feeds::describe(input), tried);
    }
    let mut kinds = Vec::new();
    match &config.deny.backends {
        Backends::Auto => {
            let show = |found: choose::Found| {
                kinds.push(found.kind);
                let not = found.not.iter().map(|(other, why)| format!(", since {} cannot be used: {why}", other.name));
                std::iter::once(found.kind.name.to_owned()).chain(not).collect()
            };
            say("deny by", choose::find(&config.deny).map(show).map_err(|error| error.to_string()));
        }
        Backends::These(these) => {
            for kind in these {
                kinds.push(*kind);
                say("deny by", kind.usable(&config.deny).map(|()| kind.name.to_owned()));
            }
        }
    }
    if let Some(what) = config.deny.refuses_nobody() {
        say("deny by", Err(what.to_owned()));
    }
    let mut looks = advice::of_list(&config.deny.hosts_deny);
    if !kinds.iter().any(|kind| kind.name == "hosts.deny") {
        looks.clear();
    }
    if config.deny.has_firewall() {
        let policy = config.policy();
        looks.extend(advice::admitted(&config.deny.hosts_deny, |prefix| policy.allow.covers(prefix)));
    }
    for look in looks {
        line(&format!("{} {look}", screen.paint(Style::Yellow, "look")));
    }
    if config.deny.cut_connections && !profile::may_administer_nets() {
        say("cut_connections", Err("who runs denyd has no CAP_NET_ADMIN, and may cut nobody's connections".to_owned()));
    }
    for (what, why) in unit.iter().flat_map(|unit| unit.refuses(&config, &kinds)) {
        say(&what, Err(why));
    }
    if !config.mail.to.is_empty() {
        say("mail", mail(&config.mail));
    }
    if config.webhook.url_file.is_some() {
        say("webhook", webhook::check(&config.webhook).map(|()| "denyd mail --test tells it something".to_owned()));
    }
    if config.sync.is_wanted() {
        say("sync", sync(&config.sync));
        for warning in config.sync.warnings() {
            line(&format!("{} sync: {warning}", screen.paint(Style::Yellow, "look")));
        }
        if let Some(warning) = config.endless_sync() {
            line(&format!("{} sync: {warning}", screen.paint(Style::Yellow, "look")));
        }
    }
    let plugin = Each::Plugins(config.plugin.clone());
    if plugin.is_wanted() {
        let missing = outbox::plugin::missing(&config.plugin);
        let result = if missing.is_empty() { Ok(plugin.whom()) } else { Err(missing.join("; ")) };
        say("plugin", result.map_err(|problem| printable(problem.as_bytes())));
    }
    if let Some(dir) = &config.compat.work_dir {
        let told = work_dir::usable(dir).map(|()| format!("DenyHosts' files are kept in {}", dir.display()));
        say("compat work_dir", told.map_err(|problem| printable(problem.as_bytes())));
    }
    if let Some(path) = &config.report.log_file {
        say("report log_file", logfile::problem(path).map_or(Ok(path.display().to_string()), Err));
    }
    if let Some(path) = &config.report.table_file {
        say("report table_file", logfile::problem(path).map_or(Ok(path.display().to_string()), Err));
    }
    if config.report.syslog {
        say("report syslog", syslog());
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether hosts can be shared, as far as can be told without doing it.
fn sync(sync: &Sync) -> Result<String, String> {
    if let Some(file) = &sync.token_file {
        post::password(file)?;
    }
    let server = sync.server.as_ref().map_or(String::new(), config::sync::server);
    Ok(format!("with {}; denyd sync has a round", printable(server.as_bytes())))
}

/// Whether somebody listens where syslog is told.
fn syslog() -> Result<String, String> {
    outbox::syslog::check().map(|()| format!("by {}", outbox::syslog::SOCKET))
}

/// Whether mail can be sent, as far as can be told without sending one.
fn mail(mail: &Mail) -> Result<String, String> {
    let mut found = format!("to {} by {}", output::count(mail.to.len() as u64, "recipient", "recipients"), mail.server);
    if let Some(file) = &mail.password_file {
        post::password(file)?;
    }
    if mail.server == Server::Sendmail {
        let path = post::sendmail().ok_or("no program sendmail is installed; name a server instead")?;
        if std::fs::metadata(&path).is_ok_and(|found| found.mode() & 0o6000 != 0) {
            found += "; it is setuid or setgid, which means nothing under denyd.service (NoNewPrivileges)";
        }
    }
    let from = post::from(mail)?;
    if !from.email.domain().contains('.') {
        found += &format!("; look: many servers refuse `from` without a full domain, as {} is", from.email);
    }
    if mail.tls == Tls::None && !mail.server.is_here() {
        found += "; look: tls = \"none\" to another machine: users' names, which may be mistyped passwords, go there in the clear";
    }
    Ok(found + "; denyd mail --test sends one")
}

/// Prints a line. Where nobody reads any more, the exit status is what is wanted.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A remark with its place.
pub(super) fn told(file: &Path, remark: &Remark) -> String {
    let line = if remark.line == 0 { String::new() } else { format!("{}:", remark.line) };
    format!("{}:{line} {}", file.display(), plain(&remark.what))
}

/// Opens a listener's socket.
fn try_listener(config: &Config, input: &Input, syslog: &Syslog, opened: &mut Vec<Listener>) -> Result<String, String> {
    let problem = match listen::bind(&syslog.listen, syslog.options.clone()) {
        Ok(listener) => {
            opened.push(listener);
            return Ok("can be opened".to_owned());
        }
        Err(problem) => problem,
    };
    let status: Status = office::ask_daemon(config, &Request::Status).unwrap_or_default();
    let ours = status.inputs.iter().find(|one| one.name == input.name);
    match (problem.is_in_use(), ours) {
        (true, Some(ours)) => Ok(format!("is open: the running denyd has had {} records by it", ours.records)),
        (true, None) => Err(format!("{problem} (if the service manager opened it for denyd, all is well)")),
        (false, _) => Err(problem.to_string()),
    }
}
