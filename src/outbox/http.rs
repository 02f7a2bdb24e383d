//! One POST over HTTP/1.1, and as much of its answer as is wanted. It blocks: whoever calls it has a thread for that.
//!
//! HTTP is little here: no redirects, no proxies, no connection that is used again. What a server sends has an end in time and
//! one in bytes, also once it is unpacked.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use url::Url;

use super::limited::{Limited, TIME_MAX};
use super::post::contents;

/// Bytes of the head of an answer.
const HEAD_MAX: usize = 16 * 1024;
/// What TLS adds: its handshake, and a little for each record.
const TLS_BYTES: u64 = 128 * 1024;
/// Heads of answers that only say that another one follows.
const INTERIM_MAX: usize = 4;

/// What is posted, and whereto.
pub(super) struct Post<'a> {
    pub(super) url: &'a Url,
    /// The header beside those that each has, with their line ends.
    pub(super) headers: &'a str,
    pub(super) body: &'a str,
    /// The CAs that are believed; `None` = those of the system.
    pub(super) ca_file: Option<&'a Path>,
    /// Bytes of the answer that are read, and that it may have once it is unpacked. 0 = only its number is wanted.
    pub(super) wanted: usize,
}

/// What a server answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// The number: 200 is well.
    pub(super) code: u16,
    /// The body, unpacked; empty where it is not wanted.
    pub(super) body: Vec<u8>,
}

impl Post<'_> {
    /// Posts it. The error says why there is no answer, and may have the host's name in it.
    pub(super) fn send(&self) -> Result<Answer, String> {
        let Post { url, headers, body, .. } = self;
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("no host".to_owned());
        };
        let name = host.to_string();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let bytes = TLS_BYTES + self.wanted as u64 + (self.wanted / 64) as u64;
        let mut stream = Limited::connect(bare, port, TIME_MAX, bytes).map_err(|error| error.to_string())?;
        let at = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.clone(),
        };
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: denyd/{}\r\n{headers}Content-Length: {}\r\nConnection: \
             close\r\n\r\n{body}",
            env!("CARGO_PKG_VERSION"),
            body.len()
        );
        let answer = if url.scheme() == "https" {
            let server = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
            let config = Arc::new(trust(self.ca_file)?);
            let tls = ClientConnection::new(config, server).map_err(|error| error.to_string())?;
            talk(&mut StreamOwned::new(tls, stream), &request, self.wanted)
        } else {
            talk(&mut stream, &request, self.wanted)
        };
        answer.map_err(|error| error.to_string())
    }
}

/// Whom we believe.
fn trust(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            for ca in CertificateDer::pem_slice_iter(&contents(file)?).flatten() {
                roots.add(ca).map_err(|error| format!("{}: {error}", file.display()))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no CA to believe: install ca-certificates, or see to `ca_file`".to_owned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth())
}

/// Sends the request, and reads the answer.
fn talk(stream: &mut (impl Read + Write), request: &str, wanted: usize) -> io::Result<Answer> {
    // Who refuses a request may answer before he has read it all.
    let sent = stream.write_all(request.as_bytes()).and_then(|()| stream.flush());
    let mut answer = Reader { stream, bytes: Vec::new(), at: 0 };
    let read = (|| {
        if wanted == 0 {
            return Ok(Answer { code: code(&answer.line(HEAD_MAX)?)?, body: Vec::new() });
        }
        for _ in 0..INTERIM_MAX {
            let head = answer.head()?;
            if head.code >= 200 {
                let body = answer.body(&head, wanted)?;
                return Ok(Answer { code: head.code, body });
            }
        }
        Err(speaks_no_http())
    })();
    match (sent, read) {
        (_, Ok(answer)) => Ok(answer),
        (Err(error), Err(_)) => Err(error),
        (Ok(()), Err(error)) => Err(error),
    }
}

fn speaks_no_http() -> io::Error {
    io::Error::other("it does not speak HTTP")
}

/// The number of the first line.
fn code(line: &[u8]) -> io::Result<u16> {
    let digits = line.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let code = digits.and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| code.parse().ok());
    code.filter(|code| (100..600).contains(code)).ok_or_else(speaks_no_http)
}

/// What the head of an answer says.
#[derive(Debug, Default)]
struct Head {
    code: u16,
    /// Bytes of the body, where that is told.
    length: Option<usize>,
    is_chunked: bool,
    is_gzip: bool,
}

/// What a server sends, by lines and by bytes.
struct Reader<'a, S> {
    stream: &'a mut S,
    bytes: Vec<u8>,
    at: usize,
}

impl<S: Read> Reader<'_, S> {
    /// Reads more; whether there was more.
    fn more(&mut self) -> io::Result<bool> {
        self.bytes.drain(..std::mem::take(&mut self.at));
        let mut bytes = [0; 8192];
        let read = match self.stream.read(&mut bytes) {
            // TLS that is cut off: what is missing is seen by its length.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        self.bytes.extend_from_slice(&bytes[..read]);
        Ok(read > 0)
    }

    /// The next line, without its end.
    fn line(&mut self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.bytes[self.at..].iter().position(|byte| *byte == b'\n') {
                let line = &self.bytes[self.at..self.at + end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at += end + 1;
                return Ok(line);
            }
            if self.bytes.len() - self.at > most || !self.more()? {
                return Err(speaks_no_http());
            }
        }
    }

    fn head(&mut self) -> io::Result<Head> {
        let mut head = Head { code: code(&self.line(HEAD_MAX)?)?, ..Head::default() };
        let mut left = HEAD_MAX;
        loop {
            let line = self.line(HEAD_MAX)?;
            left = left.checked_sub(line.len() + 1).ok_or_else(speaks_no_http)?;
            if line.is_empty() {
                return Ok(head);
            }
            let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else { return Err(speaks_no_http()) };
            match (name, value.trim()) {
                ("content-length", value) => head.length = Some(value.parse().map_err(|_| speaks_no_http())?),
                ("transfer-encoding", value) => head.is_chunked = value == "chunked",
                ("content-encoding", "gzip" | "x-gzip") => head.is_gzip = true,
                ("content-encoding", "identity" | "") => {}
                ("content-encoding", other) => {
                    return Err(io::Error::other(format!("it packs its answer as {other}, which nobody asked for")));
                }
                _ => {}
            }
        }
    }

    /// The body, of at most `most` bytes, packed and unpacked.
    fn body(&mut self, head: &Head, most: usize) -> io::Result<Vec<u8>> {
        let packed = match (head.is_chunked, head.length) {
            (true, _) => self.chunks(most)?,
            (false, Some(length)) if length > most => return Err(too_long(most)),
            (false, Some(length)) => self.exactly(length)?,
            (false, None) => {
                while self.bytes.len() - self.at <= most && self.more()? {}
                self.bytes.split_off(self.at)
            }
        };
        let mut body = Vec::new();
        match head.is_gzip {
            true => {
                let unpacked = MultiGzDecoder::new(&packed[..]).take(most as u64 + 1).read_to_end(&mut body);
                unpacked.map_err(|error| io::Error::other(format!("its answer cannot be unpacked: {error}")))?;
            }
            false => body = packed,
        }
        if body.len() > most { Err(too_long(most)) } else { Ok(body) }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() - self.at < length {
            if !self.more()? {
                return Err(io::Error::other("its answer ends too early"));
            }
        }
        let part = self.bytes[self.at..self.at + length].to_vec();
        self.at += length;
        Ok(part)
    }

    fn chunks(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line(HEAD_MAX)?;
            let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            let length = usize::from_str_radix(digits, 16).map_err(|_| speaks_no_http())?;
            if length == 0 {
                return Ok(body);
            }
            if length > most || body.len() + length > most {
                return Err(too_long(most));
            }
            body.append(&mut self.exactly(length)?);
            if !self.line(2)?.is_empty() {
                return Err(speaks_no_http());
            }
        }
    }
}

fn too_long(most: usize) -> io::Error {
    io::Error::other(format!("its answer has more than {} KiB, and is not read", most >> 10))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// A server that says what it was told to.
    struct Says(Cursor<Vec<u8>>);

    impl Read for Says {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            // Whatever the pieces are in which it comes.
            let most = into.len().min(3);
            self.0.read(&mut into[..most])
        }
    }

    impl Write for Says {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn an_answer_is_read_in_each_of_its_forms() {
        let check = |says: &[u8], want: Result<(u16, &[u8]), &str>| {
            let told = talk(&mut Says(Cursor::new(says.to_vec())), "POST", 100);
            match (told, want) {
                (Ok(Answer { code, body }), Ok(want)) => assert_eq!((code, &body[..]), want),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (told, want) => panic!("{told:?} {want:?} of {}", String::from_utf8_lossy(says)),
            }
        };
        let with = |head: &str, body: &[u8]| [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat();
        check(&with("Content-Length: 3\r\n", b"abcdef"), Ok((200, b"abc")));
        check(&with("content-length:3\n", b"abc"), Ok((200, b"abc")));
        check(&with("", b"abc"), Ok((200, b"abc")));
        check(&with("Transfer-Encoding: chunked\r\n", b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n"), Ok((200, b"abc")));
        let gzip = packed(b"abc");
        check(
            &with(&format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", gzip.len()), &gzip),
            Ok((200, b"abc")),
        );
        check(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 500 No\r\nContent-Length: 0\r\n\r\n", Ok((500, b"")));
        let bomb = packed(&[0; 100_000]);
        for (says, why) in [
            (with("Content-Length: 101\r\n", b""), "more than 0 KiB"),
            (with("", &[b'a'; 101]), "more than 0 KiB"),
            (with("Transfer-Encoding: chunked\r\n", b"65\r\n"), "more than 0 KiB"),
            (with("Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n"), "more than 0 KiB"),
            (with("Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n"), "does not speak HTTP"),
            (with("Transfer-Encoding: chunked\r\n", b"1\r\nabc\r\n"), "does not speak HTTP"),
            (with("Content-Length: 4\r\n", b"abc"), "ends too early"),
            (with("Content-Length: -1\r\n", b""), "does not speak HTTP"),
            (with("Content-Encoding: br\r\n", b""), "packs its answer as br"),
            (with("Content-Encoding: gzip\r\n", &bomb[..bomb.len().min(100)]), ""),
            (with("Content-Encoding: gzip\r\n", &bomb), "more than 0 KiB"),
            (with("Content-Encoding: gzip\r\n", b"abc"), "cannot be unpacked"),
            (with(&"A: b\r\n".repeat(10_000), b""), "does not speak HTTP"),
            (b"SSH-2.0-x\r\n".to_vec(), "does not speak HTTP"),
            (b"HTTP/1.1 999 x\r\n\r\n".to_vec(), "does not speak HTTP"),
            (b"HTTP/1.1 100 x\r\n\r\n".repeat(10), "does not speak HTTP"),
            (Vec::new(), "does not speak HTTP"),
        ] {
            check(&says, Err(why));
        }
    }

    /// 100 bytes of a bomb are unpacked to no more than was wanted.
    #[test]
    fn what_is_unpacked_has_an_end() {
        let bomb = packed(&vec![b'a'; 10_000_000]);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
        let says = [head.as_bytes(), &bomb].concat();
        let told = talk(&mut Says(Cursor::new(says)), "POST", 64 * 1024);
        assert!(told.unwrap_err().to_string().contains("more than 64 KiB"));
    }

    #[test]
    fn where_only_the_number_is_wanted_nothing_else_is_read() {
        let mut says = Says(Cursor::new(b"HTTP/1.1 204 No\r\nrubbish".to_vec()));
        assert_eq!(talk(&mut says, "POST", 0).unwrap(), Answer { code: 204, body: Vec::new() });
    }
}
