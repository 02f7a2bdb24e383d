//! `denyd off`: takes away all that was ever written into firewalls and files, and keeps the state unless it is told not to.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::{office, output};
use crate::clock;
use crate::config::plugin::Of;
use crate::config::{self, Config};
use crate::deny::DenySet;
use crate::desk::control::Client;
use crate::desk::reply::Status;
use crate::desk::{self, Request};
use crate::outbox::plugin;
use crate::store::{self, Store};

/// What `off` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("off", "let everybody in; systemctl stop denyd comes first"),
    ("off --forget", "and forget all that is known, as a purge does"),
]))]
pub(super) struct Arguments {
    /// Also remove the database and all else that denyd keeps in its state directory
    #[arg(long)]
    forget: bool,
}

/// Runs the verb: exit status 2 if something is left.
///
/// A daemon would write its denies again within a second, so it must be stopped first: whoever switches it off means
/// that, and a deny that comes back a second later would say otherwise.
pub(super) fn run(Arguments { forget }: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    if let Some(mut client) = Client::connect(&config.control_socket)? {
        let status: Status = client.ask(&Request::Status)?;
        if !client.dry_run {
            bail!(
                "the daemon runs (process {}), and would deny again within a second; stop it first: systemctl stop denyd, or \
                 kill {}. Nothing was taken away",
                status.pid,
                status.pid
            );
        }
    }
    let mut screen = output::Screen::new();
    if forget && !config.state_dir.join(store::FILE).exists() {
        writeln!(screen, "There is no database, and so nothing was written that is known of.")?;
        forget_all(config)?;
        screen.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let store = if forget { Store::open(&config.state_dir)? } else { office::store(config)? };
    if store.is_lost()? {
        anyhow::ensure!(
            forget,
            "the database was lost, and with it where denies were written; start the daemon once, which takes over what is \
             denied: denyd run. Then stop it, and try again. Nothing was taken away"
        );
        // The configuration still says where that may be.
        for back_end in &mut desk::back_ends(config, &store)? {
            back_end.replace(&DenySet::default(), clock::now())?;
        }
    }
    let mut left = false;
    for (place, done) in desk::take_away(config, &store, clock::now()).map_err(anyhow::Error::msg)? {
        match done {
            Ok(()) => writeln!(screen, "{place}: nothing of denyd is there now")?,
            Err(error) => (left, _) = (true, eprintln!("denyd: {place}: {error}")),
        }
    }
    if !config.plugin.purge.is_empty() {
        tell_plugins(&mut screen, config, &store)?;
    }
    drop(store);
    match (forget, left) {
        (true, false) => {
            forget_all(config)?;
            writeln!(screen, "Who was denied is forgotten.")?;
            if let Some(copy) = super::import::copy(config) {
                let copy = copy.display();
                writeln!(
                    screen,
                    "What was before DenyHosts was taken over is still in {copy}: `denyd import --undo` gives it back, and \
                     rm -r {copy} forgets it, too."
                )?;
            }
        }
        (true, true) => writeln!(screen, "Nothing is forgotten: the database knows what is left.")?,
        (false, _) => writeln!(
            screen,
            "Who is denied is kept: `denyd run` denies them again, and `denyd forgive --all` forgets them."
        )?,
    }
    screen.flush()?;
    Ok(if left { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

/// Tells the plugins that nobody is denied any more. They are told again who is at the next start.
fn tell_plugins(screen: &mut output::Screen, config: &Config, store: &Store) -> anyhow::Result<()> {
    let (plugin, now) = (&config.plugin, clock::now());
    let denied = store.database.denied(plugin.of == Of::All, now)?;
    let note = plugin::off(plugin, store.database.note(plugin::NAME)?.as_deref());
    store.database.set_note(plugin::NAME, &note)?;
    let (told, failed) = plugin::tell_off(plugin, &note, &denied, now).map_err(anyhow::Error::msg)?;
    let failed = if failed == 0 { String::new() } else { format!("; {failed} failed") };
    writeln!(screen, "plugins: told of {}{failed}", output::count(told, "end", "ends"))?;
    Ok(())
}

/// Removes what denyd keeps in its state directory, and that directory if nothing else is in it.
fn forget_all(config: &Config) -> anyhow::Result<()> {
    let dir = &config.state_dir;
    let failed = || format!("cannot remove what is in {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(failed)?,
    };
    for entry in entries {
        let entry = entry.with_context(failed)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| store::is_ours(name) || config::is_kept(name)) {
            fs::remove_file(entry.path()).with_context(failed)?;
        }
    }
    match fs::remove_dir(dir) {
        // What somebody else put there, or a directory that the service manager mounted.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => Ok(()),
        removed => removed.with_context(failed),
    }
}
