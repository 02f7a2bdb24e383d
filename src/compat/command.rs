//! What DenyHosts gave to a shell, as programs and their arguments: the quotes of a shell and nothing else of it.

/// What no quotes keep from a shell, and which would do nothing here.
const OF_SHELLS: &[char] = &['|', '&', ';', '<', '>', '(', ')', '$', '`', '*', '?', '~'];

/// The programs in a text, parted by commas, each with its arguments; or what is wrong.
pub(super) fn list(text: &str) -> Result<Vec<Vec<String>>, String> {
    read(text, Some(','))
}

/// The one program in a text, with its arguments; or what is wrong.
pub(super) fn one(text: &str) -> Result<Vec<Vec<String>>, String> {
    read(text, None)
}

fn read(text: &str, part: Option<char>) -> Result<Vec<Vec<String>>, String> {
    let (mut programs, mut words, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("a {c} has no end")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match chars.next() {
                            Some(next @ ('"' | '\\')) => word.push(next),
                            next => word.extend(std::iter::once('\\').chain(next)),
                        },
                        Some(inside) => word.push(inside),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => words.extend(word.take()),
            c if Some(c) == part => {
                words.extend(word.take());
                programs.push(std::mem::take(&mut words));
            }
            c if OF_SHELLS.contains(&c) => {
                return Err(format!("no shell reads it, so `{c}` would do nothing; write a script, and its path here"));
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    programs.push(words);
    programs.retain(|words| !words.is_empty());
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_mean_what_they_mean_to_a_shell() {
        let check = |text: &str, want: Result<&[&[&str]], &str>| {
            let found = list(text);
            match want {
                Ok(want) => assert_eq!(
                    found.as_deref(),
                    Ok(&*want
                        .iter()
                        .map(|all| all.iter().map(|word| (*word).to_owned()).collect())
                        .collect::<Vec<Vec<_>>>()),
                    "{text}"
                ),
                Err(want) => assert!(found.as_ref().is_err_and(|why| why.contains(want)), "{text}: {found:?}"),
            }
        };
        check("/usr/bin/true", Ok(&[&["/usr/bin/true"]]));
        check(" /a  -x  , /b,, ", Ok(&[&["/a", "-x"], &["/b"]]));
        check(
            r#"/a 'two words' "and \"two\" \n" b\ c '' "a,b" x'y'"#,
            Ok(&[&["/a", "two words", r#"and "two" \n"#, "b c", "", "a,b", "xy"]]),
        );
        check("/a 'x", Err("a ' has no end"));
        check("/a $(rm)", Err("`$` would do nothing"));
        check("/a | /b", Err("write a script"));
        check("/a '$x;'", Ok(&[&["/a", "$x;"]]));
        assert_eq!(one("/a, b"), Ok(vec![vec!["/a,".to_owned(), "b".to_owned()]]));
    }
}
