//! TLS listeners and clients, with certificates made for each test.

use super::*;
use inputs::syslog::listen::{Clients, HANDSHAKE_MAX, Identity, LOOK_EVERY};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use std::path::PathBuf;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring, version};

/// A CA, and a directory for what it issues.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// A certificate and its key, in PEM.
#[derive(Clone)]
struct Issued {
    certificate: String,
    key: String,
}

impl Ca {
    fn new(name: &str) -> Ca {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Ca { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, name: &str) -> Issued {
        self.issue_as(name, |_| ())
    }

    fn issue_as(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A site: its CA, and the files of its server.
struct Site {
    ca: Ca,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let site = Site { ca: Ca::new("Example CA"), directory: tempfile::tempdir().unwrap() };
        site.write("ca.pem", &site.ca.certificate.pem());
        site.install(&site.ca.issue("log.example.org"));
        site
    }

    fn install(&self, server: &Issued) {
        self.write("server.pem", &server.certificate);
        self.write("server.key", &server.key);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn identity(&self, clients: Option<Clients>) -> Identity {
        Identity { certificate: self.path("server.pem"), key: self.path("server.key"), clients }
    }

    /// A listener for clients of our CA with one of these names, or any name.
    fn listen(&self, permitted: &[&str]) -> Listen {
        let permitted = permitted.iter().map(|name| name.parse().unwrap()).collect();
        let clients = Clients { ca: self.path("ca.pem"), permitted };
        Listen::Tls(SocketAddr::new(LOOPBACK, 0), Box::new(self.identity(Some(clients))))
    }

    fn config(&self, client: Option<&Issued>, tls12: bool) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.certificate.der().clone()).unwrap();
        let versions = if tls12 { &[&version::TLS12] } else { &[&version::TLS13] };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let Some(client) = client else { return builder.with_no_client_auth() };
        let chain = CertificateDer::pem_slice_iter(client.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
        builder.with_client_auth_cert(chain, key).unwrap()
    }

    async fn connect(&self, running: &Running, client: Option<&Issued>) -> TlsStream<TcpStream> {
        self.try_connect(running, self.config(client, false)).await.unwrap()
    }

    async fn try_connect(&self, running: &Running, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(running.address.unwrap()).await?;
        let name = ServerName::try_from("log.example.org").unwrap();
        bounded(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

fn web1() -> Sender {
    Sender::Cert("web1.example.org".into())
}

#[tokio::test]
async fn tls_takes_both_framings_and_knows_the_sender() {
    let site = Site::new();
    let client = site.ca.issue("Web1.example.org");
    for tls12 in [false, true] {
        for permitted in [&["web1.example.org"][..], &["db.example.org", "*.example.org"], &[]] {
            let mut running = start(&site.listen(permitted), options());
            let mut stream = site.try_connect(&running, site.config(Some(&client), tls12)).await.unwrap();
            stream.write_all(b"<86>one\n7 <86>").await.unwrap();
            running.check(&["<86>one"], web1()).await;
            stream.write_all(b"two7 <86>sixunfinished").await.unwrap();
            running.check(&["<86>two", "<86>six"], web1()).await;
            stream.shutdown().await.unwrap();
            running.check(&["unfinished"], web1()).await;
            assert_eq!(running.stop().await, (Counters { connections: 1, ..Counters::default() }, 0));
        }
    }
}

#[tokio::test]
async fn tls_without_client_certificates_knows_the_address() {
    let site = Site::new();
    let listen = Listen::Tls(SocketAddr::new(LOOPBACK, 0), Box::new(site.identity(None)));
    let mut running = start(&listen, options());
    let mut stream = site.connect(&running, None).await;
    stream.write_all(b"<86>x\n").await.unwrap();
    running.check(&["<86>x"], Sender::Peer(LOOPBACK)).await;
    assert_eq!(running.stop().await.0.connections, 1);
}

#[tokio::test]
async fn a_cut_connection_leaves_no_half_line() {
    let site = Site::new();
    let mut running = start(&site.listen(&[]), Options { max_connections: 1, ..options() });
    let mut stream = site.connect(&running, Some(&site.ca.issue("web1.example.org"))).await;
    stream.write_all(b"<86>x\n<86>half").await.unwrap();
    running.check(&["<86>x"], web1()).await;
    // Without TLS's own end: whoever is on the way can cut there.
    drop(stream);
    // There is room for another when it has ended.
    while running.counters().connections == 1 {
        let _ = bounded(TcpStream::connect(running.address.unwrap())).await;
    }
    assert_eq!(running.stop().await.1, 0);
}

#[tokio::test]
async fn who_may_not_connect_is_refused_and_counted() {
    let site = Site::new();
    let other = Ca::new("Another CA").issue("web1.example.org");
    // The same name as our CA's, so that the client offers its certificate.
    let pretender = Ca::new("Example CA").issue("web1.example.org");
    let stranger = site.ca.issue("web2.example.org");
    let expired = site.ca.issue_as("web1.example.org", |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let server = site.ca.issue_as("web1.example.org", |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let itself = KeyPair::generate().unwrap();
    let alone = CertificateParams::new(vec!["web1.example.org".to_owned()]).unwrap().self_signed(&itself).unwrap();
    let alone = Issued { certificate: alone.pem(), key: itself.serialize_pem() };
    let mut running = start(&site.listen(&["web1.example.org"]), options());
    let bad = [None, Some(&other), Some(&pretender), Some(&stranger), Some(&expired), Some(&server), Some(&alone)];
    let mut failed = 0;
    for client in bad {
        for tls12 in [false, true] {
            // By TLS 1.3 the client is through before it hears of it.
            if let Ok(mut stream) = site.try_connect(&running, site.config(client, tls12)).await {
                assert!(!tls12);
                let _ = stream.write_all(b"<86>x\n").await;
                assert!(matches!(bounded(stream.read(&mut [0; 1])).await, Ok(0) | Err(_)));
            }
            failed += 1;
            running.until(|all| all.handshakes_failed, failed).await;
        }
    }
    for bytes in [b"<86>x\n".as_slice(), b"7 <86>one", b"", b"GET / HTTP/1.0\r\n\r\n", &[0xff; 5000]] {
        let mut client = TcpStream::connect(running.address.unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        failed += 1;
        running.until(|all| all.handshakes_failed, failed).await;
    }
    // And whoever may is still taken.
    let mut stream = site.connect(&running, Some(&site.ca.issue("web1.example.org"))).await;
    stream.write_all(b"<86>good\n").await.unwrap();
    running.check(&["<86>good"], web1()).await;
    let (counters, left) = running.stop().await;
    assert_eq!((counters.handshakes_failed, left), (failed, 0));
}

#[tokio::test]
async fn from_holds_for_tls_too() {
    let site = Site::new();
    let from = vec![("192.0.2.0".parse().unwrap(), 24)];
    let running = start(&site.listen(&[]), Options { from, ..options() });
    let config = site.config(Some(&site.ca.issue("web1.example.org")), false);
    assert!(site.try_connect(&running, config).await.is_err());
    let (counters, _) = running.stop().await;
    assert_eq!((counters.refused, counters.handshakes_failed), (1, 0));
}

#[tokio::test]
async fn a_handshake_has_its_end() {
    let site = Site::new();
    let running = start(&site.listen(&[]), options());
    let mut silent = TcpStream::connect(running.address.unwrap()).await.unwrap();
    let mut slow = TcpStream::connect(running.address.unwrap()).await.unwrap();
    // The beginning of a record of 512 bytes.
    slow.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    running.until(|all| all.connections, 2).await;
    // From here on this test turns the clock: a second and a byte each time.
    for seconds in 1..=HANDSHAKE_MAX.as_secs() {
        assert_eq!(running.counters().handshakes_failed, 0, "after {seconds} s");
        running.seconds.store(seconds, Ordering::Relaxed);
        let _ = slow.write_all(&[0]).await;
    }
    // Wakes the listener, which may have taken all bytes at the time of the first.
    let _another = TcpStream::connect(running.address.unwrap()).await.unwrap();
    running.until(|all| all.handshakes_failed, 2).await;
    for stream in [&mut silent, &mut slow] {
        assert!(matches!(bounded(stream.read(&mut [0; 1])).await, Ok(0) | Err(_)));
    }
    running.stop().await;
}

#[tokio::test]
async fn a_handshake_takes_a_place() {
    let site = Site::new();
    let running = start(&site.listen(&[]), Options { max_per_sender: 1, ..options() });
    let _silent = TcpStream::connect(running.address.unwrap()).await.unwrap();
    running.until(|all| all.connections, 1).await;
    let mut second = TcpStream::connect(running.address.unwrap()).await.unwrap();
    assert_eq!(bounded(second.read(&mut [0; 1])).await.unwrap(), 0);
    let (counters, _) = running.stop().await;
    assert_eq!((counters.refused, counters.handshakes_failed), (1, 0));
}

/// The certificate that a listener shows.
fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test]
async fn new_certificates_are_taken_while_connections_go_on() {
    let site = Site::new();
    let client = site.ca.issue("web1.example.org");
    let mut running = start(&site.listen(&[]), options());
    let mut old = site.connect(&running, Some(&client)).await;
    let next = site.ca.issue("log.example.org");

    // Half of it is there: the old one stays.
    site.write("server.pem", &next.certificate);
    running.worker.reins.reload();
    assert_eq!(shown(&site.connect(&running, Some(&client)).await), shown(&old));

    site.install(&next);
    running.worker.reins.reload();
    let mut new = bounded(async {
        loop {
            let new = site.connect(&running, Some(&client)).await;
            if shown(&new) != shown(&old) {
                break new;
            }
        }
    })
    .await;
    for stream in [&mut old, &mut new] {
        stream.write_all(b"<86>x\n").await.unwrap();
        running.check(&["<86>x"], web1()).await;
    }

    // Another CA: its clients are in, those of the old one stay as long as they are connected.
    let ca = Ca::new("Another CA");
    site.write("ca.pem", &ca.certificate.pem());
    running.worker.reins.reload();
    bounded(async {
        while running.counters().handshakes_failed == 0 {
            let _ = site.try_connect(&running, site.config(Some(&client), false)).await;
        }
    })
    .await;
    let mut third = site.connect(&running, Some(&ca.issue("web3.example.org"))).await;
    third.write_all(b"<86>z\n").await.unwrap();
    running.check(&["<86>z"], Sender::Cert("web3.example.org".into())).await;
    old.write_all(b"<86>y\n").await.unwrap();
    running.check(&["<86>y"], web1()).await;
    running.stop().await;
}

#[tokio::test]
async fn changed_files_are_found_in_time() {
    let site = Site::new();
    let client = site.ca.issue("web1.example.org");
    let running = start(&site.listen(&[]), options());
    let first = shown(&site.connect(&running, Some(&client)).await);
    let later = || running.seconds.fetch_add(LOOK_EVERY.as_secs(), Ordering::Relaxed);
    site.install(&site.ca.issue("log.example.org"));
    assert_eq!(shown(&site.connect(&running, Some(&client)).await), first, "it is not looked at each connection");
    later();
    let second = shown(&site.connect(&running, Some(&client)).await);
    assert_ne!(second, first);
    site.write("server.pem", "nothing");
    later();
    assert_eq!(shown(&site.connect(&running, Some(&client)).await), second);
    std::fs::remove_file(site.path("server.pem")).unwrap();
    later();
    assert_eq!(shown(&site.connect(&running, Some(&client)).await), second);
    site.install(&site.ca.issue("log.example.org"));
    later();
    assert_ne!(shown(&site.connect(&running, Some(&client)).await), second);
    running.stop().await;
}

#[tokio::test]
async fn wrong_files_are_errors() {
    let site = Site::new();
    let good = site.ca.issue("log.example.org");
    #[track_caller]
    fn check(site: &Site, expected: &str) {
        let error = bind(&site.listen(&[]), options()).err().unwrap().to_string();
        assert_eq!(error.replace(&format!("{}/", site.directory.path().display()), ""), expected);
    }
    site.write("server.key", &site.ca.issue("log.example.org").key);
    check(&site, "the key server.key does not belong to the certificate server.pem");
    site.write("server.key", &good.certificate);
    check(&site, "server.key holds no private key that is not encrypted in PEM");
    std::fs::remove_file(site.path("server.key")).unwrap();
    check(&site, "cannot read the key server.key: No such file or directory (os error 2)");
    site.install(&good);
    site.write("server.pem", &good.key);
    check(&site, "server.pem holds no certificate in PEM");
    site.write("server.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check(&site, "the certificate server.pem cannot be used: invalid peer certificate: BadEncoding");
    site.write("server.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    check(&site, "the certificate server.pem cannot be used: base64 decode error: InvalidCharacter(33)");
    site.write("server.pem", &"x".repeat(2 * 1024 * 1024));
    check(&site, "cannot read the certificate server.pem: larger than 1 MiB");
    site.install(&good);
    site.write("ca.pem", "");
    check(&site, "ca.pem holds no certificate in PEM");
    site.write("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    check(&site, "the client_ca ca.pem cannot be used: invalid peer certificate: BadEncoding");
}
