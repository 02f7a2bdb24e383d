//! How things look to people: aligned, coloured only on a terminal, and never with raw log bytes.

use std::io::{self, IsTerminal, Write};

use serde_json::Value;

use crate::desk::reply::{At, json};
use crate::text::shown;
pub(crate) use crate::text::when;

/// The same for a time that may be missing.
pub(crate) fn when_if(at: Option<At>) -> String {
    at.map_or("-".to_owned(), |at| when(at.0))
}

/// The end of a deny.
pub(crate) fn end(at: Option<At>) -> String {
    at.map_or("for ever".to_owned(), |at| when(at.0))
}

/// Until when a deny lasts, in words.
pub(crate) fn until(at: Option<At>) -> String {
    if at.is_some() { format!("until {}", end(at)) } else { end(at) }
}

/// `1 address`, `2 addresses`: a number and its noun, by the noun's two forms.
pub(crate) fn count(number: impl Into<u64>, one: &str, many: &str) -> String {
    let number = number.into();
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The word for a value that has one, as JSON has it: `unknown`, `expired`.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or("-".to_owned())
}

/// Prints an answer, as JSON or for people.
pub(crate) fn show<T: serde::Serialize>(
    as_json: bool,
    answer: &T,
    for_people: impl FnOnce(&mut Screen) -> io::Result<()>,
) -> io::Result<()> {
    let mut screen = Screen::new();
    if as_json {
        writeln!(screen, "{}", json(answer))?
    } else {
        for_people(&mut screen)?
    }
    screen.flush()
}

/// A row of JSON, and in it the name of a user, for reading, and its bytes where they differ.
pub(crate) fn with_user(mut row: Value, user: &[u8]) -> Value {
    let (user, exact) = shown(user);
    row["user"] = user.into();
    if let Some(exact) = exact {
        row["user_b64"] = exact.into();
    }
    row
}

/// A column of a table: its head, where its cells are flushed (`<` or `>`), and its cell in a row.
pub(crate) type Column<T> = (&'static str, char, fn(&T) -> String);

/// A table under its head, a line each.
pub(crate) fn table<T>(columns: &[Column<T>], rows: &[T]) -> String {
    let mut table: Vec<Vec<String>> = vec![columns.iter().map(|(head, ..)| (*head).to_owned()).collect()];
    table.extend(rows.iter().map(|row| columns.iter().map(|(.., cell)| cell(row)).collect()));
    let width = |c: usize| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &table {
        let mut line = String::new();
        for ((cell, (_, flush, _)), width) in row.iter().zip(columns).zip(&widths) {
            line += &if *flush == '>' { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Whether an error is only that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

/// A style for a part of a line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// As it is.
    Plain,
    /// Stands out.
    Bold,
    /// Less important.
    Dim,
    /// Bad.
    Red,
    /// Good.
    Green,
    /// Look at it.
    Yellow,
    /// What we believe.
    Underlined,
    /// What a stranger wrote.
    Strange,
}

/// Standard output, and whether it may be coloured.
pub(crate) struct Screen {
    out: io::BufWriter<io::Stdout>,
    colour: bool,
}

impl Screen {
    /// Colours only on a terminal, and not if `NO_COLOR` is set (no-color.org).
    pub(crate) fn new() -> Self {
        let stdout = io::stdout();
        let colour = stdout.is_terminal() && std::env::var("NO_COLOR").map_or(true, |value| value.is_empty());
        Screen { out: io::BufWriter::with_capacity(64 * 1024, stdout), colour }
    }

    /// `text` in a style.
    pub(crate) fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            _ if !self.colour => return text.to_owned(),
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Underlined => "4",
            Style::Strange => "35",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Prints a table under its head.
    pub(crate) fn table<T>(&mut self, columns: &[Column<T>], rows: &[T]) -> io::Result<()> {
        for (index, line) in table(columns, rows).lines().enumerate() {
            let line = if index == 0 { self.paint(Style::Bold, line) } else { line.to_owned() };
            writeln!(self.out, "{line}")?;
        }
        Ok(())
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
