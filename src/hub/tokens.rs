//! The tokens by which machines are known to the hub: a file of lines `NAME TOKEN`, which others may not read. A group may:
//! the credentials of a service look like that.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Bytes of the file that are read.
const FILE_MAX: u64 = 1 << 20;

/// How many characters a token has at least: 16 of base64 are 96 bits.
const TOKEN_MIN: usize = 16;

/// Names and their tokens.
#[derive(Default)]
pub struct Tokens(Vec<(String, String)>);

impl std::fmt::Debug for Tokens {
    /// Never shows a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tokens", self.0.len())
    }
}

impl Tokens {
    /// Reads the file; the error says what to do.
    pub fn read(path: &Path) -> Result<Self, String> {
        let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
        let mode = file.metadata().map_err(|error| error.to_string())?.mode();
        if mode & 0o037 != 0 {
            return Err(format!("others may read the tokens: chmod 600 {}", path.display()));
        }
        let mut text = String::new();
        file.take(FILE_MAX).read_to_string(&mut text).map_err(|error| error.to_string())?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| Err(format!("line {}: {what}", number + 1));
            let mut words = line.split_ascii_whitespace();
            let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return wrong("each line is a name and a token");
            };
            if token.len() < TOKEN_MIN {
                return wrong("that token can be guessed: head -c 24 /dev/urandom | base64 makes one");
            }
            if all.iter().any(|(other, known)| other == name || known == token) {
                return wrong("that name, or that token, is there twice");
            }
            all.push((name.to_owned(), token.to_owned()));
        }
        Ok(Tokens(all))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose token it is. How long that takes tells nothing of how near a wrong one is.
    pub fn name(&self, token: &str) -> Option<&str> {
        let mut found = None;
        for (name, known) in &self.0 {
            if is_same(known.as_bytes(), token.as_bytes()) {
                found = Some(name.as_str());
            }
        }
        found
    }
}

/// Compares in a time that depends on the lengths alone.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_tokens_is_read_or_says_what_is_wrong() {
        let tokens = Tokens::parse("# ours\n\nalpha AAAAAAAAAAAAAAAA\n beta\tBBBBBBBBBBBBBBBBBBBB \n").expect("tokens");
        let check = |token: &str, want: Option<&str>| assert_eq!(tokens.name(token), want, "{token}");
        check("AAAAAAAAAAAAAAAA", Some("alpha"));
        check("BBBBBBBBBBBBBBBBBBBB", Some("beta"));
        check("BBBBBBBBBBBBBBBBBBB", None);
        check("AAAAAAAAAAAAAAAAA", None);
        check("", None);
        assert_eq!(format!("{tokens:?}"), "2 tokens");
        let wrong = |text: &str, want: &str| {
            let problem = Tokens::parse(text).expect_err("a problem");
            assert!(problem.starts_with(want), "{text:?}: {problem}");
        };
        wrong("\nalpha", "line 2: each line");
        wrong("alpha AAAAAAAAAAAAAAAA more", "line 1: each line");
        wrong("alpha short", "line 1: that token can be guessed");
        wrong("alpha AAAAAAAAAAAAAAAA\nalpha BBBBBBBBBBBBBBBB", "line 2: that name");
        wrong("alpha AAAAAAAAAAAAAAAA\nbeta AAAAAAAAAAAAAAAA", "line 2: that name");
    }
}
