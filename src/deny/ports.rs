//! On which ports this machine's sshd listens.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::program;

/// How long sshd may take to say what it is set to.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Files that are read where it cannot be asked.
const CONFIG: &str = "/etc/ssh/sshd_config";
const DROP_INS: &str = "/etc/ssh/sshd_config.d";
/// The list of services, and what is read of it, in bytes: Debian's has 13 000.
const SERVICES: &str = "/etc/services";
const SERVICES_MAX: u64 = 4 << 20;
/// Where it listens if nothing is said (`sshd_config(5)`).
const DEFAULT: u16 = 22;

/// Those that `sshd -T` tells; where it cannot be asked, which only root may, those of its configuration files. Never empty.
pub fn of_sshd() -> Vec<u16> {
    told().unwrap_or_else(configured)
}

/// Those that `sshd -T` tells.
pub fn told() -> Option<Vec<u16>> {
    let child = program::start(&program::find("sshd")?, &["-T"]).ok()?;
    let said = program::finish_within(TIME_MAX, child, b"").ok().filter(|said| said.status.success())?;
    Some(ports(&String::from_utf8_lossy(&said.stdout)))
}

/// The port of a service of TCP, by this machine's list (services(5)).
pub fn of_service(name: &str) -> Option<u16> {
    let mut text = String::new();
    let list = std::fs::File::open(SERVICES).ok()?;
    list.take(SERVICES_MAX).read_to_string(&mut text).ok()?;
    listed(&text, name)
}

fn listed(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, port) = (words.next()?, words.next()?.strip_suffix("/tcp")?);
        (first == name || words.any(|alias| alias == name)).then(|| port.parse().ok())?
    })
}

fn configured() -> Vec<u16> {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let drop_ins = std::fs::read_dir(DROP_INS).into_iter().flatten().flatten().map(|entry| entry.path());
    let drop_ins = drop_ins.filter(|path| path.extension().is_some_and(|extension| extension == "conf"));
    // sshd adds up the ports of all files.
    ports(&drop_ins.map(|path| read(&path)).chain([read(Path::new(CONFIG))]).collect::<String>())
}

/// The ports of `sshd_config(5)`: those of `ListenAddress`, and of `Port` where one has none or there is none.
fn ports(settings: &str) -> Vec<u16> {
    let settings = settings.split("\nMatch ").next().unwrap_or_default();
    let values = |keyword: &'static str| {
        let pairs = settings.lines().filter_map(|line| line.trim().split_once([' ', '\t', '=']));
        pairs.filter(move |(found, _)| found.eq_ignore_ascii_case(keyword)).map(|(_, value)| value.trim())
    };
    let mut plain: Vec<u16> = values("Port").filter_map(|port| port.parse().ok()).collect();
    if plain.is_empty() {
        plain.push(DEFAULT);
    }
    let of_address = |value: &str| {
        let address = value.split_whitespace().next().unwrap_or_default();
        // Only IPv6 in brackets and names and IPv4 have a port behind them.
        let has_port = address.contains("]:") || address.matches(':').count() == 1;
        has_port.then(|| address.rsplit_once(':')?.1.parse().ok()).flatten()
    };
    let listens: Vec<Option<u16>> = values("ListenAddress").map(of_address).collect();
    let mut all: Vec<u16> = listens.iter().flatten().copied().collect();
    if listens.is_empty() || listens.contains(&None) {
        all.extend(plain);
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_the_port_of_the_list() {
        let services = "# ssh 1/tcp\nftp\t21/tcp\nssh\t\t22/udp\nssh 22/tcp secure-shell # SSH\nodd\nodd x/tcp\n";
        let check = |name: &str, want: Option<u16>| assert_eq!(listed(services, name), want, "{name}");
        check("ssh", Some(22));
        check("secure-shell", Some(22));
        check("ftp", Some(21));
        check("odd", None);
        check("SSH", None);
    }

    #[test]
    fn ports_of_sshd() {
        let check = |text: &str, want: &[u16]| assert_eq!(ports(text), want, "{text}");
        check("", &[22]);
        check(
            "port 22\nport 2222\nlistenaddress [::]:2222\nlistenaddress 0.0.0.0:2222\nlistenaddress [::]:22\n",
            &[22, 2222],
        );
        check("port 22\nlistenaddress 192.0.2.1:9922\n", &[9922]);
        check("# Port 2\n Port 9922\n", &[9922]);
        check("Port=9922\nListenAddress 192.0.2.1\nListenAddress [2001:db8::1]:23 rdomain x\n", &[23, 9922]);
        check("ListenAddress 2001:db8::1\n", &[22]);
        check("ListenAddress host.example.org:77\n", &[77]);
        check("Port x\n", &[22]);
        check("Port 9922\nMatch User a\n  Port 5\n", &[9922]);
    }
}
