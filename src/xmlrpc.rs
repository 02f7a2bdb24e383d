//! The XML-RPC of DenyHosts' synchronization: its three calls and what is answered to them, as text in both directions.
//!
//! Written as Python's `xmlrpc` writes it, byte for byte, since that is what DenyHosts and its servers speak; read more
//! tolerantly: a number may be an int, a string or a double, a value may have no type, and lists may be missing. Promises
//! that nothing a stranger sends costs more than a few times its own size: what nests deeper than [`DEPTH_MAX`] or has more
//! than [`VALUES_MAX`] values is refused, and so are DTDs and entities. How long a text may be is for the caller to say.
//! Whether a host is an address, too.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::Event;

/// How deep values may nest. What the protocol has is three deep.
pub const DEPTH_MAX: usize = 8;

/// How many values a text may have, each at most 32 bytes beside its own text: ten times the hosts of a hub's answer.
pub const VALUES_MAX: usize = 100_000;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Says whom the client denied.
    AddHosts(Vec<String>),
    /// Asks whom others denied.
    GetNewHosts {
        /// The timestamp of the last answer; 0 at first. What was negative is 0.
        since: u64,
        /// How many must have reported a host.
        threshold: u32,
        /// What the client has just sent, and need not be told.
        added: Vec<String>,
        /// How many seconds must lie between a host's first report and its latest.
        resiliency: u64,
    },
    /// Says which versions of Python and of DenyHosts the client has.
    VersionReport(Vec<String>),
    /// A method that is none of these, by its name.
    Other(String),
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// That it is done. Read from anything that is neither of the others; written as the int 0.
    Done,
    /// Whom others denied.
    NewHosts {
        /// What to ask with the next time, in seconds of the epoch by the server's clock. Written as a string, since
        /// DenyHosts writes it to a file as it is.
        timestamp: u64,
        /// As the server says, which nobody has checked.
        hosts: Vec<String>,
    },
    /// That it is not done.
    Fault {
        /// 101 to 105 of denyhosts_sync, 8001 and 8002 of Twisted, or another.
        code: i64,
        /// For a person; a stranger wrote it.
        text: String,
    },
}

/// Why a text is no call, or no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not well formed, or not what XML-RPC has there.
    #[error("not XML-RPC: {0}")]
    Xml(String),
    /// It has more than is read.
    #[error("not read: {0}")]
    Limit(&'static str),
    /// It is XML-RPC, and not what that method or its answer has.
    #[error("illegal parameters of {0}")]
    Parameters(&'static str),
}

impl Call {
    /// Reads a request's body.
    pub fn from_xml(text: &str) -> Result<Self, Error> {
        let mut parser = Parser::new(text);
        parser.open("methodCall")?;
        parser.open("methodName")?;
        let name = parser.text()?.trim().to_owned();
        let mut parameters = Vec::new();
        // None are none.
        if let Token::Open(tag) = parser.token()? {
            expect(&tag, "params")?;
            parameters = parser.params()?;
            parser.close()?;
        }
        parser.end()?;
        match name.as_str() {
            "add_hosts" => one(parameters).and_then(texts).map(Call::AddHosts).ok_or(Error::Parameters("add_hosts")),
            "get_new_hosts" => get_new_hosts(parameters).ok_or(Error::Parameters("get_new_hosts")),
            "version_report" => {
                one(parameters).and_then(texts).map(Call::VersionReport).ok_or(Error::Parameters("version_report"))
            }
            _ => Ok(Call::Other(name)),
        }
    }

    /// Writes a request's body.
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version='1.0'?>\n<methodCall>\n<methodName>");
        let (name, parameters) = match self {
            Call::AddHosts(hosts) => ("add_hosts", vec![list(hosts)]),
            Call::GetNewHosts { since, threshold, added, resiliency } => {
                let numbers = (number(*since), number(u64::from(*threshold)), number(*resiliency));
                ("get_new_hosts", vec![numbers.0, numbers.1, list(added), numbers.2])
            }
            Call::VersionReport(versions) => ("version_report", vec![list(versions)]),
            Call::Other(name) => (name.as_str(), Vec::new()),
        };
        escape(&mut out, name);
        out += "</methodName>\n<params>\n";
        for parameter in parameters {
            let _ = write!(out, "<param>\n{parameter}</param>\n");
        }
        out + "</params>\n</methodCall>\n"
    }
}

impl Answer {
    /// Reads the body of an answer.
    pub fn from_xml(text: &str) -> Result<Self, Error> {
        let mut parser = Parser::new(text);
        parser.open("methodResponse")?;
        let Token::Open(tag) = parser.token()? else { return Err(Error::Xml("an answer without a value".into())) };
        if tag == "fault" {
            parser.open("value")?;
            let fault = parser.value(0)?;
            parser.close()?;
            parser.close()?;
            parser.end()?;
            return Answer::fault(fault).ok_or(Error::Parameters("a fault"));
        }
        expect(&tag, "params")?;
        let values = parser.params()?;
        parser.close()?;
        parser.end()?;
        match one(values) {
            Some(Value::Struct(mut members))
                if members.iter().any(|(name, _)| name == "hosts" || name == "timestamp") =>
            {
                let mut read = || {
                    let timestamp = unsigned(&field(&mut members, "timestamp")?)?;
                    Some(Answer::NewHosts { timestamp, hosts: texts(field(&mut members, "hosts")?)? })
                };
                read().ok_or(Error::Parameters("the answer of get_new_hosts"))
            }
            _ => Ok(Answer::Done),
        }
    }

    fn fault(value: Value) -> Option<Self> {
        let Value::Struct(mut members) = value else { return None };
        let code = integer(&field(&mut members, "faultCode")?)?;
        let code = i64::try_from(code.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).ok()?;
        let text = match field(&mut members, "faultString") {
            Some(Value::Text(text)) => text,
            _ => String::new(),
        };
        Some(Answer::Fault { code, text })
    }

    /// Writes the body of an answer.
    pub fn to_xml(&self) -> String {
        let mut out = String::from("<?xml version='1.0'?>\n<methodResponse>\n");
        let (before, value, after) = match self {
            Answer::Done => ("<params>\n<param>\n", number(0), "</param>\n</params>\n"),
            Answer::NewHosts { timestamp, hosts } => {
                let members = [("timestamp", string(&timestamp.to_string())), ("hosts", list(hosts))];
                ("<params>\n<param>\n", structure(&members), "</param>\n</params>\n")
            }
            Answer::Fault { code, text } => {
                let members =
                    [("faultCode", format!("<value><int>{code}</int></value>\n")), ("faultString", string(text))];
                ("<fault>\n", structure(&members), "</fault>\n")
            }
        };
        for part in [before, &value, after, "</methodResponse>\n"] {
            out += part;
        }
        out
    }
}

/// A value that was read. What stands in a scalar is its text, whatever its type: each says what it wants by how it reads it.
#[derive(Debug)]
enum Value {
    Text(String),
    Array(Vec<Value>),
    Struct(Vec<(String, Value)>),
}

fn one(mut values: Vec<Value>) -> Option<Value> {
    (values.len() == 1).then(|| values.pop()).flatten()
}

fn get_new_hosts(values: Vec<Value>) -> Option<Call> {
    let [since, threshold, added, resiliency] = <[Value; 4]>::try_from(values).ok()?;
    let threshold = u32::try_from(unsigned(&threshold)?).unwrap_or(u32::MAX);
    let resiliency = unsigned(&resiliency)?;
    Some(Call::GetNewHosts { since: unsigned(&since)?, threshold, added: texts(added)?, resiliency })
}

/// The texts of an array; nothing is no text.
fn texts(value: Value) -> Option<Vec<String>> {
    let items = match value {
        Value::Array(items) => items,
        Value::Text(text) if text.trim().is_empty() => Vec::new(),
        Value::Text(_) | Value::Struct(_) => return None,
    };
    let text = |value| match value {
        Value::Text(text) => Some(text),
        Value::Array(_) | Value::Struct(_) => None,
    };
    items.into_iter().map(text).collect()
}

/// Takes the last member of that name, which is the one that Python takes.
fn field(members: &mut Vec<(String, Value)>, name: &str) -> Option<Value> {
    let place = members.iter().rposition(|(key, _)| key == name)?;
    Some(members.swap_remove(place).1)
}

/// A number as Python's `int()` takes it, of a text or a double.
fn integer(value: &Value) -> Option<i128> {
    let Value::Text(text) = value else { return None };
    let text = text.trim();
    // What is no digit for a person (`inf`) is no number here.
    let double = || text.parse::<f64>().ok().filter(|it| it.is_finite() && !text.is_empty()).map(|it| it as i128);
    text.parse().ok().or_else(double)
}

/// The same; what is negative is 0, and what is too large the largest.
fn unsigned(value: &Value) -> Option<u64> {
    Some(u64::try_from(integer(value)?.max(0)).unwrap_or(u64::MAX))
}

/// An int, or a string where Python would refuse to read that much.
fn number(number: u64) -> String {
    match i32::try_from(number) {
        Ok(number) => format!("<value><int>{number}</int></value>\n"),
        Err(_) => string(&number.to_string()),
    }
}

fn string(text: &str) -> String {
    let mut out = String::from("<value><string>");
    escape(&mut out, text);
    out + "</string></value>\n"
}

fn list(texts: &[String]) -> String {
    let mut out = String::with_capacity(texts.len() * 64 + 64);
    out += "<value><array><data>\n";
    for text in texts {
        out += "<value><string>";
        escape(&mut out, text);
        out += "</string></value>\n";
    }
    out + "</data></array></value>\n"
}

fn structure(members: &[(&str, String)]) -> String {
    let mut out = String::from("<value><struct>\n");
    for (name, value) in members {
        for part in ["<member>\n<name>", name, "</name>\n", value, "</member>\n"] {
            out += part;
        }
    }
    out + "</struct></value>\n"
}

/// A text within XML 1.0: what cannot stand there is `?`.
fn escape(out: &mut String, text: &str) {
    for char in text.chars() {
        match char {
            '&' => *out += "&amp;",
            '<' => *out += "&lt;",
            '>' => *out += "&gt;",
            '\r' => *out += "&#13;",
            '\t' | '\n' => out.push(char),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            _ => out.push(char),
        }
    }
}

/// A piece of XML: a tag, or the end of the element that is open. Text between them is gathered beside.
enum Token {
    Open(String),
    Close,
}

struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    /// Text since the last tag.
    text: String,
    /// Values that were read.
    values: usize,
}

fn expect(tag: &str, want: &'static str) -> Result<(), Error> {
    if tag == want { Ok(()) } else { Err(Error::Xml(format!("no <{want}> where it belongs"))) }
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Self { reader, text: String::new(), values: 0 }
    }

    /// The next tag. Comments and instructions are nothing.
    fn next(&mut self) -> Result<Option<Token>, Error> {
        self.text.clear();
        loop {
            match self.reader.read_event().map_err(|error| Error::Xml(error.to_string()))? {
                Event::Start(tag) => return Ok(Some(Token::Open(tag.local_name().into_inner().to_owned()))),
                Event::End(_) => return Ok(Some(Token::Close)),
                Event::Text(text) => self.text += &text.xml10_content(),
                Event::CData(text) => self.text += &text.xml10_content(),
                Event::GeneralRef(name) => self.text.push(referred(&name)?),
                Event::DocType(_) => return Err(Error::Limit("a DTD")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Empty(_) => {}
                Event::Eof => return Ok(None),
            }
        }
    }

    fn token(&mut self) -> Result<Token, Error> {
        self.next()?.ok_or_else(|| Error::Xml("it ends too early".into()))
    }

    fn open(&mut self, want: &'static str) -> Result<(), Error> {
        match self.token()? {
            Token::Open(tag) => expect(&tag, want),
            Token::Close => expect("", want),
        }
    }

    fn close(&mut self) -> Result<(), Error> {
        match self.token()? {
            Token::Close => Ok(()),
            Token::Open(_) => Err(Error::Xml("an element too many".into())),
        }
    }

    /// Nothing comes after the last element.
    fn end(&mut self) -> Result<(), Error> {
        match self.next()? {
            None if self.text.trim().is_empty() => Ok(()),
            _ => Err(Error::Xml("something behind its end".into())),
        }
    }

    /// The text of an element that has nothing else.
    fn text(&mut self) -> Result<String, Error> {
        self.close()?;
        Ok(std::mem::take(&mut self.text))
    }

    /// The values of a `<params>` that is open, and its end.
    fn params(&mut self) -> Result<Vec<Value>, Error> {
        let mut values = Vec::new();
        while let Token::Open(tag) = self.token()? {
            expect(&tag, "param")?;
            self.open("value")?;
            values.push(self.value(0)?);
            self.close()?;
        }
        Ok(values)
    }

    /// What stands in a `<value>` that is open, and its end.
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if depth >= DEPTH_MAX {
            return Err(Error::Limit("values that nest so deep"));
        }
        if self.values > VALUES_MAX {
            return Err(Error::Limit("so many values"));
        }
        let Token::Open(tag) = self.token()? else { return Ok(Value::Text(std::mem::take(&mut self.text))) };
        let value = match tag.as_str() {
            "array" => {
                self.open("data")?;
                let mut items = Vec::new();
                while let Token::Open(tag) = self.token()? {
                    expect(&tag, "value")?;
                    items.push(self.value(depth + 1)?);
                }
                self.close()?;
                Value::Array(items)
            }
            "struct" => {
                let mut members = Vec::new();
                while let Token::Open(tag) = self.token()? {
                    expect(&tag, "member")?;
                    self.open("name")?;
                    let name = self.text()?;
                    self.open("value")?;
                    members.push((name, self.value(depth + 1)?));
                    self.close()?;
                }
                Value::Struct(members)
            }
            _ => Value::Text(self.text()?),
        };
        self.close()?;
        Ok(value)
    }
}

/// The character that a reference means. There are no entities but XML's own.
fn referred(name: &quick_xml::events::BytesRef<'_>) -> Result<char, Error> {
    let known = match &**name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => name.resolve_char_ref().map_err(|error| Error::Xml(error.to_string()))?,
    };
    known.ok_or(Error::Limit("an entity"))
}

#[cfg(test)]
mod tests;
