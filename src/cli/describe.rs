//! `denyd describe`, which `help` does not show: the files of packages that are written from what the program knows of
//! itself. So what is told of a key or a verb is told where it is made, and nowhere twice.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::output::Screen;
use crate::config;

/// What `describe` takes.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The file that is printed; without one, the names of all
    file: Option<String>,
}

/// What stands at the end of denyd(1).
const TAIL: &[(&str, &str)] = &[
    (
        "EXIT STATUS",
        "0 is yes, or done. 1 is no: nothing was found, or something is not well. 2 is an error, which standard error tells.",
    ),
    (
        "FILES",
        "/etc/denyd/denyd.toml: the configuration. /etc/denyd/rules.d: rules for other programs than sshd. /var/lib/denyd: the \
         database. /run/denyd/control: the socket by which the commands reach the daemon.",
    ),
    ("SEE ALSO", "denyd.toml(5), denyhosts(8), daemon-control(8), and /usr/share/doc/denyd"),
];

/// Runs the verb.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let files = files()?;
    let mut screen = Screen::new();
    match arguments.file {
        None => files.keys().try_for_each(|name| writeln!(screen, "{name}"))?,
        Some(name) => {
            let text = files.get(&name);
            screen
                .write_all(text.with_context(|| format!("there is no {name}; denyd describe lists what there is"))?)?;
        }
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Examples of a command, each with what it does, as `--help` and the manual page show them.
pub(super) fn examples<const N: usize>(all: [(&str, &str); N]) -> String {
    let longest = all.iter().map(|(command, _)| command.len()).max().unwrap_or(0);
    let lines = all.map(|(command, does)| format!("\n  denyd {command:<longest$}  # {does}"));
    format!("Examples:{}", lines.concat())
}

/// All files, by their names.
fn files() -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files: BTreeMap<String, Vec<u8>> = [("denyd.toml", config::packaged()), ("denyd.toml.5", config::manual())]
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .into();
    let mut command = super::Arguments::command().disable_help_subcommand(true);
    for (shell, name) in [(Shell::Bash, "denyd.bash"), (Shell::Zsh, "_denyd"), (Shell::Fish, "denyd.fish")] {
        clap_complete::generate(shell, &mut command, "denyd", files.entry(name.to_owned()).or_default());
    }
    command.build();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        files.insert(format!("denyd-{}.1", verb.get_name()), page(verb, &[("SEE ALSO", "denyd(1), denyd.toml(5)")])?);
    }
    files.insert("denyd.1".to_owned(), page(&command, TAIL)?);
    for (name, does, usage) in super::denyhosts::USAGES {
        files.insert(format!("{name}.8"), page_of_usage(name, does, usage)?);
    }
    Ok(files)
}

/// What stands at the end of the pages of DenyHosts' command line.
const TAIL_OF_USAGE: &[(&str, &str)] = &[
    (
        "FILES",
        "/etc/denyhosts.conf, else /etc/denyd/denyd.toml: the configuration. /var/lib/denyd: what is remembered. WORK_DIR: \
         DenyHosts' own files, which the daemon keeps current.",
    ),
    (
        "SEE ALSO",
        "denyd(1), denyd.toml(5), and /usr/share/doc/denyd/denyhosts.md, which tells key by key what is otherwise",
    ),
];

/// A manual page of what a command line says of itself: an option a line, with what it does behind two blanks.
fn page_of_usage(name: &str, does: &str, usage: &str) -> io::Result<Vec<u8>> {
    let version = concat!("denyd ", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    page.control("TH", [name, "8", "", version, "System Administration"]);
    page.control("SH", ["NAME"]).text([roman(format!("{name} - {does}"))]);
    let mut lines = usage.lines();
    let synopsis = lines.next().unwrap_or_default().trim_start_matches("Usage: ");
    page.control("SH", ["SYNOPSIS"]).text([bold(synopsis)]).control("SH", ["OPTIONS"]);
    let mut is_told = false;
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        let (option, does) = line.trim_start().split_once("  ").unwrap_or((line.trim(), ""));
        match indent {
            // What goes on with the line before.
            10.. => page.text([roman(line.trim())]),
            1.. => page.control("TP", []).text([bold(option)]).text([roman(does.trim())]),
            0 if !std::mem::replace(&mut is_told, true) => page.control("SH", ["DESCRIPTION"]).text([roman(line)]),
            0 => page.text([roman(line)]),
        };
    }
    for (head, text) in TAIL_OF_USAGE {
        page.control("SH", [*head]).text([roman(*text)]);
    }
    let mut bytes = Vec::new();
    page.to_writer(&mut bytes)?;
    Ok(bytes)
}

/// The manual page of a command, with more sections at its end.
fn page(command: &Command, more: &[(&str, &str)]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).source(concat!("denyd ", env!("CARGO_PKG_VERSION"))).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut rest = Roff::new();
    if let Some(examples) = command.get_after_help() {
        rest.control("SH", ["EXAMPLES"]).control("nf", []);
        for line in examples.to_string().lines().skip(1) {
            rest.text([roman(line.trim_start())]);
        }
        rest.control("fi", []);
    }
    for (head, text) in more {
        rest.control("SH", [*head]).text([roman(*text)]);
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// The words of a command as a shell takes it, where only double quotes quote.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            match c {
                '"' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().expect("there is one").push(c),
            }
        }
        words
    }

    #[test]
    fn each_command_has_a_page_with_its_flags_and_examples_that_are_right() {
        let mut command = super::super::Arguments::command().disable_help_subcommand(true);
        command.build();
        let files = files().expect("memory");
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        for command in std::iter::once(&command).chain(verbs) {
            let name = command.get_display_name().unwrap_or("denyd");
            let page = String::from_utf8(files[&format!("{name}.1")].clone()).expect("text").replace('\\', "");
            for argument in command.get_arguments() {
                let shown = argument.get_long().map_or(argument.get_id().to_string(), |long| format!("--{long}"));
                let shown = argument
                    .get_value_names()
                    .filter(|_| argument.is_positional())
                    .map_or(shown, |names| names[0].to_string());
                assert!(page.contains(&shown), "{name}: no {shown}: {page}");
                assert!(argument.get_help().is_some(), "{name}: {shown} tells nothing of itself");
            }
            let examples = command.get_after_help().unwrap_or_else(|| panic!("{name} has no example")).to_string();
            for line in examples.lines().skip(1) {
                let (example, does) = line.trim().split_once("  #").expect("what it does");
                assert!(!does.is_empty() && page.contains(line.trim()), "{name}: {line}: {page}");
                let parsed = super::super::Arguments::try_parse_from(words(example.trim_end()));
                assert!(parsed.is_ok(), "{example}: {parsed:?}");
            }
        }
    }
}
