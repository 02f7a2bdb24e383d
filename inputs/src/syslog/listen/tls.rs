//! TLS under a stream (RFC 5425): who we are, who may connect, and the handshake.
//!
//! Promises that where client certificates are demanded nobody's bytes are read who has none of our CA with a permitted
//! name, that a handshake ends within [`HANDSHAKE_MAX`], and that new certificates are taken without a restart:
//! broken ones leave the old in use. Sessions are not resumed, so every connection proves itself anew. Revocation
//! lists are not read.

mod name;

pub use name::Permitted;

use crate::record::Sender;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
};
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a handshake may take, from the first byte to the last.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked, at most and when somebody connects, whether the files changed.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The largest file that is read, in bytes. A distribution's bundle of all public CAs has a quarter of it.
const PEM_MAX: u64 = 1024 * 1024;

/// How much of an error's text is logged, in characters: it may quote what a peer sent, escaped.
const ERROR_MAX: usize = 300;

/// How many names of a certificate that is refused are shown.
const NAMES_SHOWN: usize = 3;

/// Who we are, and whom we let in; all files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Our certificate, and behind it those of intermediate CAs.
    pub certificate: PathBuf,
    /// Its private key, not encrypted.
    pub key: PathBuf,
    /// Who may connect; `None` = clients need no certificate.
    pub clients: Option<Clients>,
}

impl Identity {
    /// Says why these files cannot be used now.
    pub fn usable(&self) -> Result<(), TlsError> {
        config(self).map(|_| ())
    }
}

/// Which client certificates are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    /// The CA, or several, that issued them.
    pub ca: PathBuf,
    /// The names of which each must have one; empty = any name.
    pub permitted: Vec<Permitted>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {error}", file.display())]
    Unreadable {
        /// What it should hold.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no {what} in PEM", file.display())]
    Nothing {
        /// What it should hold.
        what: &'static str,
        /// The file.
        file: PathBuf,
    },
    /// The key is another certificate's.
    #[error("the key {} does not belong to the certificate {}", key.display(), certificate.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// They were read but cannot be used.
    #[error("the {what} {} cannot be used: {error}", file.display())]
    Unusable {
        /// What it holds.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// Why not.
        error: String,
    },
}

/// Certificates in use, which can be read again.
pub(super) struct Certificates {
    identity: Identity,
    config: Arc<ServerConfig>,
    /// The files as they were when they were last read, whether or not they could be used.
    stamps: Vec<Stamp>,
    /// When the stamps were last compared; nothing before the first connection.
    looked: Option<Duration>,
}

/// A connection that is shaking hands, or has.
pub(super) struct TlsStream(Box<StreamOwned<ServerConnection, TcpStream>>);

/// What changes with a file: modification time (with nanoseconds), inode, size. `None` where there is no file.
type Stamp = Option<(i64, i64, u64, u64)>;

impl Certificates {
    /// Reads the files.
    pub(super) fn load(identity: Identity) -> Result<Self, TlsError> {
        let stamps = stamps(&identity);
        Ok(Certificates { config: Arc::new(config(&identity)?), identity, stamps, looked: None })
    }

    /// Reads the files again, for connections to come; on an error the old certificates stay in use.
    pub(super) fn reload(&mut self) -> Result<(), TlsError> {
        // Before the contents: what is written in between is read the next time.
        self.stamps = stamps(&self.identity);
        self.config = Arc::new(config(&self.identity)?);
        Ok(())
    }

    /// Begins a connection. Looks first whether the files changed, but not too often.
    pub(super) fn greet(&mut self, stream: TcpStream, now: Duration, listen: &str) -> Result<TlsStream, rustls::Error> {
        if now >= *self.looked.get_or_insert(now) + LOOK_EVERY {
            self.looked = Some(now);
            if self.stamps != stamps(&self.identity) {
                match self.reload() {
                    Ok(()) => tracing::info!(listen, "the certificates changed and were read again"),
                    Err(error) => tracing::error!(listen, %error, "the certificates changed; the old ones stay in use"),
                }
            }
        }
        let connection = ServerConnection::new(self.config.clone())?;
        Ok(TlsStream(Box::new(StreamOwned::new(connection, stream))))
    }

    /// Goes on with a handshake: says whom TLS vouches for, `None` while that is open, or why it failed.
    ///
    /// It is the name in the client's certificate, or, where none is demanded, the address alone.
    pub(super) fn shake(&self, stream: &mut TlsStream, peer: &Sender) -> Result<Option<Sender>, String> {
        let StreamOwned { conn, sock } = &mut *stream.0;
        while conn.is_handshaking() {
            match conn.complete_io(sock) {
                Ok(_) => {}
                // What we say in a handshake fits into any socket's buffer.
                Err(error) if error.kind() == ErrorKind::WouldBlock && !conn.wants_write() => return Ok(None),
                Err(error) => return Err(why(&error)),
            }
        }
        let Some(clients) = &self.identity.clients else { return Ok(Some(peer.clone())) };
        let chain = conn.peer_certificates().and_then(|chain| chain.first());
        let name = chain.and_then(|first| name::permitted(first, &clients.permitted).ok());
        let name = name.ok_or_else(|| "the certificate has no permitted name".to_owned())?;
        Ok(Some(Sender::Cert(name.into())))
    }
}

impl TlsStream {
    pub(super) fn socket(&self) -> &TcpStream {
        &self.0.sock
    }
}

/// A client who does not take what TLS must tell it has its connection closed: it would be asked again and again.
impl Read for TlsStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buf) {
            Err(error) if error.kind() == ErrorKind::WouldBlock && self.0.conn.wants_write() => {
                Err(ErrorKind::BrokenPipe.into())
            }
            read => read,
        }
    }
}

/// An error of rustls in few words.
fn why(error: &io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => other.to_string(),
        Some(rustls::Error::NoCertificatesPresented) => {
            "no certificate; if the client has one, it is of none of the CAs in client_ca".to_owned()
        }
        _ => error.to_string().chars().take(ERROR_MAX).collect(),
    }
}

fn stamps(identity: &Identity) -> Vec<Stamp> {
    let files = [&identity.certificate, &identity.key];
    let files = files.into_iter().chain(identity.clients.as_ref().map(|clients| &clients.ca));
    let stamp = |file: &PathBuf| {
        let file = std::fs::metadata(file).ok()?;
        Some((file.mtime(), file.mtime_nsec(), file.ino(), file.size()))
    };
    files.map(stamp).collect()
}

/// Reads the files.
fn config(identity: &Identity) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ClientCertVerifier> = match &identity.clients {
        Some(clients) => Arc::new(verifier(clients, &provider)?),
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let Identity { certificate, key, .. } = identity;
    let chain = certificates("certificate", certificate)?;
    let secret = contents("key", key)?;
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::Nothing { what: "private key that is not encrypted", file: key.clone() },
        error => unusable("key", key, &error),
    })?;
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("certificate", certificate, &error))?;
    let mut config =
        builder.with_client_cert_verifier(verifier).with_single_cert(chain, secret).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { certificate: certificate.clone(), key: key.clone() }
            }
            error => unusable("certificate", certificate, &error),
        })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn verifier(clients: &Clients, provider: &Arc<CryptoProvider>) -> Result<NamedClients, TlsError> {
    let mut roots = RootCertStore::empty();
    for ca in certificates("client_ca", &clients.ca)? {
        roots.add(ca).map_err(|error| unusable("client_ca", &clients.ca, &error))?;
    }
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| unusable("client_ca", &clients.ca, &error))?;
    Ok(NamedClients { chain, permitted: clients.permitted.clone() })
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = contents(what, file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain = chain.map_err(|error| unusable(what, file, &error))?;
    if chain.is_empty() {
        return Err(TlsError::Nothing { what: "certificate", file: file.to_owned() });
    }
    Ok(chain)
}

fn contents(what: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(file)?.take(PEM_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > PEM_MAX {
            return Err(io::Error::other(format!("larger than {} MiB", PEM_MAX / (1024 * 1024))));
        }
        Ok(bytes)
    };
    read().map_err(|error| TlsError::Unreadable { what, file: file.to_owned(), error })
}

fn unusable(what: &'static str, file: &Path, error: &impl fmt::Display) -> TlsError {
    TlsError::Unusable { what, file: file.to_owned(), error: error.to_string() }
}

/// Takes the certificates of our CAs that have a permitted name.
///
/// The name is asked for here and not after the handshake, so that the client is told: its administrator must find out.
#[derive(Debug)]
struct NamedClients {
    chain: Arc<dyn ClientCertVerifier>,
    permitted: Vec<Permitted>,
}

impl ClientCertVerifier for NamedClients {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        match name::permitted(end_entity, &self.permitted) {
            Ok(_) => Ok(verified),
            Err(names) => Err(CertificateError::Other(OtherError(Arc::new(Stranger(names)))).into()),
        }
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The names of a certificate of our CA, none of which is permitted.
#[derive(Debug, thiserror::Error)]
#[error("the certificate's names are not permitted: {}", shown(.0))]
struct Stranger(Vec<String>);

fn shown(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "it has none".to_owned(),
        len if len > NAMES_SHOWN => format!("{shown} and {} more", len - NAMES_SHOWN),
        _ => shown,
    }
}
