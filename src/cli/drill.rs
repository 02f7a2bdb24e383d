//! `denyd drill`: lets failures of an address that nobody has go all the way from the log to the firewall, and tells how long
//! each step took.
//!
//! The daemon makes the records and knows them again, so nothing of them is counted; this writes them where sshd's come from,
//! and reads back what became of them by other ways than the daemon's.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::Serialize;

use super::office;
use super::output::{Screen, Style, count, until};
use crate::clock;
use crate::config::Config;
use crate::decide::prefix::Prefix;
use crate::deny::choose;
use crate::deny::nft::Lengths;
use crate::desk::reply::{Address, Decided, Drill, Host, Status, Way, json};
use crate::desk::{Drilling, Filter, Request, What};

/// What `drill` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = super::describe::examples([
    ("drill", "do failures in the log become a deny in the firewall, and how fast"),
    ("drill --input auth --append", "by that file, without the syslog daemon that writes it"),
]))]
pub(super) struct Arguments {
    /// The input by which the failures come [default: the first that can]
    #[arg(long, value_name = "NAME")]
    input: Option<String>,
    /// Append to the file that is read, instead of handing the records to the syslog daemon of this machine
    #[arg(long)]
    append: bool,
    /// With an address of IPv6
    #[arg(long)]
    ipv6: bool,
    /// Print one JSON object a step
    #[arg(long)]
    json: bool,
}

/// Where the programs of this machine log to.
const LOG: &str = "/dev/log";
/// How long each step may take.
const STEP_MAX: Duration = Duration::from_secs(8);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// `authpriv.info`, as sshd logs (RFC 3164).
const PRIORITY: &str = "<86>";

/// A step.
#[derive(Serialize)]
struct Step {
    step: &'static str,
    /// Since the drill began.
    ms: u128,
    ok: bool,
    what: String,
}

/// What is told of each step, as it is done.
struct Teller {
    screen: Screen,
    json: bool,
    began: Instant,
}

impl Teller {
    fn tell(&mut self, step: &'static str, done: Result<String, String>) -> anyhow::Result<bool> {
        let ok = done.is_ok();
        let row = Step { step, ms: self.began.elapsed().as_millis(), ok, what: done.unwrap_or_else(|error| error) };
        if self.json {
            writeln!(self.screen, "{}", json(&row))?;
        } else {
            let word = if ok { self.screen.paint(Style::Green, "ok  ") } else { self.screen.paint(Style::Red, "FAIL") };
            let head = format!("{word} {:>5} ms  {:<9} ", row.ms, row.step);
            writeln!(self.screen, "{head}{}", wrapped(&row.what, WIDTH - INDENT, INDENT))?;
        }
        self.screen.flush()?;
        Ok(ok)
    }
}

/// Columns of a screen, and those before what is told of a step.
const WIDTH: usize = 100;
const INDENT: usize = 24;

/// Text in lines of at most `width` letters, those after the first indented.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if used > 0 && used + 1 + len > width {
            out += &format!("\n{}", " ".repeat(indent));
            used = 0;
        }
        if used > 0 {
            out.push(' ');
            used += 1;
        }
        out += word;
        used += len;
    }
    out
}

/// Runs the verb: exit status 0 if each step was seen, 1 if one was not.
pub(super) fn run(arguments: Arguments, config: &Config) -> anyhow::Result<ExitCode> {
    let before: Status = office::ask_daemon(config, &Request::Status)?;
    let mut teller = Teller { screen: Screen::new(), json: arguments.json, began: clock::monotonic() };
    let begin = Request::Drill { step: Drilling::Begin, input: arguments.input.clone(), ipv6: arguments.ipv6 };
    let drill: Drill = office::ask_daemon(config, &begin)?;
    let gone = goes(&arguments, config, &drill, &before, &mut teller);
    // Whatever became of it, it is to end.
    let ended: anyhow::Result<Drill> = ask(config, Drilling::End);
    let mut is_well = gone?;
    let proofs = || prove(config, &drill);
    if ended.as_ref().is_ok_and(|ended| ended.published) {
        let gone = wait(|| proofs().iter().all(|(_, proof)| proof.is_err()).then_some(()));
        let what = || format!("{} is denied no more", drill.prefix);
        is_well &= teller.tell("withdrawn", gone.map(|()| what()).ok_or_else(|| still(&drill)))?;
    }
    is_well &= teller.tell("no trace", no_trace(config, drill.prefix))?;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// All steps until the deny is seen and people would be told.
fn goes(
    Arguments { append, .. }: &Arguments,
    config: &Config,
    drill: &Drill,
    status: &Status,
    teller: &mut Teller,
) -> anyhow::Result<bool> {
    let number = drill.messages.len();
    let (way, place) = written_by(drill, *append);
    let failed = |error| format!("nothing could be written to {place}: {error:#}; {}", remedy(&way));
    let written = write(&way, &drill.messages).map_err(failed);
    let failures = count(number as u64, "failure", "failures");
    let what = |()| format!("{failures} of {} to {place}", drill.prefix);
    if !teller.tell("written", written.map(what))? {
        return Ok(false);
    }
    let mut last = drill.clone();
    let read = wait(|| {
        last = ask(config, Drilling::Look).ok()?;
        (last.read == number).then_some(())
    });
    let missing = || {
        format!(
            "{} of {number} were read by the input {} within {} s: {}",
            last.read,
            drill.input,
            STEP_MAX.as_secs(),
            remedy(&way)
        )
    };
    if !teller.tell("read", read.map(|()| format!("all by the input {}", drill.input)).ok_or_else(missing))? {
        return Ok(false);
    }
    let decided = wait(|| {
        last = ask(config, Drilling::Look).ok()?;
        last.decided_at
    });
    let what = |_| format!("{} is to be denied {} (threshold_invalid)", drill.prefix, until(last.until));
    let why = || {
        "the failures were read and count nothing: who sent them may not write for sshd (see vouched senders in \
         packaging/doc/inputs.md)"
            .to_owned()
    };
    if !teller.tell("decided", decided.map(what).ok_or_else(why))? {
        return Ok(false);
    }
    let mut is_well = true;
    if !last.published {
        let why = match status.dry_run {
            true => "this is a dry run, which enforces nothing",
            false => "the daemon enforces nothing now: see denyd status",
        };
        is_well &= teller.tell("set", Err(why.to_owned()))?;
    } else {
        // Each is asked until all have it.
        let proofs = || prove(config, &last);
        let _ = wait(|| proofs().iter().all(|(_, proof)| proof.is_ok()).then_some(()));
        let proofs = proofs();
        for (name, proof) in &proofs {
            let told = proof.clone().map(|how| format!("{name}: {how}")).map_err(|why| format!("{name}: {why}"));
            is_well &= teller.tell("set", told)?;
        }
        if proofs.is_empty() {
            let what = format!("{} was told, and cannot be read back", last.backends.join(", "));
            is_well &= teller.tell("set", Ok(what))?;
        }
    }
    for report in reports(status) {
        is_well &= teller.tell("reports", report)?;
    }
    Ok(is_well)
}

fn ask(config: &Config, step: Drilling) -> anyhow::Result<Drill> {
    office::ask_daemon(config, &Request::Drill { step, input: None, ipv6: false })
}

/// Waits until `look` finds something.
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = clock::monotonic() + STEP_MAX;
    loop {
        match look() {
            Some(found) => return Some(found),
            None if clock::monotonic() >= end => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

/// By each back end that can be read back, whether it refuses the prefix.
fn prove(config: &Config, drill: &Drill) -> Vec<(&'static str, Result<String, String>)> {
    let policy = &config.decide.policy;
    let lengths = Lengths { v4: policy.ipv4_bits, v6: policy.ipv6_bits };
    let at_work: Vec<&str> = drill.backends.iter().map(String::as_str).collect();
    choose::prove(&config.deny, lengths, Some(&at_work), Some(&drill.prefix), clock::now())
}

fn still(drill: &Drill) -> String {
    format!(
        "{} is still denied; nobody has that address, and the deny ends within a minute, or: denyd reload",
        drill.prefix
    )
}

/// Whether people would be told.
fn reports(status: &Status) -> Vec<Result<String, String>> {
    let said = |name: &str, problem: &Option<String>| match problem {
        None => Ok(format!("{name} would be told, and works (nothing was sent)")),
        Some(problem) => Err(format!("{name}: {problem}")),
    };
    let mail = [("mail", &status.mail), ("the webhook", &status.webhook)];
    let mail = mail.iter().filter_map(|(name, told)| told.as_ref().map(|told| said(name, &told.problem)));
    let all: Vec<_> = mail.chain(status.outputs.iter().map(|output| said(&output.name, &output.problem))).collect();
    match all.is_empty() {
        true => vec![Ok("nobody is to be told: no mail, webhook, plugin or log file is configured".to_owned())],
        false => all,
    }
}

/// Whether the daemon knows nothing of the prefix.
fn no_trace(config: &Config, prefix: Prefix) -> Result<String, String> {
    let look = || -> anyhow::Result<[usize; 3]> {
        let filter = Filter { within: Some(prefix), ..Filter::default() };
        let list = |what| Request::List { what, filter: filter.clone() };
        let hosts: Vec<Host> = office::ask_daemon(config, &list(What::Hosts))?;
        let counted: Vec<Address> = office::ask_daemon(config, &list(What::Addresses))?;
        let history: Vec<Decided> = office::ask_daemon(config, &Request::History { prefix: Some(prefix), limit: 1 })?;
        Ok([hosts.len(), counted.len(), history.len()])
    };
    match look() {
        Ok([0, 0, 0]) => Ok("not counted, not denied, not in the history, so nobody is told".to_owned()),
        Ok([denied, counted, decided]) => Err(format!(
            "{prefix} is known: {denied} denied, {counted} counted, {decided} in the history; denyd forgive {prefix}"
        )),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// How the records are written, and where that is, in words.
fn written_by(drill: &Drill, append: bool) -> (Way, String) {
    let way = match &drill.way {
        Way::Log(Some(path)) if append => Way::Log(Some(path.clone())),
        Way::Log(_) => Way::Log(None),
        way => way.clone(),
    };
    let place = match &way {
        Way::Log(None) => LOG.to_owned(),
        Way::Log(Some(path)) | Way::Bare(path) | Way::UnixDatagram(path) | Way::UnixStream(path) => {
            path.display().to_string()
        }
        Way::Udp(address) => format!("udp {address}"),
        Way::Tcp(address) => format!("tcp {address}"),
    };
    (way, place)
}

fn remedy(way: &Way) -> &'static str {
    match way {
        Way::Log(None) => {
            "does the log daemon of this machine run, and write what sshd logs (authpriv) where denyd reads? --append tries the \
             file without it"
        }
        Way::Log(Some(_)) | Way::Bare(_) => "see denyd doctor",
        Way::Udp(_) | Way::Tcp(_) => "may this machine send there (`from`), and does the input say who is believed?",
        Way::UnixDatagram(_) | Way::UnixStream(_) => "only root and `trusted_user` are believed there",
    }
}

/// Writes the messages as sshd's of this moment.
fn write(way: &Way, messages: &[String]) -> anyhow::Result<()> {
    let now = jiff::Timestamp::from_microsecond(clock::now().0)?.to_zoned(jiff::tz::TimeZone::system());
    let (stamp, host, pid) = (now.strftime("%b %e %H:%M:%S"), clock::host_name(), std::process::id());
    let local = |message: &String| format!("{PRIORITY}{stamp} sshd[{pid}]: {message}");
    let sent = |message: &String| format!("{PRIORITY}{stamp} {host} sshd[{pid}]: {message}");
    let datagrams = |path: &Path| -> anyhow::Result<()> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        messages.iter().try_for_each(|message| socket.send(local(message).as_bytes()).map(drop))?;
        Ok(())
    };
    // In one write, so that nobody's line comes between.
    let lines =
        |line: &dyn Fn(&String) -> String| messages.iter().map(|message| line(message) + "\n").collect::<String>();
    let append = |path: &Path, lines: String| -> anyhow::Result<()> {
        let file = std::fs::OpenOptions::new().append(true).open(path);
        Ok(file.and_then(|mut file| file.write_all(lines.as_bytes()))?)
    };
    match way {
        Way::Log(None) => datagrams(Path::new(LOG)),
        Way::UnixDatagram(path) => datagrams(path),
        Way::Log(Some(path)) => append(path, lines(&|message| format!("{stamp} {host} sshd[{pid}]: {message}"))),
        Way::Bare(path) => append(path, lines(&|message| message.clone())),
        Way::UnixStream(path) => Ok(UnixStream::connect(path)?.write_all(lines(&local).as_bytes())?),
        Way::Tcp(address) => Ok(TcpStream::connect(here(*address))?.write_all(lines(&sent).as_bytes())?),
        Way::Udp(address) => {
            let from: IpAddr =
                if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((from, 0)).context("no socket")?;
            messages
                .iter()
                .try_for_each(|message| socket.send_to(sent(message).as_bytes(), here(*address)).map(drop))?;
            Ok(())
        }
    }
}

/// Where who listens on all addresses is reached from here.
fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped() {
        let check = |text: &str, want: &str| assert_eq!(wrapped(text, 10, 2), want);
        check("", "");
        check("one two", "one two");
        check("one two three", "one two\n  three");
        check("a word-that-is-too-long here", "a\n  word-that-is-too-long\n  here");
    }
}
