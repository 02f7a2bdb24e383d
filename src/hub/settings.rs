//! How a hub is set up: a small TOML file, or the command line alone.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::tokens::Tokens;
use crate::decide::prefix::Prefix;

/// The file that is read where none is named, if it is there.
pub const FILE: &str = "/etc/denyd/hub.toml";

/// What the file says. `packaging/doc/sync.md` has each key.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where it listens: an address and a port.
    pub listen: SocketAddr,
    /// Where its database is.
    pub state_dir: PathBuf,
    /// Who may ask, by address.
    pub from: Vec<Prefix>,
    /// A file of tokens, a name and a token a line, which nobody else may read.
    pub tokens: Option<PathBuf>,
    /// Whether anybody may ask.
    pub public: bool,
    /// The certificate and those it is signed by (PEM): with it, https and nothing else.
    pub certificate: Option<PathBuf>,
    /// Its key (PEM, not encrypted).
    pub key: Option<PathBuf>,
    /// Proxies whose `X-Real-IP` says who asks.
    pub proxies: Vec<Prefix>,
    /// Requests of one who asks.
    pub requests_per_minute: u32,
    /// Hosts reported by one who asks.
    pub hosts_per_hour: u32,
    /// How long a report is kept after the last of its kind.
    pub expiry_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 9911)),
            state_dir: "/var/lib/denyd-hub".into(),
            from: Vec::new(),
            tokens: None,
            public: false,
            certificate: None,
            key: None,
            proxies: Vec::new(),
            requests_per_minute: 60,
            hosts_per_hour: 20_000,
            expiry_days: 30,
        }
    }
}

/// Why a hub cannot be set up so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no such TOML.
    #[error("{}: {error}", path.display())]
    Toml {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: Box<toml::de::Error>,
    },
    /// Anybody could ask, and nobody said so.
    #[error(
        "listen = \"{0}\" is reached from other machines: say who may ask, by from = [\"192.0.2.0/24\"], by tokens = \"FILE\", \
         or, if anybody may, by public = true"
    )]
    Open(SocketAddr),
    /// One of the two is missing.
    #[error("certificate and key belong together: name both, or none")]
    HalfTls,
    /// A file of tokens.
    #[error("{}: {problem}", path.display())]
    Tokens {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl Settings {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::File { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| Error::Toml { path: path.to_owned(), error: Box::new(error) })
    }

    /// Sees that nobody may ask who was not meant, and reads the tokens.
    pub fn admission(&self) -> Result<Admission, Error> {
        if self.certificate.is_some() != self.key.is_some() {
            return Err(Error::HalfTls);
        }
        let tokens = match &self.tokens {
            Some(path) => Tokens::read(path).map_err(|problem| Error::Tokens { path: path.clone(), problem })?,
            None => Tokens::default(),
        };
        let is_local = self.listen.ip().to_canonical().is_loopback();
        if !is_local && self.from.is_empty() && tokens.is_empty() && !self.public {
            return Err(Error::Open(self.listen));
        }
        let anybody = self.public || (is_local && self.from.is_empty() && tokens.is_empty());
        Ok(Admission { tokens, from: self.from.clone(), anybody, proxies: self.proxies.clone() })
    }
}

/// Who may ask, and who that is.
#[derive(Debug)]
pub struct Admission {
    tokens: Tokens,
    from: Vec<Prefix>,
    anybody: bool,
    proxies: Vec<Prefix>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// By this name, which stays in the hub.
    Known(String),
    /// Nobody who may.
    Stranger,
    /// With a token that is none.
    BadToken,
}

impl Admission {
    /// Whether a connection comes from a proxy of ours.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(&Prefix::host(peer.to_canonical())))
    }

    /// The address of who asks: what a proxy of ours says of it, else where the connection comes from. A proxy that does not
    /// say it asks itself.
    pub fn address(&self, peer: IpAddr, real_ip: Option<&str>) -> IpAddr {
        let peer = peer.to_canonical();
        let told = real_ip.filter(|_| self.is_proxy(peer)).and_then(|told| told.trim().parse::<IpAddr>().ok());
        told.map_or(peer, |told| told.to_canonical())
    }

    /// Who asks from this address, with the token that came with the request.
    pub fn asker(&self, address: IpAddr, token: Option<&str>) -> Asker {
        if let Some(token) = token {
            return match self.tokens.name(token) {
                Some(name) => Asker::Known(format!("token:{name}")),
                None => Asker::BadToken,
            };
        }
        let host = Prefix::host(address);
        if self.anybody || self.from.iter().any(|from| from.contains(&host)) {
            return Asker::Known(net(address));
        }
        Asker::Stranger
    }
}

/// Whom an address belongs to, as a reporter: the IPv4 address, or the /48, which is a site.
pub fn net(address: IpAddr) -> String {
    let prefix = Prefix::of(address, if address.is_ipv4() { 32 } else { 48 });
    format!("net:{}/{}", prefix.address(), prefix.bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).expect("settings")
    }

    #[test]
    fn what_others_reach_says_who_may_ask() {
        let check = |text: &str, is_fine: bool| {
            assert_eq!(settings(text).admission().is_ok(), is_fine, "{text}");
        };
        check("", true);
        check("listen = \"[::1]:1\"", true);
        check("listen = \"192.0.2.1:9911\"", false);
        check("listen = \"0.0.0.0:9911\"", false);
        check("listen = \"[::]:9911\"", false);
        check("listen = \"[::]:9911\"\nfrom = []", false);
        check("listen = \"[::]:9911\"\nfrom = [\"192.0.2.0/24\"]", true);
        check("listen = \"[::]:9911\"\npublic = true", true);
        check("certificate = \"x\"", false);
        check("tokens = \"/nonexistent\"", false);
        assert!(toml::from_str::<Settings>("publik = true").is_err());
        let problem = settings("listen = \"192.0.2.1:9911\"").admission().expect_err("open").to_string();
        assert!(problem.contains("from = ") && problem.contains("tokens = ") && problem.contains("public = true"));
    }

    #[test]
    fn who_asks_is_a_token_or_a_network() {
        let admission =
            settings("from = [\"198.51.100.0/24\", \"2001:db8::/32\"]\nproxies = [\"198.51.100.9\"]").admission();
        let admission = admission.expect("an admission");
        let check = |peer: &str, real_ip, token, want: &str| {
            let address = admission.address(peer.parse().expect("an address"), real_ip);
            let want = match want {
                "stranger" => Asker::Stranger,
                "bad" => Asker::BadToken,
                name => Asker::Known(name.to_owned()),
            };
            assert_eq!(admission.asker(address, token), want, "{peer} {real_ip:?}");
        };
        check("198.51.100.7", None, None, "net:198.51.100.7/32");
        check("::ffff:198.51.100.7", None, None, "net:198.51.100.7/32");
        check("2001:db8:1:2::3", None, None, "net:2001:db8:1::/48");
        check("192.0.2.1", None, None, "stranger");
        check("127.0.0.1", None, None, "stranger");
        check("198.51.100.7", None, Some("x"), "bad");
        // Only a proxy of ours is believed, and only an address.
        check("198.51.100.9", Some("198.51.100.8"), None, "net:198.51.100.8/32");
        check("198.51.100.9", Some("192.0.2.1"), None, "stranger");
        check("198.51.100.9", Some("x"), None, "net:198.51.100.9/32");
        check("198.51.100.7", Some("198.51.100.8"), None, "net:198.51.100.7/32");
        check("192.0.2.1", Some("198.51.100.8"), None, "stranger");
    }
}
