//! Rows of a dump that `mysqldump` or `mariadb-dump` wrote: `INSERT INTO` statements, and of `CREATE TABLE` the order of the
//! columns. Whatever else stands in it is passed over.
//!
//! Reads as a stream, a row at a time, and carries out nothing: a dump may be of a stranger.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// Bytes of a name, a number or a text. What is longer is cut, and is no address and no number then.
const TOKEN_MAX: usize = 1024;
/// Columns of a table.
const COLUMNS_MAX: usize = 64;
/// Tables whose columns are remembered.
const TABLES_MAX: usize = 64;

/// A row: its columns by name. `NULL` is missing.
pub type Row = HashMap<String, String>;

/// Reads a dump, and hands each row of each table to `take`, with the table's name. `usual` says which columns a table
/// has where the dump does not.
pub fn read<E: From<io::Error>>(
    dump: impl BufRead,
    usual: impl Fn(&str) -> &'static [&'static str],
    mut take: impl FnMut(&str, Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut tokens = Tokens { bytes: dump.bytes(), ahead: None };
    let mut tables: HashMap<String, Vec<String>> = HashMap::new();
    while let Some(token) = tokens.next()? {
        match token {
            Token::Word(word) if word.eq_ignore_ascii_case("create") => {
                if let Some((table, columns)) = create(&mut tokens)?
                    && tables.len() < TABLES_MAX
                {
                    tables.insert(table, columns);
                }
            }
            Token::Word(word) if word.eq_ignore_ascii_case("insert") => {
                insert(&mut tokens, &tables, &usual, &mut take)?
            }
            Token::Sign(b';') => {}
            _ => tokens.skip_statement()?,
        }
    }
    Ok(())
}

/// A `CREATE TABLE` to its end: the table and its columns.
fn create(tokens: &mut Tokens<impl Read>) -> io::Result<Option<(String, Vec<String>)>> {
    let mut table = None;
    // Up to the first parenthesis the last name is the table's: of CREATE TABLE IF NOT EXISTS `database`.`name`.
    let mut is_table = false;
    loop {
        match tokens.next()? {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("table") => is_table = true,
            Some(Token::Word(name) | Token::Name(name)) => table = Some(name),
            Some(Token::Sign(b'(')) if is_table => break,
            Some(Token::Sign(b';')) | None => return Ok(None),
            Some(_) => {}
        }
    }
    let (mut columns, mut depth, mut begins) = (Vec::new(), 1, true);
    loop {
        let token = tokens.next()?;
        let was_begin = std::mem::replace(&mut begins, false);
        match token {
            Some(Token::Sign(b'(')) => depth += 1,
            Some(Token::Sign(b')')) => depth -= 1,
            Some(Token::Sign(b',')) if depth == 1 => begins = true,
            Some(Token::Sign(b';')) | None => break,
            // Keys and constraints begin with a word.
            Some(Token::Name(name)) if was_begin && columns.len() < COLUMNS_MAX => columns.push(name),
            Some(_) => {}
        }
    }
    Ok(table.map(|table| (table, columns)))
}

/// An `INSERT` to its end.
fn insert<E: From<io::Error>>(
    tokens: &mut Tokens<impl Read>,
    tables: &HashMap<String, Vec<String>>,
    usual: &impl Fn(&str) -> &'static [&'static str],
    take: &mut impl FnMut(&str, Row) -> Result<(), E>,
) -> Result<(), E> {
    let (mut table, mut listed, mut in_list) = (String::new(), Vec::new(), false);
    loop {
        match tokens.next()? {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("values") => break,
            Some(Token::Word(name) | Token::Name(name)) if in_list => {
                if listed.len() < COLUMNS_MAX {
                    listed.push(name);
                }
            }
            Some(Token::Word(name) | Token::Name(name)) => table = name,
            Some(Token::Sign(b'(')) => in_list = true,
            Some(Token::Sign(b')')) => in_list = false,
            Some(Token::Sign(b';')) | None => return Ok(()),
            Some(_) => {}
        }
    }
    let columns: Vec<String> = match (listed.is_empty(), tables.get(&table)) {
        (false, _) => listed,
        (true, Some(known)) => known.clone(),
        (true, None) => usual(&table).iter().map(|name| (*name).to_owned()).collect(),
    };
    loop {
        match tokens.next()? {
            Some(Token::Sign(b'(')) => {}
            Some(Token::Sign(b';')) | None => return Ok(()),
            Some(_) => continue,
        }
        let (mut row, mut place) = (Row::new(), 0);
        loop {
            match tokens.next()? {
                Some(Token::Sign(b',')) => place += 1,
                Some(Token::Sign(b')')) => break,
                Some(Token::Sign(b';')) | None => return Ok(()),
                Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => {}
                Some(Token::Word(value) | Token::Name(value) | Token::Text(value)) => {
                    if let Some(column) = columns.get(place) {
                        row.insert(column.clone(), value);
                    }
                }
                Some(Token::Sign(_)) => {}
            }
        }
        take(&table, row)?;
    }
}

/// A piece of SQL.
enum Token {
    /// A word, or a number with its sign.
    Word(String),
    /// A name in backquotes.
    Name(String),
    /// A text in quotes.
    Text(String),
    /// Anything else.
    Sign(u8),
}

struct Tokens<R> {
    bytes: io::Bytes<R>,
    ahead: Option<u8>,
}

impl<R: Read> Tokens<R> {
    fn byte(&mut self) -> io::Result<Option<u8>> {
        match self.ahead.take() {
            Some(byte) => Ok(Some(byte)),
            None => self.bytes.next().transpose(),
        }
    }

    fn next(&mut self) -> io::Result<Option<Token>> {
        loop {
            let Some(byte) = self.byte()? else { return Ok(None) };
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => {}
                b'#' => self.skip_line()?,
                b'/' => match self.byte()? {
                    Some(b'*') => self.skip_comment()?,
                    other => {
                        self.ahead = other;
                        return Ok(Some(Token::Sign(byte)));
                    }
                },
                b'-' => match self.byte()? {
                    Some(b'-') => self.skip_line()?,
                    other => {
                        self.ahead = other;
                        return Ok(Some(Token::Word(self.word(b'-')?)));
                    }
                },
                b'`' => return Ok(Some(Token::Name(self.quoted(b'`')?))),
                b'\'' | b'"' => return Ok(Some(Token::Text(self.quoted(byte)?))),
                byte if is_word(byte) => return Ok(Some(Token::Word(self.word(byte)?))),
                sign => return Ok(Some(Token::Sign(sign))),
            }
        }
    }

    fn word(&mut self, first: u8) -> io::Result<String> {
        let mut word = vec![first];
        while let Some(byte) = self.byte()? {
            if !is_word(byte) {
                self.ahead = Some(byte);
                break;
            }
            if word.len() < TOKEN_MAX {
                word.push(byte);
            }
        }
        Ok(String::from_utf8_lossy(&word).into_owned())
    }

    /// A text up to its quote, which is doubled or has a backslash before it where the text has it.
    fn quoted(&mut self, quote: u8) -> io::Result<String> {
        let mut text = Vec::new();
        while let Some(mut byte) = self.byte()? {
            if byte == b'\\' && quote != b'`' {
                let Some(escaped) = self.byte()? else { break };
                byte = escaped;
            } else if byte == quote {
                match self.byte()? {
                    Some(again) if again == quote => {}
                    other => {
                        self.ahead = other;
                        break;
                    }
                }
            }
            if text.len() < TOKEN_MAX {
                text.push(byte);
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn skip_line(&mut self) -> io::Result<()> {
        while self.byte()?.is_some_and(|byte| byte != b'\n') {}
        Ok(())
    }

    fn skip_comment(&mut self) -> io::Result<()> {
        let mut was_star = false;
        while let Some(byte) = self.byte()? {
            if was_star && byte == b'/' {
                break;
            }
            was_star = byte == b'*';
        }
        Ok(())
    }

    fn skip_statement(&mut self) -> io::Result<()> {
        while let Some(token) = self.next()? {
            if matches!(token, Token::Sign(b';')) {
                break;
            }
        }
        Ok(())
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'.' | b'+') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(dump: &str) -> Vec<String> {
        let mut rows = Vec::new();
        let taken = read::<io::Error>(
            dump.as_bytes(),
            |table| if table == "t" { &["a", "b"] } else { &[] },
            |table, row| {
                let mut row: Vec<_> = row.into_iter().collect();
                row.sort();
                let row: Vec<_> = row.into_iter().map(|(column, value)| format!("{column}={value}")).collect();
                rows.push(format!("{table}: {}", row.join(" ")));
                Ok(())
            },
        );
        taken.expect("it is read");
        rows
    }

    #[test]
    fn a_dump_is_read_row_by_row() {
        let check = |dump: &str, want: &[&str]| assert_eq!(rows(dump), want, "{dump}");
        check("", &[]);
        check("INSERT INTO t VALUES (1,'x');", &["t: a=1 b=x"]);
        check(
            "INSERT INTO `t` VALUES (1,'x'),(2,NULL),\n (-3,'it''s; \\'ok\\' )(');",
            &["t: a=1 b=x", "t: a=2", "t: a=-3 b=it's; 'ok' )("],
        );
        check("insert ignore into t (`b`, a) values ('x', 1.5);", &["t: a=1.5 b=x"]);
        check(
            "-- INSERT INTO t VALUES (1,2);\n/*!40000 ALTER TABLE `t` */;\n# x\nINSERT INTO t VALUES (3,4)",
            &["t: a=3 b=4"],
        );
        let created = "DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (\n `b` char(15) DEFAULT 'a,`x`',\n `a` int(11) NOT NULL,
            PRIMARY KEY (`a`),\n UNIQUE KEY `k` (`b`)\n) ENGINE=InnoDB;\nLOCK TABLES `t` WRITE;\nINSERT INTO `t` VALUES ('x',1);\nUNLOCK TABLES;";
        check(created, &["t: a=1 b=x"]);
        check("INSERT INTO other VALUES (1,2);INSERT INTO t VALUES (1,2,3);", &["other: ", "t: a=1 b=2"]);
        // What is cut off, or makes no sense, is passed over.
        for broken in [
            "INSERT",
            "INSERT INTO t VALUES (1,'x",
            "INSERT INTO t VALUES (1",
            "CREATE TABLE t (",
            "/*",
            "'",
            "`",
            "((((",
            ";;;",
        ] {
            check(broken, &[]);
        }
        let long = "9".repeat(100_000);
        assert!(rows(&format!("INSERT INTO t VALUES ({long},'{long}');"))[0].len() < 2100);
    }
}
