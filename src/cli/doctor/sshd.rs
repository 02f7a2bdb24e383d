//! What this machine's sshd is set to, as far as that matters here.

use std::time::Duration;

use super::{Finding, Level};
use crate::cli::office::Office;
use crate::cli::output::count;
use crate::deny::program;
use crate::desk::reply::User;
use crate::desk::{Filter, ROWS_MAX, Request, What};
use crate::text::printable;

/// How long sshd may take to say what it is set to.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Levels at which it does not write that a login failed (`sshd_config(5)`).
const DEAF: [&str; 3] = ["QUIET", "FATAL", "ERROR"];

/// What it says of itself: `sshd -T` (`sshd(8)`), which root alone may ask, and its version.
pub(super) fn findings(office: &mut Office<'_>) -> Vec<Finding> {
    let Some(sshd) = program::find("sshd") else { return Vec::new() };
    let ask = |option: &str| {
        let child = program::start(&sshd, &[option])?;
        program::finish_within(TIME_MAX, child, b"")
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let settings = match ask("-T") {
        Ok(said) if said.status.success() => text(&said.stdout),
        said => {
            let cause = said.map_or_else(|error| error.to_string(), |said| text(&said.stderr));
            let cause = printable(cause.trim().as_bytes());
            let remedy = if nix::unistd::geteuid().is_root() { "" } else { "; run denyd doctor as root" };
            let what = format!("cannot be asked for its settings: {cause}{remedy}");
            return vec![Finding::new(Level::Note, "sshd", what)];
        }
    };
    // On standard error; one that is too old to know -V begins its complaint with its version.
    let version = ask("-V").map(|said| text(&said.stderr)).unwrap_or_default();
    let filter = Filter { limit: Some(ROWS_MAX), ..Filter::default() };
    let users = office.ask::<Vec<User>>(&Request::List { what: What::Users, filter }).unwrap_or_default();
    Settings(&settings).findings(&version, &Figures::of(&users))
}

/// What was tried on this machine.
#[derive(Default)]
struct Figures {
    attempts: u64,
    users: u64,
    root: u64,
}

impl Figures {
    fn of(users: &[User]) -> Figures {
        let attempts = |users: &mut dyn Iterator<Item = &User>| users.map(|user| user.attempts).sum();
        Figures {
            attempts: attempts(&mut users.iter()),
            users: users.len() as u64,
            root: attempts(&mut users.iter().filter(|user| user.user == "root")),
        }
    }
}

/// What `sshd -T` prints: a keyword in lower case and its value a line.
struct Settings<'a>(&'a str);

impl Settings<'_> {
    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        let lines = self.0.lines().filter_map(|line| line.split_once(' '));
        lines.filter(move |(found, _)| *found == keyword).map(|(_, value)| value.trim())
    }

    fn is(&self, keyword: &str, value: &str) -> bool {
        self.all(keyword).any(|found| found == value)
    }

    fn findings(&self, version: &str, figures: &Figures) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut put = |level, what: String| found.push(Finding::new(level, "sshd", what));
        let version = version.split(|c: char| c == ',' || c.is_whitespace()).find(|word| word.starts_with("OpenSSH"));
        let ports = self.all("port").collect::<Vec<_>>().join(", ");
        let level = self.all("loglevel").next().unwrap_or("INFO");
        let name = printable(version.unwrap_or("it").as_bytes());
        put(
            Level::Note,
            format!(
                "{name} is set to port {}, and logs at LogLevel {}",
                printable(ports.as_bytes()),
                printable(level.as_bytes())
            ),
        );
        if DEAF.contains(&level) {
            let what = format!(
                "at LogLevel {level} it does not write who failed to log in: set LogLevel INFO, or VERBOSE, in sshd_config"
            );
            put(Level::Fail, what);
        }
        let asks = self.is("passwordauthentication", "yes") || self.is("kbdinteractiveauthentication", "yes");
        if asks && figures.attempts > 0 {
            let (attempts, users) =
                (count(figures.attempts, "attempt", "attempts"), count(figures.users, "user", "users"));
            let what = format!(
                "it takes passwords, and {attempts} on {users} were counted here: where everybody has a key, PasswordAuthentication no and \
                 KbdInteractiveAuthentication no end that"
            );
            put(Level::Note, what);
        }
        if asks && self.is("permitrootlogin", "yes") {
            let attempts = count(figures.root, "attempt", "attempts");
            let what = format!(
                "root may log in by password, and {attempts} on root were counted here: PermitRootLogin prohibit-password takes root's \
                 keys alone"
            );
            put(Level::Note, what);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = "port 22\nport 2222\nloglevel INFO\npermitrootlogin without-password\n\
        passwordauthentication yes\nkbdinteractiveauthentication no\n";

    fn check(changes: &[(&str, &str)], version: &str, figures: &Figures, want: &[(Level, &str)]) {
        let settings = changes.iter().fold(SETTINGS.to_owned(), |text, (from, to)| text.replace(from, to));
        let found = Settings(&settings).findings(version, figures);
        let is_so = found.len() == want.len()
            && found.iter().zip(want).all(|(found, (level, part))| found.level == *level && found.what.contains(part));
        assert!(is_so, "{changes:?}: {found:?}");
    }

    #[test]
    fn what_it_is_set_to_is_told_with_the_figures_of_this_machine() {
        let none = Figures::default();
        let it = (Level::Note, "OpenSSH_9.2p1 is set to port 22, 2222, and logs at LogLevel INFO");
        let version = "OpenSSH_9.2p1, Debian-2+deb12u14, OpenSSL 3.0.19\n";
        check(&[], version, &none, &[it]);
        let old = "unknown option -- V\nOpenSSH_8.4p1 Debian-5, OpenSSL 1.1.1w\nusage: sshd\n";
        check(&[], old, &none, &[(Level::Note, "OpenSSH_8.4p1 is set")]);
        check(&[], "", &none, &[(Level::Note, "it is set")]);
        let deaf = (Level::Fail, "at LogLevel QUIET it does not write");
        check(&[("INFO", "QUIET")], "", &none, &[(Level::Note, "LogLevel QUIET"), deaf]);
        check(&[("INFO", "VERBOSE")], "", &none, &[(Level::Note, "LogLevel VERBOSE")]);
        let figures = Figures { attempts: 1_000, users: 1, root: 700 };
        let passwords = (Level::Note, "it takes passwords, and 1000 attempts on 1 user were counted here");
        check(&[], version, &figures, &[it, passwords]);
        let root = (Level::Note, "root may log in by password, and 700 attempts on root");
        let yes = ("without-password", "yes");
        check(&[yes], version, &figures, &[it, passwords, root]);
        check(&[yes, ("passwordauthentication yes", "passwordauthentication no")], version, &figures, &[it]);
    }
}
