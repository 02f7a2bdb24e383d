//! A regular expression in Python's syntax as one in ours (of the crate `regex`), or what of it cannot be.
//!
//! The two are near to each other. What differs in writing is written anew; what cannot be done in linear time is named.

/// The group that has no text of its own, and means that the account does not exist.
const INVALID: &str = "invalid";

/// The same pattern for us, or what is wrong with it and at which character. `names` are the groups that mean something there,
/// beside `invalid`: others become groups without a name. Those that have lost their names are probably these, from the last one on.
pub(super) fn translated(pattern: &str, names: &[&str]) -> Result<String, String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut walk = Walk { chars: &chars, at: 0, out: String::new() };
    let mut is_counted = false;
    while let Some(char) = walk.next() {
        match char {
            '\\' => walk.escape()?,
            '[' => walk.class()?,
            '(' if walk.rest().starts_with(&['?']) => walk.group(pattern, names)?,
            '{' if !is_count(walk.rest()) => walk.out += r"\{",
            '{' => {
                is_counted = true;
                walk.out += if walk.rest().starts_with(&[',']) { "{0" } else { "{" };
            }
            '}' if !std::mem::take(&mut is_counted) => walk.out += r"\}",
            '*' | '+' | '?' | '}' if walk.rest().starts_with(&['+']) => {
                return Err(walk.cannot("a possessive quantifier", "leave out the `+` behind it"));
            }
            char => walk.out.push(char),
        }
    }
    Ok(walk.out)
}

struct Walk<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
}

impl Walk<'_> {
    fn next(&mut self) -> Option<char> {
        let char = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(char)
    }

    fn rest(&self) -> &[char] {
        &self.chars[self.at..]
    }

    /// That something has no equal here; the character before the place is its first.
    fn cannot(&self, what: &str, remedy: &str) -> String {
        format!(
            "{what} (character {}) cannot be had in expressions that take linear time, which denyd's are; {remedy}",
            self.at
        )
    }

    /// What follows a backslash outside of brackets.
    fn escape(&mut self) -> Result<(), String> {
        let at = self.at;
        match self.next() {
            None => return Err(format!("it ends in a backslash (character {at})")),
            Some('1'..='9') => {
                self.at = at;
                return Err(self.cannot("a reference to an earlier group", "write what it shall be"));
            }
            Some('Z') => self.out += r"\z",
            Some('0') => self.octal(),
            // Ends of words here, and themselves in Python.
            Some(char @ ('<' | '>')) => self.out.push(char),
            Some(char) if !char.is_ascii() => self.out.push(char),
            Some(char) => self.out.extend(['\\', char]),
        }
        Ok(())
    }

    /// What stands in brackets, behind the first one. Some characters mean something there in ours alone.
    fn class(&mut self) -> Result<(), String> {
        let at = self.at;
        self.out.push('[');
        if self.rest().starts_with(&['^']) {
            self.at += 1;
            self.out.push('^');
        }
        if self.rest().starts_with(&[']']) {
            self.at += 1;
            self.out += r"\]";
        }
        let unclosed = || format!("the bracket at its character {at} is not closed");
        loop {
            match self.next().ok_or_else(unclosed)? {
                ']' => break self.out.push(']'),
                char => self.member(char).ok_or_else(unclosed)?,
            }
            // A range, but for a `-` that is the last.
            if self.rest().starts_with(&['-']) && self.rest().get(1).is_some_and(|next| *next != ']') {
                self.at += 1;
                self.out.push('-');
                let last = self.next().ok_or_else(unclosed)?;
                self.member(last).ok_or_else(unclosed)?;
            }
        }
        Ok(())
    }

    /// One character in brackets, or a class; `None` if the pattern ends within it.
    fn member(&mut self, char: char) -> Option<()> {
        match char {
            '[' | '&' | '~' | '-' => self.out.extend(['\\', char]),
            '\\' => match self.next()? {
                'b' => self.out += r"\x08",
                '0' => self.octal(),
                char @ ('<' | '>') => self.out.push(char),
                char if !char.is_ascii() => self.out.push(char),
                char => self.out.extend(['\\', char]),
            },
            char => self.out.push(char),
        }
        Some(())
    }

    /// What stands behind `\0`: up to two digits of an octal number.
    fn octal(&mut self) {
        let digits: String = self.rest().iter().take(2).take_while(|char| ('0'..='7').contains(*char)).collect();
        self.at += digits.len();
        self.out += &format!(r"\x{:02x}", u8::from_str_radix(&digits, 8).unwrap_or_default());
    }

    /// A group that begins with `(?`, behind its parenthesis.
    fn group(&mut self, pattern: &str, names: &[&str]) -> Result<(), String> {
        let rest: String = self.rest().iter().take(4).collect();
        let look_around = ["?=", "?!", "?<=", "?<!"].iter().any(|begin| rest.starts_with(begin));
        match () {
            () if look_around => Err(self.cannot("a look-around", "write what shall be there in its place")),
            () if rest.starts_with("?(") => Err(self.cannot("a condition", "write two patterns")),
            () if rest.starts_with("?>") => Err(self.cannot("an atomic group", "write (?:…)")),
            () if rest.starts_with("?P=") => {
                Err(self.cannot("a reference to an earlier group", "write what it shall be"))
            }
            () if rest.starts_with("?#") => {
                let end = self.rest().iter().position(|char| *char == ')');
                self.at += end.ok_or_else(|| format!("the comment at its character {} is not closed", self.at))? + 1;
                Ok(())
            }
            () if rest.starts_with("?P<") => {
                self.at += 3;
                let name: String = self.rest().iter().take_while(|char| **char != '>').collect();
                self.at += (name.chars().count() + 1).min(self.rest().len());
                let is_named = name == INVALID || names.contains(&name.as_str());
                self.out += &if is_named { format!("(?P<{name}>") } else { "(?:".to_owned() };
                Ok(())
            }
            () if rest.starts_with("?P") => Err(format!(
                "its group at character {} has lost its name, as web pages lose what stands in angle brackets; it was \
                 probably {}",
                self.at,
                with_names(pattern, names)
            )),
            () => {
                self.out.push('(');
                Ok(())
            }
        }
    }
}

/// Whether a `{` before it begins a count, as `{3}`, `{3,}`, `{,3}` and `{3,5}` do.
fn is_count(rest: &[char]) -> bool {
    let inside: String = rest.iter().take_while(|char| **char != '}').collect();
    let digits = |text: &str| text.chars().all(|char| char.is_ascii_digit());
    let is_closed = rest.len() > inside.chars().count();
    let (least, most) = inside.split_once(',').unwrap_or((&inside, ""));
    is_closed && !inside.is_empty() && digits(least) && digits(most)
}

/// A pattern with the names that its groups have probably lost: `(?P.*)` and `(?Phost>.*)`.
fn with_names(pattern: &str, names: &[&str]) -> String {
    let parts: Vec<&str> = pattern.split("(?P").collect();
    let is_lost = |part: &&str| !part.starts_with(['<', '=', '>']);
    let kept = |name: &str| parts.iter().any(|part| part.starts_with(&format!("<{name}>")));
    let lost = parts[1..].iter().filter(|part| is_lost(part)).count();
    let mut guesses: Vec<&str> = names.iter().copied().filter(|name| !kept(name)).take(lost).collect();
    let mut whole = parts[0].to_owned();
    for part in &parts[1..] {
        whole += "(?P";
        let half = names.iter().find_map(|name| part.strip_prefix(&format!("{name}>")).map(|rest| (*name, rest)));
        match half {
            Some((name, rest)) => {
                guesses.retain(|guess| *guess != name);
                whole += &format!("<{name}>{rest}");
            }
            None if is_lost(part) => whole += &format!("<{}>{part}", guesses.pop().unwrap_or("…")),
            None => whole += part,
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn what_python_writes_otherwise_is_written_anew() {
        let translated = |pattern: &str| translated(pattern, &["host", "user"]);
        let check = |pattern: &str, want: &str| assert_eq!(translated(pattern).as_deref(), Ok(want), "{pattern}");
        check("break in for (?P<user>.*) from (?P<host>.*)", "break in for (?P<user>.*) from (?P<host>.*)");
        check(r"Failed (?P<method>\S*) (?P<invalid>invalid )?", r"Failed (?:\S*) (?P<invalid>invalid )?");
        check(r"\A\<x\>\Z\é\/\.", r"\A<x>\zé\/\.");
        check(r"[]a] [^]a] [[] [a&&b~] [\b\<\]]", r"[\]a] [^\]a] [\[] [a\&\&b\~] [\x08<\]]");
        check("a{2} a{,2} a{2,} a{2,3} a{ {x} {} a{,}", r"a{2} a{0,2} a{2,} a{2,3} a\{ \{x\} \{\} a{0,}");
        check("a(?#a comment)b(?:c)(?i)", "ab(?:c)(?i)");
        check("(?P<message>x)", "(?:x)");
        // A number of up to two octal digits; a range to a `-`, and one that begins with it.
        check(r"\0 \07 \0778 [\011x]", r"\x00 \x07 \x3f8 [\x09x]");
        check("[+--] [--a] [a-] [-a] [^-] [a-c-]", r"[+-\-] [\--a] [a\-] [\-a] [^\-] [a-c\-]");
        // No quantifier ends here.
        check(r"\}+ }+ x{2}}+", r"\}+ \}+ x{2}\}+");
        check("a*? b+? c??", "a*? b+? c??");
    }

    #[test]
    fn what_cannot_be_is_named_with_its_place() {
        let check = |pattern: &str, want: &str| {
            let got = translated(pattern, &["host", "user"]).unwrap_err();
            assert!(got.starts_with(want), "{pattern}: {got}");
        };
        check("a(?=b)", "a look-around (character 2) cannot be had");
        check("a(?<!b)", "a look-around (character 2)");
        check(r"(a)\1", "a reference to an earlier group (character 4)");
        check("(?P<a>x)(?P=a)", "a reference to an earlier group (character 9)");
        check("(a)?(?(1)b|c)", "a condition (character 5)");
        check("(?>a)", "an atomic group (character 1)");
        check("a++b", "a possessive quantifier (character 2)");
        check("a{2}+b", "a possessive quantifier (character 4)");
        check("[a", "the bracket at its character 1 is not closed");
        check("a\\", "it ends in a backslash (character 2)");
        let lost = |pattern: &str, want: &str| {
            let got = translated(pattern, &["host", "user"]).unwrap_err();
            assert!(got.ends_with(&format!("it was probably {want}")), "{pattern}: {got}");
        };
        lost("for (?P.*) from (?P.*)", "for (?P<user>.*) from (?P<host>.*)");
        lost("break in from (?P.*)", "break in from (?P<host>.*)");
        lost("for (?P.*) from (?P<host>.*)", "for (?P<user>.*) from (?P<host>.*)");
        lost("for (?Puser>.*) from (?P.*)", "for (?P<user>.*) from (?P<host>.*)");
        lost("(?P.*)(?P.*)(?P.*)", "(?P<user>.*)(?P<host>.*)(?P<…>.*)");
    }
}
