//! `denyd restricted`: names for a file of restricted users, as DenyHosts' `restricted_from_passwd.py` and
//! `restricted_from_invalid.py` printed them.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::office;
use super::output::Screen;
use crate::config::Config;
use crate::desk::reply::User;
use crate::desk::{Filter, Request, What};
use crate::detect::event::Account;

/// The accounts of this machine, passwd(5).
const PASSWD: &str = "/etc/passwd";

/// Programs that let nobody log in, by the last part of their path: DenyHosts' own three, and false(1), which BSD and
/// Debian use so.
const NO_SHELLS: &[&str] = &["nologin", "shutdown", "halt", "false"];

/// What `restricted` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("restricted --from-passwd", "the accounts of this machine that nobody logs in to, such as mail"),
    ("restricted --from-invalid", "the ten names without an account that were tried most often"),
    ("restricted --from-invalid -n 50", "fifty of them; to keep them, put them into the restricted_users_file"),
]))]
pub(super) struct Arguments {
    /// Accounts whose shell is nologin, false, halt or shutdown
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = PASSWD)]
    #[arg(required_unless_present = "from_invalid")]
    from_passwd: Option<PathBuf>,
    /// Names that were tried and have no account, the most often tried first
    #[arg(long)]
    from_invalid: bool,
    /// With --from-invalid: how many
    #[arg(short, long, value_name = "N", default_value_t = 10, requires = "from_invalid")]
    number: usize,
}

/// Runs the verb: a name a line.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let mut names = Vec::new();
    if let Some(file) = &arguments.from_passwd {
        names.extend(from_passwd(&read(file)?).into_iter().map(str::to_owned));
    }
    if arguments.from_invalid {
        names.extend(from_invalid(config, arguments.number)?);
    }
    let mut screen = Screen::new();
    for name in names {
        writeln!(screen, "{name}")?;
    }
    screen.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read the accounts in {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The accounts that nobody logs in to, sorted.
fn from_passwd(text: &str) -> BTreeSet<&str> {
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let is_closed = |shell: &str| NO_SHELLS.iter().any(|name| Path::new(shell).ends_with(name));
    fields.filter_map(|all| (all.len() == 7 && is_closed(all[6])).then_some(all[0])).collect()
}

/// The names without an account that were tried most often.
fn from_invalid(config: &Config, most: usize) -> anyhow::Result<Vec<String>> {
    let filter = Filter { within: None, class: None, by: None, user: None, limit: None };
    let tried: Vec<User> = office::ask(config, &Request::List { what: What::Users, filter })?;
    let accounts = read(Path::new(PASSWD)).unwrap_or_default();
    let exists = |name: &str| accounts.lines().any(|line| line.split(':').next() == Some(name));
    let invalid = tried.into_iter().filter(|tried| tried.account == Account::Unknown && is_line(tried));
    Ok(invalid.map(|tried| tried.user).filter(|name| !exists(name)).take(most).collect())
}

/// Whether a name that a stranger chose can stand in a file of a name a line, and means itself there.
fn is_line(tried: &User) -> bool {
    let name = &tried.user;
    tried.user_b64.is_none() && !name.is_empty() && name.trim() == name && !name.starts_with('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_without_a_shell_are_restricted() {
        let text = "root:x:0:0:root:/root:/bin/bash\nmail:x:8:8:mail:/var/mail:/usr/sbin/nologin\n\
                    halt:x:7:0:halt:/sbin:/sbin/halt\nold:x:9:9::/:/bin/false\nbob:x:1000:1000::/home/bob:\n\
                    nologin:x:10:10::/:/bin/sh\nbroken:/sbin/nologin\n+::::::/sbin/nologin2\n";
        assert_eq!(from_passwd(text).into_iter().collect::<Vec<_>>(), ["halt", "mail", "old"]);
    }

    #[test]
    fn what_a_stranger_wrote_is_a_name_or_nothing() {
        let tried = |name: &str, raw: bool| {
            let user_b64 = raw.then(|| "eA==".to_owned());
            User { user: name.to_owned(), user_b64, account: Account::Unknown, attempts: 1, last: None }
        };
        assert!(is_line(&tried("oracle", false)) && is_line(&tried("a b", false)));
        for (name, raw) in [("", false), ("#x", false), (" x", false), ("x ", false), ("x\\x0a", true)] {
            assert!(!is_line(&tried(name, raw)), "{name:?}");
        }
    }
}
