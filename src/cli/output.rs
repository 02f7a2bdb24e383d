//! How things look to people: aligned, coloured only on a terminal, and never with raw log bytes.

use std::io::{self, IsTerminal, Write};

use crate::desk::reply::{At, json};

/// A time as people read it: this machine's zone, to the second.
pub(crate) fn when(at: inputs::record::Timestamp) -> String {
    match jiff::Timestamp::from_second(at.secs()) {
        Ok(time) => time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => "never".to_owned(),
    }
}

/// The same for a time that may be missing.
pub(crate) fn when_if(at: Option<At>) -> String {
    at.map_or("-".to_owned(), |at| when(at.0))
}

/// Until when a deny lasts, in words.
pub(crate) fn until(end: Option<At>) -> String {
    end.map_or("for ever".to_owned(), |at| format!("until {}", when(at.0)))
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

/// The rows of a table, with its head before them.
pub(crate) fn table<T>(head: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) -> Vec<Vec<String>> {
    let mut table = vec![head.iter().map(|text| (*text).to_owned()).collect()];
    table.extend(rows.iter().map(cells));
    table
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

    /// Prints a table: the first row is its head; columns marked `>` are flushed right.
    pub(crate) fn table(&mut self, align: &str, rows: &[Vec<String>]) -> io::Result<()> {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<_> = (0..columns)
            .map(|c| rows.iter().filter_map(|row| row.get(c)).map(|t| t.chars().count()).max().unwrap_or(0))
            .collect();
        for (index, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for (c, cell) in row.iter().enumerate() {
                let width = widths[c];
                line += &match align.as_bytes().get(c) {
                    Some(b'>') => format!("{cell:>width$}  "),
                    _ => format!("{cell:<width$}  "),
                };
            }
            let line = line.trim_end();
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
