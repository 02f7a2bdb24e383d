//! HTML that holds other people's text.
//!
//! Promises that nothing of a database becomes markup: [`Markup`] is made of literals of this program and of texts, and a
//! text has one way in, which escapes it. A `String` is no literal, so to forget that does not compile. Knows nothing of
//! which elements there are.

use std::fmt::{self, Display, Write};

/// Letters of one text that are shown; the rest of it becomes `…`. The longest address has 45.
pub const TEXT_MAX: usize = 200;

/// A piece of HTML, or of SVG within it.
#[derive(Clone, Debug, Default)]
pub struct Markup(String);

impl Markup {
    /// Adds `markup`, in which each `{}` becomes the next of `texts`. They may stand between elements and in quoted values
    /// of attributes. As many as there are places must be given.
    pub fn add(&mut self, markup: &'static str, texts: &[&dyn Display]) -> &mut Self {
        let mut pieces = markup.split("{}");
        self.0 += pieces.next().unwrap_or_default();
        let mut count = 0;
        for piece in pieces {
            if let Some(text) = texts.get(count) {
                self.text(text);
            }
            self.0 += piece;
            count += 1;
        }
        debug_assert_eq!(count, texts.len(), "places for texts in {markup}");
        self
    }

    /// Adds what is markup already.
    pub fn append(&mut self, other: &Markup) -> &mut Self {
        self.0 += &other.0;
        self
    }

    /// The document.
    pub fn into_string(self) -> String {
        self.0
    }

    /// The one way in for text.
    fn text(&mut self, text: &dyn Display) {
        let mut escaped = Escaped { out: &mut self.0, left: TEXT_MAX };
        // It ends with an error where the text was too long.
        if write!(escaped, "{text}").is_err() {
            self.0.push('…');
        }
    }
}

/// Escapes what is written to it.
struct Escaped<'a> {
    out: &'a mut String,
    left: usize,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            match char {
                '&' => *self.out += "&amp;",
                '<' => *self.out += "&lt;",
                '>' => *self.out += "&gt;",
                '"' => *self.out += "&quot;",
                '\'' => *self.out += "&#39;",
                char if is_odd(char) => self.out.push('\u{fffd}'),
                char => self.out.push(char),
            }
        }
        Ok(())
    }
}

/// Whether it is nothing to see, or moves what stands beside it: controls, and what turns the direction of writing.
fn is_odd(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || char.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_markup() {
        let check = |text: &str, want: &str| {
            let mut markup = Markup::default();
            markup.add("<p title=\"{}\">{}</p>", &[&text, &text]);
            assert_eq!(markup.into_string(), format!("<p title=\"{want}\">{want}</p>"));
        };
        check("192.0.2.1", "192.0.2.1");
        check("2001:db8::1", "2001:db8::1");
        check("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;");
        check("\"><img src=x onerror='a()'>", "&quot;&gt;&lt;img src=x onerror=&#39;a()&#39;&gt;");
        check("&lt;", "&amp;lt;");
        // What looks like a place for text is none.
        check("{}", "{}");
        check("a\0b\u{7f}c\nd\u{85}", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
        check("\u{202e}1.2.0.291\u{2066}\u{feff}", "\u{fffd}1.2.0.291\u{fffd}\u{fffd}");
        check("é日", "é日");
        check(&"<".repeat(TEXT_MAX), &"&lt;".repeat(TEXT_MAX));
        check(&"<".repeat(TEXT_MAX + 1), &format!("{}…", "&lt;".repeat(TEXT_MAX)));
        check(&"'".repeat(1 << 20), &format!("{}…", "&#39;".repeat(TEXT_MAX)));
    }

    #[test]
    fn markup_within_markup_stays() {
        let mut part = Markup::default();
        part.add("<b>{}</b>", &[&"<"]);
        let mut whole = Markup::default();
        whole.add("<p>", &[]).append(&part).add("{}</p>", &[&12]);
        assert_eq!(whole.into_string(), "<p><b>&lt;</b>12</p>");
    }
}
