//! The server that machines share their denies by (`denyd hub`): what DenyHosts' clients and denyd's ask of it, as
//! denyhosts_sync answered.
//!
//! A program of its own beside the daemon: it reads no log and denies nobody, and shares with the daemon only the ground.
//! [`serve`] is HTTP: who asks, and how much. [`calls`] is what is asked. [`keeper`] is the one thread that writes; it owns
//! the [`book`], which records by [`due`], hands out of a [`feed`], and keeps all in [`store`]; [`watch`] says which time it is.
//! [`statistics`] reads from that what [`page`] shows to everybody, in figures, [`chart`]s and tables; [`markup`] is the one
//! way from text to HTML.
//!
//! Who reports is never shown or handed out: not by an answer, not by the page, not by a line of the log.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::clock;
use book::{Book, Limits};
use count::Counters;
use keeper::Keeper;
use rates::{Rate, Rates};
use settings::Settings;
use statistics::Statistics;

pub mod book;
pub mod calls;
pub mod chart;
pub mod count;
pub mod due;
pub mod dump;
pub mod feed;
pub mod import;
pub mod keeper;
pub mod markup;
pub mod page;
pub mod rates;
pub mod serve;
pub mod settings;
pub mod statistics;
pub mod store;
pub mod tokens;
pub mod watch;

/// How often the figures of the page are made, at most; they take no more than a twentieth of the time.
const FIGURES_EVERY: Duration = Duration::from_secs(60);

/// Runs a hub until the process is told to end (SIGTERM, SIGINT).
pub fn run(settings: &Settings) -> anyhow::Result<()> {
    let admission = settings.admission()?;
    let tls = tls(settings)?;
    let dir = settings.state_dir.clone();
    let _lock = store::lock(&dir)?;
    let limits = Limits { expiry: i64::from(settings.expiry_days) * 24 * 3600, ..Limits::default() };
    let book = Book::new(store::open(&dir)?, limits, clock::now().secs())?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind(settings.listen));
    let listener = listener.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let listen = listener.local_addr()?.to_string();

    let rate = Rate { requests_per_minute: settings.requests_per_minute, hosts_per_hour: settings.hosts_per_hour };
    let counters = Arc::new(Counters::default());
    let (tasks, queue) = mpsc::sync_channel(keeper::TASKS_MAX);
    let shared = Arc::new(serve::Shared::new(admission, Rates::new(rate), counters.clone(), tasks));
    let keeper = Keeper { book, counters, listen: listen.clone(), rates: Rates::new(rate) };
    let figures = shared.figures.clone();
    let (stop, stopped) = mpsc::channel();
    let of = dir.clone();
    let counted =
        std::thread::Builder::new().name("figures".to_owned()).spawn(move || figure(&of, &figures, &stopped))?;
    let kept = std::thread::Builder::new().name("keeper".to_owned()).spawn(move || keeper.run(&queue, &dir))?;

    tracing::info!(%listen, tls = tls.is_some(), "the hub listens");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let ended = runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            told = tokio::signal::ctrl_c() => told?,
            never = serve::serve(listener, tls, shared) => match never {},
        }
        anyhow::Ok(())
    });
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    // With the connections end the senders of tasks, and with them the thread.
    drop((runtime, stop));
    if kept.join().is_err() || counted.join().is_err() {
        anyhow::bail!("a thread of the hub has failed");
    }
    tracing::info!("the hub ends");
    ended
}

/// Makes the figures of the page now and then, until `stopped` is closed.
fn figure(dir: &Path, figures: &RwLock<Statistics>, stopped: &Receiver<Infallible>) {
    loop {
        let began = clock::monotonic();
        let read = store::open_to_read(dir)
            .and_then(|db| Statistics::read(&db, clock::now().secs()).map_err(store::Error::Sqlite));
        match read {
            Ok(read) => *figures.write().unwrap_or_else(PoisonError::into_inner) = read,
            Err(error) => tracing::warn!(%error, "the figures of the hub's page cannot be made; the last ones stay"),
        }
        let pause = FIGURES_EVERY.max(began.elapsed() * 20);
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn tls(settings: &Settings) -> anyhow::Result<Option<TlsAcceptor>> {
    let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
    let of = |path: &PathBuf| format!("cannot use {}", path.display());
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect).with_context(|| of(certificate))?;
    anyhow::ensure!(!chain.is_empty(), "{} has no certificate", certificate.display());
    let secret = PrivateKeyDer::from_pem_file(key).with_context(|| of(key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .with_context(|| of(certificate))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}
