//! Many clients of a hub, as DenyHosts has them: what `tests/bench/hub` measures one with.
//!
//! usage: hub_clients PORT --clients N --hosts N --each N --intervals N --seconds N --seed N
//!
//! Each client, in each interval of so many seconds, uploads `--each` hosts of a pool of `--hosts`, then downloads what is new
//! until there is no more. Their times are spread over the interval. Each has an address of its own (`X-Real-IP`); they ask
//! in turn with the thresholds 1, 2 and 3, and no resiliency. Connections are made anew, and answers compressed, as
//! Python has it. Prints a line of JSON: of requests, counted from when they were due, how many milliseconds they took.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Clients that are busy at a time; the others are late, and that counts.
const WORKERS: usize = 48;

struct Wanted {
    port: u16,
    clients: usize,
    hosts: u32,
    each: usize,
    intervals: usize,
    seconds: u64,
    seed: u64,
}

#[derive(Default)]
struct Told {
    uploads: Vec<f64>,
    downloads: Vec<f64>,
    hosts: usize,
    failed: usize,
    why: String,
}

fn main() -> anyhow::Result<()> {
    let wanted = wanted()?;
    let since: Vec<Mutex<u64>> = (0..wanted.clients).map(|_| Mutex::new(0)).collect();
    let next = AtomicUsize::new(0);
    let told = Mutex::new(Told::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Relaxed);
                    if turn >= wanted.clients * wanted.intervals {
                        break;
                    }
                    let due = began + Duration::from_secs(wanted.seconds).mul_f64(turn as f64 / wanted.clients as f64);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let client = turn % wanted.clients;
                    let mut mine = Told::default();
                    if let Ok(mut since) = since[client].lock()
                        && let Err(error) = sync(&wanted, turn, client, due, &mut since, &mut mine)
                    {
                        mine.failed += 1;
                        mine.why = format!("{error:#}");
                    }
                    let Ok(mut told) = told.lock() else { return };
                    told.uploads.append(&mut mine.uploads);
                    told.downloads.append(&mut mine.downloads);
                    told.hosts += mine.hosts;
                    told.failed += mine.failed;
                    if told.why.is_empty() {
                        told.why = mine.why;
                    }
                }
            });
        }
    });
    let mut told = told.into_inner().unwrap_or_default();
    let line = serde_json::json!({
        "seconds": began.elapsed().as_secs_f64(),
        "uploads": told.uploads.len(),
        "downloads": told.downloads.len(),
        "hosts_told": told.hosts,
        "failed": told.failed,
        "why": told.why,
        "upload_ms": percentiles(&mut told.uploads),
        "download_ms": percentiles(&mut told.downloads),
    });
    println!("{line}");
    Ok(())
}

/// One client's turn.
fn sync(
    wanted: &Wanted,
    turn: usize,
    client: usize,
    due: Instant,
    since: &mut u64,
    told: &mut Told,
) -> anyhow::Result<()> {
    let mut state = wanted.seed ^ (turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut hosts = String::new();
    let mut sent = Vec::with_capacity(wanted.each);
    for place in 0..wanted.each {
        // The first interval has each host once, if the pool is as large; then they are drawn.
        let number = if turn < wanted.clients {
            ((client * wanted.each + place) % wanted.hosts as usize) as u32
        } else {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u32 % wanted.hosts
        };
        let host = std::net::Ipv4Addr::from_bits(0xc612_0000 + number);
        hosts += &format!("<value><string>{host}</string></value>\n");
        sent.push(host);
    }
    let array = format!("<value><array><data>\n{hosts}</data></array></value>\n");
    let body = format!(
        "<?xml version='1.0'?>\n<methodCall>\n<methodName>add_hosts</methodName>\n<params>\n<param>\n{array}</param>\n</params>\n</methodCall>\n"
    );
    let answer = post(wanted.port, client, &body)?;
    told.uploads.push(due.elapsed().as_secs_f64() * 1000.0);
    if !answer.contains("<int>0</int>") {
        bail!("an upload: {answer}");
    }
    let threshold = client % 3 + 1;
    loop {
        let began = Instant::now();
        let body = format!(
            "<?xml version='1.0'?>\n<methodCall>\n<methodName>get_new_hosts</methodName>\n<params>\n<param>\n<value><int>{since}</int>\
             </value>\n</param>\n<param>\n<value><int>{threshold}</int></value>\n</param>\n<param>\n{array}</param>\n<param>\n\
             <value><int>0</int></value>\n</param>\n</params>\n</methodCall>\n"
        );
        let answer = post(wanted.port, client, &body)?;
        told.downloads.push(began.elapsed().as_secs_f64() * 1000.0);
        let stamp =
            answer.split_once("<name>timestamp</name>\n<value><string>").and_then(|(_, rest)| rest.split_once('<'));
        let stamp: u64 = stamp.with_context(|| format!("no timestamp: {answer:.300}"))?.0.parse()?;
        let count = answer.matches("<value><string>").count() - 1;
        told.hosts += count;
        *since = stamp;
        // An answer of now has all.
        if count == 0 || jiff::Timestamp::now().as_second() <= stamp.cast_signed() + 2 {
            return Ok(());
        }
    }
}

fn post(port: u16, client: usize, body: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + client as u32);
    let length = body.len();
    write!(
        stream,
        "POST /RPC2 HTTP/1.1\r\nHost: hub\r\nConnection: close\r\nX-Real-IP: {address}\r\nAccept-Encoding: gzip\r\n\
         Content-Type: text/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("no head")?;
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    if !head.starts_with("http/1.1 200") {
        bail!("{head}");
    }
    let mut text = String::new();
    match head.contains("content-encoding: gzip") {
        true => flate2::read::GzDecoder::new(&answer[end + 4..]).read_to_string(&mut text)?,
        false => (&answer[end + 4..]).read_to_string(&mut text)?,
    };
    Ok(text)
}

fn percentiles(all: &mut [f64]) -> serde_json::Value {
    all.sort_by(f64::total_cmp);
    let at = |part: f64| all.get(((all.len() as f64 * part) as usize).min(all.len().saturating_sub(1))).copied();
    serde_json::json!({ "p50": at(0.5), "p99": at(0.99), "max": all.last() })
}

fn wanted() -> anyhow::Result<Wanted> {
    let mut words = std::env::args().skip(1);
    let port = words.next().context("usage: hub_clients PORT --clients N …")?.parse()?;
    let mut wanted = Wanted { port, clients: 1000, hosts: 100_000, each: 100, intervals: 2, seconds: 300, seed: 1 };
    while let Some(name) = words.next() {
        let value: u64 = words.next().with_context(|| format!("{name} needs a number"))?.parse()?;
        match name.as_str() {
            "--clients" => wanted.clients = value as usize,
            "--hosts" => wanted.hosts = value as u32,
            "--each" => wanted.each = value as usize,
            "--intervals" => wanted.intervals = value as usize,
            "--seconds" => wanted.seconds = value,
            "--seed" => wanted.seed = value,
            _ => bail!("{name}: there is no such option"),
        }
    }
    Ok(wanted)
}
