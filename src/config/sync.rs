//! With which server denied hosts are shared, and how: `[sync]`.

use std::path::PathBuf;
use std::time::Duration;

use url::{Host, Url};

use super::Config;
use super::codec::{Codec, duration, unless, whole, yes};
use super::document::{Reader, Table};
use super::key::Key;
use super::values::path;
use crate::decide::state::RECEIVED_MAX;

/// From one round to the next, at least, as with DenyHosts.
pub const INTERVAL_MIN: Duration = Duration::from_secs(300);
/// Where a server answers unless its URL says so.
const PATH: &str = "/RPC2";
/// Servers that were public, and are gone.
const GONE: [&str; 4] = ["xmlrpc.denyhosts.net", "sync.denyhosts.org", "denyhosts.net", "www.denyhosts.net"];

/// With which server denied hosts are shared, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// Where the server answers; `None` = nothing is sent and nothing taken.
    pub server: Option<Url>,
    /// From one round to the next. Default an hour.
    pub interval: Duration,
    /// Whether the server is told whom we deny. Default true.
    pub upload: bool,
    /// Whether those are denied whom it tells of. Default true.
    pub download: bool,
    /// How many must have reported a host. Default 3.
    pub threshold: u32,
    /// From the first to the last report of it, at least; `None` = no time. Default five hours.
    pub resiliency: Option<Duration>,
    /// How long such a deny lasts; `None` inside = for ever, outside = as `deny_for` of `[decide]` says.
    pub deny_for: Option<Option<Duration>>,
    /// How many are denied at once on its word. Default [`RECEIVED_MAX`].
    pub hosts_max: u32,
    /// A file with the token by which the server knows us.
    pub token_file: Option<PathBuf>,
    /// The CAs of which one must have signed the server's certificate; `None` = those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether the server is told denyd's version. Default false.
    pub version_report: bool,
}

impl Default for Sync {
    fn default() -> Self {
        Sync {
            server: None,
            interval: Duration::from_secs(3600),
            upload: true,
            download: true,
            threshold: 3,
            resiliency: Some(Duration::from_secs(5 * 3600)),
            deny_for: None,
            hosts_max: RECEIVED_MAX as u32,
            token_file: None,
            ca_file: None,
            version_report: false,
        }
    }
}

impl Sync {
    /// Whether anything is sent or taken.
    pub fn is_wanted(&self) -> bool {
        self.server.is_some() && (self.upload || self.download)
    }

    /// Whether the server is told whom we deny.
    pub fn sends(&self) -> bool {
        self.server.is_some() && self.upload
    }

    /// How long a host is denied of which the server tells, where `usual` is how long others are.
    pub fn lasts(&self, usual: Option<Duration>) -> Option<Duration> {
        self.deny_for.unwrap_or(usual)
    }

    /// What should be known of this server, if anything.
    pub fn warnings(&self) -> Vec<String> {
        let Some(url) = self.server.as_ref().filter(|_| self.is_wanted()) else { return Vec::new() };
        let mut all = Vec::new();
        let way_out = "run one of your own: `denyd hub`, and sync.md of the documentation";
        if url.host_str().is_some_and(|name| GONE.contains(&name)) {
            all.push(format!("{} is gone, as all public servers of DenyHosts are: {way_out}", server(url)));
        } else if url.scheme() == "http" && !is_near(url) {
            let what = "whoever is on the way there reads whom you deny, and can have you deny whom he likes";
            all.push(format!("{} is spoken to in the clear: {what}; use https, or {way_out}", server(url)));
        }
        all
    }
}

/// A server by its host and port, for reading.
pub fn server(url: &Url) -> String {
    let host = url.host_str().unwrap_or("-");
    url.port_or_known_default().map_or(host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether a URL leads no further than a network of one's own.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback() || ip.is_private(),
        Some(Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unique_local(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether it leads to this machine.
fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The keys of `[sync]`.
pub(super) fn keys() -> Vec<Key<Config>> {
    vec![
        key("server", url().optional(), |s| &mut s.server)
            .denyhosts("SYNC_SERVER")
            .example(r#""https://hub.example.org:9911""#)
            .says(
                "The server with which denied hosts are shared: `denyd hub`, or one that speaks DenyHosts' protocol. A URL
                without a path means /RPC2. Without this key nothing is sent and nothing taken. sync.md of the documentation
                says what is sent, and when. No default.",
            ),
        key("interval", interval(), |s| &mut s.interval)
            .denyhosts("SYNC_INTERVAL")
            .says(r#"From one round to the next: at least "5m". `denyd sync` has a round at once."#),
        key("upload", yes(), |s| &mut s.upload).denyhosts("SYNC_UPLOAD").says(
            "Whether the server is told of the addresses that are denied here because of our own logs, for certain and in full.
            What a person denied, what was taken over, what strangers may have made up and what the server told of is never
            sent, nor an address that is not one host's on the internet.",
        ),
        key("download", yes(), |s| &mut s.download)
            .denyhosts("SYNC_DOWNLOAD")
            .says("Whether those are denied of whom the server tells."),
        key("threshold", whole(1..=10_000, ""), |s| &mut s.threshold)
            .denyhosts("SYNC_DOWNLOAD_THRESHOLD")
            .says("How many must have reported an address to the server before it is denied here."),
        key("resiliency", unless("none", duration), |s| &mut s.resiliency)
            .denyhosts("SYNC_DOWNLOAD_RESILIENCY")
            .says(
                r#"How long it must have gone on, from the first report to the last. It means nothing if threshold is 1. "none":
                however short."#,
            ),
        key("deny_for", unless("forever", duration).optional(), |s| &mut s.deny_for).example(r#""1d""#).says(
            r#"How long an address is denied of which the server tells, from when it came; "forever": until `denyd forgive`.
            Default: as deny_for of [decide] says, and permanent_after counts these, too."#,
        ),
        key("hosts_max", whole(1..=RECEIVED_MAX as u32, ""), |s| &mut s.hosts_max)
            .says("How many addresses are denied at once on the server's word; further ones are refused, and counted."),
        key("token_file", path().optional(), |s| &mut s.token_file)
            .example(r#""/etc/denyd/sync-token""#)
            .says(
                "A file with the token by which the server knows this machine, and nothing else. It is a secret: the file must be
                the daemon's own user's, and readable by nobody else (chmod 0600). It is sent by https alone, or to this machine.",
            ),
        key("ca_file", path().optional(), |s| &mut s.ca_file)
            .example(r#""/etc/denyd/hub-ca.pem""#)
            .says("The CAs that may have signed the server's certificate, in PEM. Default: those of the system."),
        key("version_report", yes(), |s| &mut s.version_report)
            .denyhosts("SYNC_VERSION")
            .says("Whether the server is told the version of denyd, once at each start."),
    ]
}

/// A key, and where its value is.
fn key<T: 'static>(name: &'static str, codec: Codec<T>, place: fn(&mut Sync) -> &mut T) -> Key<Config> {
    Key::new(name, codec, move |config: &mut Config| Some(place(&mut config.sync)))
}

/// A server's URL.
fn url() -> Codec<Url> {
    let expected = "expected a URL such as \"https://hub.example.org:9911\", without a user or a password";
    let parse = move |text: &str| {
        let mut url = Url::parse(text).map_err(|error| format!("{expected}: {error}"))?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !is_plain || url.fragment().is_some() {
            return Err(expected.to_owned());
        }
        if url.path() == "/" {
            url.set_path(PATH);
        }
        Ok(url)
    };
    Codec::text(parse, Url::to_string)
}

fn interval() -> Codec<Duration> {
    let fits = |interval: Duration| match interval < INTERVAL_MIN {
        true => Err("expected at least \"5m\", as with DenyHosts; `denyd sync` has a round at once".to_owned()),
        false => Ok(interval),
    };
    duration("").then(fits, |interval| *interval)
}

/// Sees that the keys fit each other.
pub(super) fn judge(reader: &mut Reader<'_>, table: &Table<'_>, sync: &Sync) {
    let is_open = sync.server.as_ref().is_some_and(|url| url.scheme() == "http" && !is_here(url));
    if sync.token_file.is_some() && is_open {
        reader.wrong(table, "token_file", "the token would go over the network as it is: use https in `server`");
    }
}
