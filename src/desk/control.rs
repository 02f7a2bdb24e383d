//! The control socket: where the command line talks to the daemon.
//!
//! One request a connection, a line of JSON; the answer is a line too, or for `tap` as many as there are records.
//! root and the daemon's own user may do all; whoever else can open the socket (its group) may only look.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::desk::reply::{self, Answer, Envelope, Reply, Status, Tapped};
use crate::desk::{Look, Request, aside};

/// Clients at a time, of those who may do all, and as many of those who may only look; further ones are told so. Whoever
/// may only look so keeps nobody else from asking.
const CLIENTS_MAX: usize = 64;
/// Of them, those that `tap` or `watch`: they stay for as long as they like, and must leave places for those who ask.
const TAPS_MAX: usize = 16;
/// Bytes of a request.
const REQUEST_MAX: u64 = 64 * 1024;
/// Lists that are made or handed over at a time, of each of the two; who asks for further ones waits. A list of
/// [`ROWS_MAX`](super::ROWS_MAX) rows takes about 70 MB while it is made, and 30 until it is taken.
const LISTS_MAX: usize = 2;
/// How long a client may take to say what it wants, or to take an answer.
const IDLE: Duration = Duration::from_secs(5);
/// How long the engine is waited for before who asks for the status gets the last one.
const FRESH: Duration = Duration::from_millis(50);
/// The group whose members may look.
const GROUP: &str = "denyd";
/// How long NSS is waited for, which may ask a directory server that does not answer.
const ASKED_WITHIN: Duration = Duration::from_secs(2);

/// A request on its way to the engine.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub request: Request,
    /// The process that asks, as the kernel knows it (`SO_PEERCRED`); none where a signal asks, or it is in another world.
    pub caller: Option<i32>,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Told>,
}

/// What the engine answers.
#[derive(Debug)]
pub struct Told {
    /// The answer; `Err` is a message for the person who asked.
    pub reply: Result<Reply, String>,
    /// Whether what was done could not be written yet.
    pub unwritten: bool,
}

/// What the server hands requests to.
#[derive(Clone, Debug)]
pub struct Line {
    /// To the engine.
    pub asks: mpsc::Sender<Ask>,
    /// To the engine, too: what is made of looks at it does not hold it up.
    pub looks: mpsc::Sender<Look>,
    /// The status as a commit found it, not long ago, for when the engine is busy.
    pub latest: watch::Receiver<Option<Arc<Status>>>,
    /// Whether nothing is enforced, which every answer says.
    pub dry_run: bool,
    /// Records as they are folded; nobody makes them while nobody listens.
    pub taps: broadcast::Sender<Arc<str>>,
    /// The number of the newest decision.
    pub decided: watch::Receiver<i64>,
}

/// Opens the socket; a stale one is replaced, a live one is an error.
pub fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => bail!("{} exists and is no socket", path.display()),
        Ok(_) if StdUnixStream::connect(path).is_ok() => {
            bail!("another denyd answers at {}; stop it first, or give another control_socket", path.display())
        }
        Ok(_) => std::fs::remove_file(path).with_context(|| format!("cannot remove the stale {}", path.display()))?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
    let group = within(ASKED_WITHIN, || Some(nix::unistd::Group::from_name(GROUP).ok()??.gid)).unwrap_or_else(|| {
        tracing::warn!(
            path = %path.display(),
            "it takes long to ask for the group {GROUP} (see nsswitch.conf(5)): until denyd is restarted, root alone may look"
        );
        None
    });
    if let Some(group) = group.filter(|group| *group != nix::unistd::getegid())
        && let Err(error) = nix::unistd::chown(path, None, Some(group))
    {
        tracing::warn!(%error, path = %path.display(), "cannot give the control socket to its group");
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", path.display()))?;
    Ok(listener)
}

/// The places of some clients.
struct Places {
    /// For each of them.
    all: Arc<Semaphore>,
    /// For those who wait for a list or take it.
    lists: Arc<Semaphore>,
}

impl Places {
    fn new() -> Places {
        Places { all: Arc::new(Semaphore::new(CLIENTS_MAX)), lists: Arc::new(Semaphore::new(LISTS_MAX)) }
    }
}

/// Does something in a thread of its own; `None` if it takes longer than `most`, or there is no thread.
fn within<T: Send + 'static>(most: Duration, something: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, told) = std::sync::mpsc::channel();
    let begun = std::thread::Builder::new().name("group".to_owned()).spawn(move || done.send(something()));
    begun.ok().and_then(|_| told.recv_timeout(most).ok())
}

/// Serves the socket until the task is dropped.
pub async fn serve(listener: UnixListener, line: Line) {
    let [masters, others] = [(); 2].map(|()| Places::new());
    let taps = Arc::new(Semaphore::new(TAPS_MAX));
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let places = if is_master(&client) { &masters } else { &others };
                let Ok(place) = places.all.clone().try_acquire_owned() else {
                    turn_away(client);
                    continue;
                };
                let (line, taps, lists) = (line.clone(), taps.clone(), places.lists.clone());
                tokio::spawn(async move {
                    if let Err(error) = serve_client(client, line, &taps, &lists).await {
                        tracing::debug!(%error, "a client of the control socket");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept at the control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether a client may do all: root, and our own user.
fn is_master(client: &UnixStream) -> bool {
    client.peer_cred().is_ok_and(|peer| [0, nix::unistd::geteuid().as_raw()].contains(&peer.uid()))
}

/// Tells a client that there is no place, without waiting for it.
fn turn_away(client: UnixStream) {
    let error = reply::json(&Answer::<()>::Error(format!("{CLIENTS_MAX} others ask already; ask again in a moment")));
    // What does not fit into its empty buffer is not worth waiting for.
    let _ = client.into_std().and_then(|mut client| client.write_all(format!("{error}\n").as_bytes()));
}

async fn serve_client(client: UnixStream, line: Line, taps: &Semaphore, lists: &Semaphore) -> anyhow::Result<()> {
    let master = is_master(&client);
    let caller = client.peer_cred().ok().and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
    let (reader, mut writer) = client.into_split();
    let mut text = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_MAX));
    timeout(IDLE, reader.read_line(&mut text)).await??;
    let request: Request = match serde_json::from_str(&text) {
        Ok(request) => request,
        Err(error) => return refuse(&mut writer, format!("not a request: {error}")).await,
    };
    if !master && !request.only_reads() {
        let error = "only root may change what is denied; members of the group may look";
        return refuse(&mut writer, error.to_owned()).await;
    }
    if request == Request::Tap {
        let Ok(_place) = taps.try_acquire() else {
            return refuse(&mut writer, format!("{TAPS_MAX} others tap or watch already")).await;
        };
        let mut rows = line.taps.subscribe();
        put(&mut writer, &Answer::Ok(())).await?;
        loop {
            let row = tokio::select! {
                row = rows.recv() => row,
                // It is gone, or says more than it may: on a quiet box no row would ever find that out.
                _ = reader.fill_buf() => return Ok(()),
            };
            match row {
                Ok(row) => {
                    timeout(IDLE, writer.write_all(row.as_bytes())).await??;
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    put(&mut writer, &Tapped::Missed { missed }).await?;
                }
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            }
        }
    }
    if request == Request::Watch {
        let Ok(_place) = taps.try_acquire() else {
            return refuse(&mut writer, format!("{TAPS_MAX} others tap or watch already")).await;
        };
        return tokio::select! {
            done = watch(&line, &mut writer) => done,
            _ = reader.fill_buf() => Ok(()),
        };
    }
    if request.is_aside() {
        // Whoever takes a long answer slowly has its memory.
        let _place = if request.is_list() { Some(lists.acquire().await?) } else { None };
        let (mut looks, dry_run) = (line.looks, line.dry_run);
        let answer = tokio::task::spawn_blocking(move || match aside::answer(&request, &mut looks) {
            Ok(reply) => reply::line(reply, dry_run),
            Err(error) => reply::json(&Envelope { answer: Answer::<()>::Error(error), dry_run, unwritten: false }),
        });
        return put_text(&mut writer, answer.await?).await;
    }
    let (reply, answer) = oneshot::channel();
    let only_looks = request == Request::Status;
    let asked = async {
        line.asks.send(Ask { request, caller, reply }).await?;
        anyhow::Ok(answer.await?)
    };
    tokio::pin!(asked);
    let in_time = if only_looks { timeout(FRESH, &mut asked).await.ok() } else { None };
    let latest = line.latest.borrow().clone();
    let answer = match (in_time, latest) {
        (Some(answer), _) => answer,
        (None, Some(latest)) if only_looks => {
            Ok(Told { reply: Ok(Reply::Status(Box::new((*latest).clone()))), unwritten: false })
        }
        (None, _) => asked.await,
    };
    let Told { reply, unwritten } = answer.context("the engine has ended")?;
    let answer = match reply {
        Ok(reply) => Answer::Ok(reply),
        Err(error) => Answer::Error(error),
    };
    put(&mut writer, &Envelope { answer, dry_run: line.dry_run, unwritten }).await
}

/// Writes every decision as it is made. They are read from the history, so that one who reads slowly costs no memory.
async fn watch(line: &Line, writer: &mut (impl AsyncWriteExt + Unpin)) -> anyhow::Result<()> {
    let mut decided = line.decided.clone();
    let mut seen = *decided.borrow_and_update();
    put(writer, &Answer::Ok(())).await?;
    loop {
        let (reply, answer) = oneshot::channel();
        line.asks.send(Ask { request: Request::Since { id: seen }, caller: None, reply }).await?;
        let Ok(Reply::History(rows)) = answer.await?.reply else { bail!("the history cannot be read") };
        for row in &rows {
            put(writer, row).await?;
            seen = row.id;
        }
        if rows.is_empty() {
            decided.changed().await?;
        }
    }
}

async fn refuse(writer: &mut (impl AsyncWriteExt + Unpin), error: String) -> anyhow::Result<()> {
    put(writer, &Answer::<()>::Error(error)).await
}

async fn put(writer: &mut (impl AsyncWriteExt + Unpin), line: &impl Serialize) -> anyhow::Result<()> {
    put_text(writer, reply::json(line)).await
}

async fn put_text(writer: &mut (impl AsyncWriteExt + Unpin), mut text: String) -> anyhow::Result<()> {
    text.push('\n');
    timeout(IDLE * 6, writer.write_all(text.as_bytes())).await??;
    Ok(())
}

/// The client's end.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    /// Whether the daemon said that it enforces nothing.
    pub dry_run: bool,
    /// Whether it said that what was asked last is done and could not be written yet.
    pub unwritten: bool,
    answers: BufReader<StdUnixStream>,
}

impl Client {
    /// Connects; `Ok(None)` if no daemon is there.
    pub fn connect(path: &Path) -> anyhow::Result<Option<Client>> {
        match StdUnixStream::connect(path) {
            Ok(stream) => Ok(Some(Client {
                path: path.to_owned(),
                dry_run: false,
                unwritten: false,
                answers: BufReader::new(stream),
            })),
            Err(error)
                if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot talk to the daemon at {}; run as root, or as a member of the group {GROUP}",
                    path.display()
                )
            }),
        }
    }

    /// Asks, and waits for the answer.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> anyhow::Result<T> {
        let mut text = serde_json::to_string(request)?;
        text.push('\n');
        // Whoever is turned away may be so before it has asked, and is told why.
        let _ = self.answers.get_mut().write_all(text.as_bytes());
        let Envelope { answer, dry_run, unwritten } = self.line()?.with_context(|| self.failed())?;
        (self.dry_run, self.unwritten) = (dry_run, unwritten);
        match answer {
            Answer::Ok(reply) => Ok(reply),
            Answer::Error(error) => bail!("{error}"),
        }
    }

    /// The next line of a `tap` or a `watch`; `None` when the daemon ended.
    pub fn line<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let mut text = String::new();
        // An answer is as large as its list; the daemon is trusted, and bounds it.
        if self.answers.by_ref().read_line(&mut text).with_context(|| self.failed())? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&text).with_context(|| self.failed())?))
    }

    fn failed(&self) -> String {
        format!("the daemon at {} did not answer", self.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends a request over a socket pair, and returns the client's end with the first line of the answer.
    async fn ask(request: &Request, line: &Line, taps: &Arc<Semaphore>) -> (UnixStream, String) {
        let (mut client, server) = UnixStream::pair().expect("a socket pair");
        let (line, taps, lists) = (line.clone(), taps.clone(), Semaphore::new(LISTS_MAX));
        tokio::spawn(async move { serve_client(server, line, &taps, &lists).await });
        let text = format!("{}\n", serde_json::to_string(request).expect("a request"));
        client.write_all(text.as_bytes()).await.expect("it listens");
        let mut answer = String::new();
        tokio::io::BufReader::new(&mut client).read_line(&mut answer).await.expect("it answers");
        (client, answer.trim_end().to_owned())
    }

    #[test]
    fn a_group_that_nobody_tells_of_is_not_waited_for() {
        let (_end, ended) = std::sync::mpsc::channel::<()>();
        assert!(within(Duration::from_millis(10), move || ended.recv().is_ok()).is_none());
        assert_eq!(within(ASKED_WITHIN, || 7), Some(7));
    }

    /// Nobody takes what is asked of the engine here.
    #[tokio::test]
    async fn a_list_asks_the_engine_nothing_and_only_looks() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = crate::store::Store::open(dir.path()).expect("a store");
        let policy = crate::decide::policy::Policy::default();
        let now = crate::clock::now();
        let desk = crate::desk::Desk::open(store, policy, now).expect("it loads");
        let (looks, mut looked) = mpsc::channel::<Look>(1);
        let line = Line {
            asks: mpsc::channel(1).0,
            looks,
            latest: watch::channel(None).1,
            dry_run: true,
            taps: broadcast::channel(1).0,
            decided: watch::channel(0).1,
        };
        let engine = std::thread::spawn(move || {
            while let Some(look) = looked.blocking_recv() {
                look(&desk, now);
            }
        });
        let taps = Arc::new(Semaphore::new(1));
        for request in [
            r#"{"verb":"list","what":"hosts"}"#,
            r#"{"verb":"list","what":"users"}"#,
            r#"{"verb":"list","what":"addresses"}"#,
            r#"{"verb":"list","what":"pairs"}"#,
            r#"{"verb":"list","what":"suspicious"}"#,
            r#"{"verb":"history","prefix":null,"limit":10}"#,
            r#"{"verb":"why","address":"0.0.0.0/0"}"#,
        ] {
            let request = serde_json::from_str(request).expect("a request");
            let (_, answer) = timeout(IDLE, ask(&request, &line, &taps)).await.expect("it is answered");
            assert!(answer.starts_with(r#"{"dry_run":true,"ok":"#), "{request:?}: {answer}");
        }
        drop(line);
        engine.join().expect("it ends");
    }

    #[tokio::test]
    async fn taps_leave_places_for_others_and_give_theirs_back() {
        let line = Line {
            asks: mpsc::channel(1).0,
            looks: mpsc::channel(1).0,
            latest: watch::channel(None).1,
            dry_run: false,
            taps: broadcast::channel(1).0,
            decided: watch::channel(0).1,
        };
        let taps = Arc::new(Semaphore::new(2));
        let (first, answer) = ask(&Request::Tap, &line, &taps).await;
        assert_eq!(answer, r#"{"ok":null}"#);
        let (_second, _) = ask(&Request::Tap, &line, &taps).await;
        let (_, answer) = ask(&Request::Tap, &line, &taps).await;
        assert_eq!(answer, r#"{"error":"16 others tap or watch already"}"#);
        // No record came, and yet it is seen that the first is gone.
        drop(first);
        timeout(IDLE, taps.acquire()).await.expect("its place is free").expect("open").forget();
    }
}
