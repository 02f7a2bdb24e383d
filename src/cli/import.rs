//! `denyd import`: what DenyHosts' configuration means here.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;

use super::output::Screen;
use crate::config::{is_denyhosts, translated};

/// Where DenyHosts' configuration was, by version and distribution.
const PLACES: &[&str] =
    &["/etc/denyhosts.conf", "/etc/denyhosts/denyhosts.conf", "/usr/share/denyhosts/denyhosts.cfg", "denyhosts.cfg"];

/// What `import` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("import", "what /etc/denyhosts.conf means, as a denyd.toml with the old key above each new one"),
    ("import /usr/share/denyhosts/denyhosts.cfg", "the same of another file"),
]))]
pub(super) struct Arguments {
    /// DenyHosts' configuration; without one, it is looked for where DenyHosts had it
    file: Option<PathBuf>,
}

/// Runs the verb: the configuration on standard output, and on standard error what differs from DenyHosts.
pub(super) fn run(arguments: Arguments, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let found = || PLACES.iter().map(Path::new).find(|place| place.is_file()).map(Path::to_owned);
    let Some(file) = arguments.file.or_else(|| config.map(Path::to_owned)).or_else(found) else {
        bail!("there is no configuration of DenyHosts in {}; name the file: denyd import FILE", PLACES.join(", "));
    };
    if !is_denyhosts(&file) {
        bail!("{} is no configuration of DenyHosts by its name, which ends in .conf or .cfg", file.display());
    }
    let translation = translated(&file)?;
    let mut screen = Screen::new();
    write!(screen, "# What {} means to denyd.\n{}", crate::text::plain(&file.display().to_string()), translation.toml)?;
    screen.flush()?;
    for remark in &translation.remarks {
        eprintln!("{}", super::check::told(&file, remark));
    }
    Ok(ExitCode::SUCCESS)
}
