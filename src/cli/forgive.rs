//! `denyd forgive ADDR|PREFIX…|--user NAME|--all`: lets in again, and forgets the failures.

use std::io::Write;
use std::process::ExitCode;

use super::elsewhere;
use super::office::Office;
use super::output::Screen;
use super::{output, person};
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::desk::Request;
use crate::desk::reply::Forgiven;

/// What `forgive` takes.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("whom").required(true)))]
#[command(after_help = super::describe::examples([
    ("forgive 192.0.2.7", "let it in again"),
    ("forgive --user al", "all addresses where al alone mistyped"),
    ("forgive --all", "everybody"),
    ("forgive 192.0.2.7 --all-of-it", "and remove what else refuses it: its lines in hosts.deny, its rules in iptables"),
]))]
pub(super) struct Arguments {
    /// Addresses, or prefixes such as 192.0.2.0/24
    #[arg(group = "whom", value_name = "PREFIX")]
    prefixes: Vec<Prefix>,
    /// The addresses of which every failure that is kept (`denyd why` shows them) was one of this user
    #[arg(long, group = "whom", value_name = "NAME")]
    user: Option<String>,
    /// Everybody
    #[arg(long, group = "whom")]
    all: bool,
    /// Also remove others' lines of hosts.deny and rules of firewalls that refuse exactly one of these addresses; each is shown
    #[arg(long, requires = "prefixes", conflicts_with = "json")]
    all_of_it: bool,
    /// Print one JSON object for each
    #[arg(long)]
    json: bool,
}

/// Runs the verb: exit status 0 if something was forgiven, 1 if for one of them there was nothing, or if with `--all-of-it`
/// something still refuses one.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let who = person::name();
    let one = |prefix| Request::Forgive { prefix, who: who.clone() };
    let requests: Vec<_> = match arguments.user {
        Some(user) => vec![Request::ForgiveUser { user, who: who.clone() }],
        None if arguments.all => vec![one(None)],
        None => arguments.prefixes.into_iter().map(|prefix| one(Some(prefix))).collect(),
    };
    let mut once = None;
    Office::new(config).each(&requests, |office, request| {
        let answer: Forgiven = office.ask(request)?;
        let Forgiven { released, counts_cleared: counts, left } = &answer;
        let asked = match request {
            Request::Forgive { prefix, .. } => *prefix,
            _ => None,
        };
        let still = elsewhere::after(&mut once, config, released, asked);
        let mut screen = Screen::new();
        output::show(arguments.json, &answer, |screen| {
            released.iter().try_for_each(|prefix| match still.is_let_in(prefix) && office.is_enforced() {
                true => writeln!(screen, "{prefix} is let in again"),
                false => writeln!(screen, "{prefix} is denied by denyd no more"),
            })?;
            match (request, released.is_empty(), counts) {
                (Request::Forgive { prefix: Some(prefix), .. }, true, 0) => {
                    writeln!(screen, "There was nothing to forgive {prefix}.")
                }
                (_, true, 0) => writeln!(screen, "There was nothing to forgive."),
                (_, true, _) => {
                    let counted = output::count(*counts as u64, "counted prefix", "counted prefixes");
                    writeln!(screen, "Nobody was denied; the failures of {counted} are forgotten.")
                }
                (_, false, _) => writeln!(screen, "Their failures are forgotten."),
            }?;
            left.iter().try_for_each(|prefix| {
                writeln!(screen, "{prefix} stays denied, since it tried other users too; see: denyd why {prefix}")
            })
        })?;
        let done = !released.is_empty() || *counts > 0;
        if arguments.json {
            return Ok(done);
        }
        let done = match arguments.all_of_it {
            true => {
                let (any, left) = still.remove(config, &mut screen)?;
                (done || any) && !left
            }
            false => {
                still.tell(&mut screen)?;
                done
            }
        };
        screen.flush()?;
        Ok(done)
    })
}
