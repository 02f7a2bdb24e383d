//! Which programs are run when an address is denied and when that ends: `[plugin]`.

use std::path::PathBuf;
use std::time::Duration;

use super::Config;
use super::codec::{Codec, duration, text_that, words};
use super::key::Key;

/// Programs for each of the two.
const PROGRAMS_MAX: usize = 10;
/// Words of one, itself included, and bytes of a word.
const WORDS_MAX: usize = 64;
const WORD_MAX: usize = 4_000;

/// A program and its arguments: at least one word, the first an absolute path.
pub type Words = Vec<String>;

/// Which programs are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// When a prefix is denied that was not, each in turn; none = nothing is run.
    pub deny: Vec<Words>,
    /// When that ends.
    pub purge: Vec<Words>,
    /// By whose denies. Default those of our own log.
    pub of: Of,
    /// What they are told. Default the prefix.
    pub argument: Argument,
    /// How long each may take. Default 30 seconds.
    pub time_limit: Duration,
}

impl Default for Plugin {
    fn default() -> Self {
        Plugin {
            deny: Vec::new(),
            purge: Vec::new(),
            of: Of::Log,
            argument: Argument::Prefix,
            time_limit: Duration::from_secs(30),
        }
    }
}

impl Plugin {
    /// The programs that it names, each once, in their order.
    pub fn programs(&self) -> Vec<PathBuf> {
        let mut programs: Vec<PathBuf> = Vec::new();
        for program in self.deny.iter().chain(&self.purge).filter_map(|words| words.first()).map(PathBuf::from) {
            if !programs.contains(&program) {
                programs.push(program);
            }
        }
        programs
    }
}

/// Whose denies are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Those that the policy decided, by what our inputs brought.
    Log,
    /// Also those of people and of other machines.
    All,
}

/// What a program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    /// What is denied: an address, or a prefix such as `2001:db8::/64`.
    Prefix,
    /// An address in any case: of a prefix, one that failed.
    Address,
}

/// The keys of `[plugin]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    vec![
        key("deny", programs(), |p| &mut p.deny)
            .denyhosts("PLUGIN_DENY")
            .example(r#"[["/usr/local/sbin/tell-router", "--deny"]]"#)
            .says(
                "Programs that are run, each in turn, when an address is denied that was not: a list of a program and its
                arguments, to which the address is added. No shell reads them. What waits survives a restart; a program that was
                running when denyd was killed is run again. reports.md of the documentation says more.",
            ),
        key("purge", programs(), |p| &mut p.purge)
            .denyhosts("PLUGIN_PURGE")
            .example(r#"[["/usr/local/sbin/tell-router", "--allow"]]"#)
            .says("The same when it is denied no longer, whatever ended that: its time, `denyd forgive`, `denyd allow`."),
        key("of", words(&[("log", Of::Log), ("all", Of::All)]), |p| &mut p.of).says(
            r#"By whose denies they are run: "log", those that follow from what was logged, or "all", also those of
            `denyd deny` and of other machines."#,
        ),
        key("argument", words(&[("prefix", Argument::Prefix), ("address", Argument::Address)]), |p| &mut p.argument)
            .says(
                r#"What they are told of a prefix, which most of IPv6 is denied by: "prefix" is 2001:db8::/64, "address" an
                address in it that failed, for programs that know no prefixes."#,
            ),
        key("time_limit", duration(""), |p| &mut p.time_limit)
            .says("How long each may take; then it is killed, with all that it started."),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Plugin) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.plugin)))
}

/// Programs with their arguments.
fn programs() -> Codec<Vec<Words>> {
    let word = text_that(
        |word| word.len() <= WORD_MAX && !word.contains('\0'),
        format!("expected a text of at most {WORD_MAX} bytes, none of them NUL"),
    );
    let is_program = |words: Words| match words.first().is_some_and(|program| program.starts_with('/')) {
        true if words.len() <= WORDS_MAX => Ok(words),
        _ => Err(format!(
            "expected a program by its absolute path, and then its arguments, at most {WORDS_MAX} in all, as in \
             [[\"/usr/local/sbin/tell\", \"--deny\"]]"
        )),
    };
    word.list().then(is_program, Vec::clone).list().of(0..=PROGRAMS_MAX, format!("expected at most {PROGRAMS_MAX}"))
}
