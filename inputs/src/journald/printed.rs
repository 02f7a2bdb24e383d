//! What `journalctl` prints for people in several lines an entry: nothing in one of them says of which entry it is.

/// The form, as `journalctl -o` calls it, in which this line alone can have been printed; `None` = in none of those.
pub fn form(line: &[u8]) -> Option<&'static str> {
    let trimmed = line.trim_ascii_start();
    let form = field(line)?;
    let is_indented = match form {
        "verbose" => line.starts_with(b"    ") && line.len() - trimmed.len() == 4,
        _ => trimmed.len() < line.len(),
    };
    is_indented.then_some(form)
}

/// The same whatever blanks are before it, which then is a guess. Of JSON, journalctl puts a blank on
/// both sides of the colon, others (jq) behind it alone.
pub fn field(line: &[u8]) -> Option<&'static str> {
    let line = line.trim_ascii_start();
    if let Some(field) = line.strip_prefix(b"\"") {
        let behind = &field[name_len(field)?..];
        return [&b"\" : "[..], b"\": "].iter().any(|colon| behind.starts_with(colon)).then_some("json-pretty");
    }
    line[name_len(line)?..].starts_with(b"=").then_some("verbose")
}

/// How long the name of a journal's field is that these bytes begin with.
fn name_len(field: &[u8]) -> Option<usize> {
    let is_of_name = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b'_';
    Some(field.iter().take_while(is_of_name).count()).filter(|len| *len > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_lines_an_entry_are_told() {
        let check = |line: &str, want: Option<&str>| assert_eq!(form(line.as_bytes()), want, "{line}");
        check("    _TRANSPORT=syslog", Some("verbose"));
        check("    MESSAGE=Failed password for root from 192.0.2.7 port 22 ssh2", Some("verbose"));
        check("\t\"__CURSOR\" : \"s=0\",", Some("json-pretty"));
        check("\t\"MESSAGE\" : \"x\"", Some("json-pretty"));
        check("    \"MESSAGE\" : \"x\"", Some("json-pretty"));
        check("  \"MESSAGE\": \"x\"", Some("json-pretty"));
        check("\"MESSAGE\": \"x\"", None);
        check("     MESSAGE=x", None);
        check("MESSAGE=x", None);
        check("{", None);
        check("Nov 21 23:26:32 b sshd[9]: x", None);
        check("    at frame=1", None);
        check("    =1", None);
        check("", None);
    }
}
