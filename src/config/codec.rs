//! How a value is read and written: a [`Codec`] makes a final type of it, or says what it expected.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::duration;
use crate::text::quoted;

/// A value and where it stands.
pub(super) type Node<'a> = Spanned<DeValue<'a>>;

/// Why a value is refused.
pub(super) struct Bad {
    /// Where the one value of a list stands that is; `None` = the whole is.
    pub(super) item: Option<Range<usize>>,
    /// What may stand there, or what to do.
    pub(super) expected: String,
}

/// Reads a value, or says all that is wrong with it.
type Read<T> = Box<dyn Fn(&Node<'_>) -> Result<T, Vec<Bad>>>;

/// A value as TOML; `None` = the key is left out.
type Show<T> = Box<dyn Fn(&T) -> Option<String>>;

/// The values that a key may have.
pub(super) struct Codec<T> {
    pub(super) read: Read<T>,
    pub(super) show: Show<T>,
}

impl<T: 'static> Codec<T> {
    /// Values of any form.
    pub(super) fn new(
        read: impl Fn(&DeValue<'_>) -> Result<T, String> + 'static,
        show: impl Fn(&T) -> String + 'static,
    ) -> Self {
        let read = move |node: &Node<'_>| read(node.get_ref()).map_err(whole_is_bad);
        Codec { read: Box::new(read), show: Box::new(move |value| Some(show(value))) }
    }

    /// Texts in quotes.
    pub(super) fn text(
        parse: impl Fn(&str) -> Result<T, String> + 'static,
        show: impl Fn(&T) -> String + 'static,
    ) -> Self {
        let read = move |value: &DeValue<'_>| parse(value.as_str().ok_or("expected a text in quotes")?);
        Codec::new(read, move |value| quoted(&show(value)))
    }

    /// The same in another type; `into` may refuse it.
    pub(super) fn then<U>(
        self,
        into: impl Fn(T) -> Result<U, String> + 'static,
        back: impl Fn(&U) -> T + 'static,
    ) -> Codec<U> {
        let Codec { read, show } = self;
        let read = move |node: &Node<'_>| into(read(node)?).map_err(whole_is_bad);
        Codec { read: Box::new(read), show: Box::new(move |value| show(&back(value))) }
    }

    /// A key that may be left out.
    pub(super) fn optional(self) -> Codec<Option<T>> {
        let Codec { read, show } = self;
        Codec { read: Box::new(move |node| read(node).map(Some)), show: Box::new(move |value| show(value.as_ref()?)) }
    }

    /// Not written where `test` says so.
    pub(super) fn left_out_if(self, test: fn(&T) -> bool) -> Self {
        let Codec { read, show } = self;
        Codec { read, show: Box::new(move |value| show(value).filter(|_| !test(value))) }
    }

    /// Any number of these.
    pub(super) fn list(self) -> Codec<Vec<T>> {
        let Codec { read, show } = self;
        let read = move |node: &Node<'_>| {
            let expected = "expected a list in brackets, such as [\"a\", \"b\"]";
            let DeValue::Array(items) = node.get_ref() else { return Err(whole_is_bad(expected.to_owned())) };
            let (mut values, mut all) = (Vec::new(), Vec::new());
            for item in items {
                match read(item) {
                    Ok(value) => values.push(value),
                    Err(bad) => all.extend(bad.into_iter().map(|bad| Bad { item: Some(item.span()), ..bad })),
                }
            }
            if all.is_empty() { Ok(values) } else { Err(all) }
        };
        let show = move |values: &Vec<T>| {
            let shown: Vec<String> = values.iter().filter_map(&show).collect();
            Some(format!("[{}]", shown.join(", ")))
        };
        Codec { read: Box::new(read), show: Box::new(show) }
    }
}

impl<T: 'static> Codec<T> {
    /// One of these, or a list of them.
    pub(super) fn one_or_more(self) -> Codec<Vec<T>> {
        let one = Rc::new(self);
        let (read_one, show_one) = (Rc::clone(&one), Rc::clone(&one));
        let each = Codec {
            read: Box::new(move |node: &Node<'_>| (read_one.read)(node)),
            show: Box::new(move |value: &T| (show_one.show)(value)),
        };
        let Codec { read: read_all, show: show_all } = each.list();
        let read = {
            let one = Rc::clone(&one);
            move |node: &Node<'_>| match node.get_ref() {
                DeValue::Array(_) => read_all(node),
                _ => (one.read)(node).map(|value| vec![value]),
            }
        };
        let show = move |values: &Vec<T>| match &values[..] {
            [] => None,
            [value] => (one.show)(value),
            _ => show_all(values),
        };
        Codec { read: Box::new(read), show: Box::new(show) }
    }
}

impl<T: Clone + 'static> Codec<Vec<T>> {
    /// As many as `range` says, or what was expected.
    pub(super) fn of(self, range: RangeInclusive<usize>, expected: impl Into<String>) -> Self {
        let expected = expected.into();
        let fits = move |values: Vec<T>| match range.contains(&values.len()) {
            true => Ok(values),
            false => Err(expected.clone()),
        };
        self.then(fits, Vec::clone)
    }
}

fn whole_is_bad(expected: String) -> Vec<Bad> {
    vec![Bad { item: None, expected }]
}

/// What else could stand there.
fn or(word: &str) -> String {
    format!(", or \"{word}\"")
}

/// `None` is written as `word`, such as `"never"`; `codec` is told so for its messages.
pub(super) fn unless<T: 'static>(word: &'static str, codec: impl FnOnce(String) -> Codec<T>) -> Codec<Option<T>> {
    let Codec { read, show } = codec(or(word));
    Codec {
        read: Box::new(move |node| if node.get_ref().as_str() == Some(word) { Ok(None) } else { read(node).map(Some) }),
        show: Box::new(move |value| value.as_ref().map_or(Some(quoted(word)), &show)),
    }
}

/// True or false.
pub(super) fn yes() -> Codec<bool> {
    let expected = || "expected true or false, without quotes".to_owned();
    Codec::new(move |value| value.as_bool().ok_or_else(expected), bool::to_string)
}

/// A whole number; `or` says what else could stand there, or what it counts.
pub(super) fn whole<N>(range: RangeInclusive<u32>, or: impl Into<String>) -> Codec<N>
where
    N: TryFrom<u32> + Display + 'static,
{
    let expected = format!("expected a whole number from {} to {}{}", range.start(), range.end(), or.into());
    let read = move |value: &DeValue<'_>| {
        if value.as_str().is_some_and(|text| text.parse::<u32>().is_ok()) {
            return Err(format!("{expected}; leave out the quotes"));
        }
        let number = value.as_integer().and_then(|found| u32::from_str_radix(found.as_str(), found.radix()).ok());
        let number = number.filter(|number| range.contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| expected.clone())
    };
    Codec::new(read, N::to_string)
}

/// A text that `fits`.
pub(super) fn text_that(fits: impl Fn(&str) -> bool + 'static, expected: impl Into<String>) -> Codec<String> {
    let expected = expected.into();
    let parse = move |text: &str| if fits(text) { Ok(text.to_owned()) } else { Err(expected.clone()) };
    Codec::text(parse, String::clone)
}

/// At least a second; `or` says what else could stand there.
pub(super) fn duration(or: impl Into<String>) -> Codec<Duration> {
    let or = or.into();
    let read = move |value: &DeValue<'_>| {
        let found = match (value.as_integer(), value.as_str()) {
            (Some(integer), _) => Err(duration::no_unit(&integer.to_string())),
            (None, text) => duration::parse(text.unwrap_or_default()),
        };
        match found {
            Ok(Duration::ZERO) => Err(format!("expected at least \"1s\"{or}")),
            Ok(duration) => Ok(duration),
            Err(bad) => Err(format!("{bad}{or}")),
        }
    };
    Codec::new(read, |duration| quoted(&duration::show(*duration)))
}

/// One of these words, and what each stands for.
pub(super) fn words<T: Clone + PartialEq + 'static>(choices: &[(&'static str, T)]) -> Codec<T> {
    let choices = choices.to_vec();
    let names: Vec<String> = choices.iter().map(|(name, _)| quoted(name)).collect();
    let expected = match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("expected {} or {last}", others.join(", ")),
        _ => format!("expected {}", names.concat()),
    };
    let known = choices.clone();
    let read = move |value: &DeValue<'_>| {
        let found = value.as_str();
        let choice = known.iter().find(|(name, _)| found == Some(*name));
        choice.map(|(_, choice)| choice.clone()).ok_or_else(|| expected.clone())
    };
    let show = move |value: &T| {
        let choice = choices.iter().find(|(_, choice)| choice == value);
        quoted(choice.map_or("", |(name, _)| name))
    };
    Codec::new(read, show)
}

/// A text that its type reads and writes itself; `expected` says of the type's problem what may stand there.
pub(super) fn parsed<T: FromStr + Display + 'static>(expected: fn(T::Err) -> String) -> Codec<T> {
    Codec::text(move |text| text.parse().map_err(expected), T::to_string)
}
