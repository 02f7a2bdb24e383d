//! DenyHosts' options, read as its `getopt` read them: short ones in a bundle, long ones cut short to what tells them apart,
//! and no more options behind the first word that is none.

use std::path::PathBuf;

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) config: Option<PathBuf>,
    pub(super) files: Vec<PathBuf>,
    pub(super) ignore: bool,
    pub(super) noemail: bool,
    pub(super) verbose: bool,
    pub(super) debug: bool,
    pub(super) purge: bool,
    pub(super) purge_all: bool,
    pub(super) purgeip: bool,
    pub(super) migrate: bool,
    pub(super) upgrade099: bool,
    pub(super) sync: bool,
    pub(super) unlock: bool,
    pub(super) daemon: bool,
    pub(super) foreground: bool,
    pub(super) yes: bool,
    pub(super) identifier: Option<String>,
    /// It is the process in the background that `--daemon` starts.
    pub(super) detached: bool,
    pub(super) help: bool,
    pub(super) version: bool,
    /// The words behind the options.
    pub(super) words: Vec<String>,
}

/// What an option does with what it is told.
enum Effect {
    Yes(fn(&mut Options) -> &mut bool),
    Takes(fn(&mut Options, String)),
    Nothing,
}
use Effect::{Nothing, Takes, Yes};

/// One option: its letter, its name, whether DenyHosts had it, and its effect.
struct Known(Option<char>, &'static str, bool, Effect);

const KNOWN: &[Known] = &[
    Known(Some('f'), "file", true, Takes(|options, value| options.files.push(value.into()))),
    Known(Some('c'), "config", true, Takes(|options, value| options.config = Some(value.into()))),
    Known(Some('d'), "debug", true, Yes(|options| &mut options.debug)),
    Known(Some('i'), "ignore", true, Yes(|options| &mut options.ignore)),
    Known(Some('n'), "noemail", true, Yes(|options| &mut options.noemail)),
    Known(Some('v'), "verbose", true, Yes(|options| &mut options.verbose)),
    Known(Some('p'), "purge", true, Yes(|options| &mut options.purge)),
    Known(None, "purge-all", true, Yes(|options| &mut options.purge_all)),
    Known(None, "purgeip", true, Yes(|options| &mut options.purgeip)),
    Known(None, "migrate", true, Yes(|options| &mut options.migrate)),
    Known(None, "upgrade099", true, Yes(|options| &mut options.upgrade099)),
    Known(None, "daemon", true, Yes(|options| &mut options.daemon)),
    Known(None, "foreground", true, Yes(|options| &mut options.foreground)),
    Known(Some('s'), "sync", true, Yes(|options| &mut options.sync)),
    Known(None, "unlock", true, Yes(|options| &mut options.unlock)),
    Known(Some('h'), "help", true, Yes(|options| &mut options.help)),
    Known(Some('?'), "?", false, Yes(|options| &mut options.help)),
    Known(None, "version", true, Yes(|options| &mut options.version)),
    // Letters that DenyHosts took, and that had no effect.
    Known(Some('u'), "u", false, Nothing),
    Known(Some('V'), "V", false, Nothing),
    // What it had not.
    Known(None, "yes", false, Yes(|options| &mut options.yes)),
    Known(None, "identifier", false, Takes(|options, value| options.identifier = Some(value))),
    Known(None, "detached", false, Yes(|options| &mut options.detached)),
];

/// Reads the arguments behind the program's name; an error says which one is wrong.
pub(super) fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.as_slice().first() {
        if argument == "-" || !argument.starts_with('-') {
            break;
        }
        rest.next();
        if argument == "--" {
            break;
        }
        match argument.strip_prefix("--") {
            Some(long) => {
                let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
                let known = long_option(name)?;
                let takes = matches!(known.3, Takes(_));
                let value = match value {
                    // DenyHosts took addresses as words alone.
                    Some(address) if known.1 == "purgeip" => {
                        options.words.push(address.to_owned());
                        None
                    }
                    Some(_) if !takes => return Err(format!("option --{} takes no value", known.1)),
                    Some(value) => Some(value.to_owned()),
                    None if takes => {
                        let next = rest.next().cloned();
                        Some(next.ok_or_else(|| format!("option --{} needs a value", known.1))?)
                    }
                    None => None,
                };
                known.apply(&mut options, value);
            }
            None => {
                let mut letters = argument[1..].chars();
                while let Some(letter) = letters.next() {
                    let known = KNOWN.iter().find(|known| known.0 == Some(letter));
                    let known = known.ok_or_else(|| format!("option -{} is not known", letter.escape_default()))?;
                    let mut value = None;
                    if matches!(known.3, Takes(_)) {
                        let here = letters.as_str().to_owned();
                        letters = "".chars();
                        let mut next = || rest.next().cloned().ok_or_else(|| format!("option -{letter} needs a value"));
                        value = Some(if here.is_empty() { next()? } else { here });
                    }
                    known.apply(&mut options, value);
                }
            }
        }
    }
    options.words.extend(rest.cloned());
    Ok(options)
}

/// The option of that name, or the one that alone begins so. Those that DenyHosts had come first.
fn long_option(name: &str) -> Result<&'static Known, String> {
    let shown = name.escape_default();
    if let Some(known) = KNOWN.iter().find(|known| known.1 == name && name.len() > 1) {
        return Ok(known);
    }
    for is_old in [true, false] {
        let begins = |known: &&Known| known.2 == is_old && known.1.starts_with(name) && known.1 != "detached";
        let mut found = KNOWN.iter().filter(begins).filter(|known| known.1.len() > 1);
        match (found.next(), found.next()) {
            (Some(known), None) => return Ok(known),
            (Some(one), Some(other)) => {
                return Err(format!("option --{shown} may be --{} or --{}", one.1, other.1));
            }
            _ => {}
        }
    }
    Err(format!("option --{shown} is not known"))
}

impl Known {
    fn apply(&self, options: &mut Options, value: Option<String>) {
        match (&self.3, value) {
            (Yes(place), _) => *place(options) = true,
            (Takes(take), Some(value)) => take(options, value),
            (Takes(_), None) | (Nothing, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn options_are_read_as_by_getopt() {
        let check = |line: &str, same: &str| assert_eq!(parsed(line), parsed(same), "{line}");
        check("-di", "--debug --ignore");
        check("-nfa -fb", "--noemail --file=a --file b");
        check("-c x -vp", "--config=x --verbose --purge");
        check("--unl --noe --mig --upg", "--unlock --noemail --migrate --upgrade099");
        check("--i --s --fi=a --c b", "--ignore --sync --file=a --config=b");
        check("-u -V", "");
        check("-? -h", "--help");
        let all = parsed("-f a --purgeip --debug 192.0.2.1 -c x").unwrap();
        assert_eq!(all.words, ["192.0.2.1", "-c", "x"], "the words begin at the first one that is no option");
        assert!(all.debug && all.purgeip && all.config.is_none());
        assert_eq!(parsed("--purgeip=192.0.2.1 192.0.2.2").unwrap().words, ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(parsed("-d -- -n").unwrap().words, ["-n"]);
        assert_eq!(parsed("-f --daemon").unwrap().files, [PathBuf::from("--daemon")]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |line: &str, want: &str| assert_eq!(parsed(line).unwrap_err(), want, "{line}");
        check("--purg", "option --purg may be --purge or --purge-all");
        check("--d", "option --d may be --debug or --daemon");
        check("--det", "option --det is not known");
        check("--debug=1", "option --debug takes no value");
        check("-m", "option -m is not known");
        check("-dx\u{1b}", "option -x is not known");
        check("--\u{1b}[1m", "option --\\u{1b}[1m is not known");
        check("--file", "option --file needs a value");
        check("-c", "option -c needs a value");
        check("--?", "option --? is not known");
    }
}
