//! A machine with a wire to a client.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use denyd::deny::DenyBackend;
use denyd::deny::effect::Effect;
use denyd::deny::iptables::Iptables;
use denyd::deny::nft::{Lengths, Nft};
use kit::{program, skip};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const CONNECTOR: &str = "DENYD_TEST_CONNECTOR";
/// Where the server listens.
pub(crate) const PORT: u16 = 7777;
/// Where it listens too.
pub(crate) const OTHER_PORT: u16 = 7778;

/// A machine behind ours, as a container is.
const CONTAINER: &str = "192.0.3.2";

/// How denyd talks to a firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// nftables, over netlink.
    Netlink,
    /// nftables, by its program alone.
    Program,
    Ipset,
    IpsetLegacy,
    /// iptables where ipset is missing.
    Rules,
    RulesLegacy,
}

impl Way {
    pub(crate) const ALL: &[Way] =
        &[Way::Netlink, Way::Program, Way::Ipset, Way::IpsetLegacy, Way::Rules, Way::RulesLegacy];
    /// Those of which each deny ends by itself.
    pub(crate) const TIMED: &[Way] = &[Way::Netlink, Way::Program, Way::Ipset];
    pub(crate) const IPTABLES: &[Way] = &[Way::Ipset, Way::IpsetLegacy, Way::Rules, Way::RulesLegacy];

    pub(crate) fn has_rules_alone(self) -> bool {
        matches!(self, Way::Rules | Way::RulesLegacy)
    }
}

/// A server's namespace, seen from inside, with a client in another one.
pub(crate) struct World {
    connector: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl World {
    pub(crate) fn nft(&self) -> Nft {
        Nft::new("denyd_t".parse().unwrap(), Lengths::default())
    }

    /// A back end of our own table or chain.
    pub(crate) fn back_end(&self, way: Way, effect: Effect) -> Box<dyn DenyBackend> {
        match way {
            Way::Netlink => Box::new(self.nft().with_effect(effect)),
            Way::Program => Box::new(self.nft().with_effect(effect).without_netlink()),
            _ => Box::new(self.iptables(way).with_effect(effect)),
        }
    }

    pub(crate) fn iptables(&self, way: Way) -> Iptables {
        let new = Iptables::new("denyd-t".parse().unwrap());
        match way {
            Way::IpsetLegacy => new.legacy(),
            Way::Rules => new.without_ipset(),
            Way::RulesLegacy => new.without_ipset().legacy(),
            _ => new,
        }
    }

    /// All that there is in the firewall, but for the hooks that iptables leaves behind once it was used.
    pub(crate) fn ruleset(&self) -> String {
        let nft = self.run("nft", &["list", "ruleset"]);
        let legacy = |program: &str, table: &str| self.run(program, &["-t", table, "-S"]);
        let legacy = ["iptables-legacy", "ip6tables-legacy"].map(|name| legacy(name, "raw") + &legacy(name, "filter"));
        let hooks = [
            "table ip",
            "chain PREROUTING {",
            "chain OUTPUT {",
            "chain INPUT {",
            "chain FORWARD {",
            "type filter hook",
            "}",
            "#",
        ];
        let rules =
            nft.lines().filter(|line| !line.is_empty() && !hooks.iter().any(|hook| line.trim().starts_with(hook)));
        rules.chain(legacy.concat().lines()).chain(self.run("ipset", &["save"]).lines()).collect::<Vec<_>>().join("\n")
    }

    /// `192.0.2.1 open, 192.0.2.2 silent`: what becomes of a connection from each.
    pub(crate) async fn is(&self, cases: &str) {
        self.tried("connect", PORT, cases).await;
    }

    /// The same of a connection to another port, or of a `datagram`, to which nobody answers.
    pub(crate) async fn tried(&self, how: &str, port: u16, cases: &str) {
        for (source, want) in cases.split(", ").map(|case| case.split_once(' ').unwrap()) {
            let once = async || tokio::task::block_in_place(|| self.ask(&format!("{how} {source} {port}")));
            let mut got = once().await;
            // a first packet can be lost while neighbours are found; what is dropped is never answered
            for _ in 0..5 {
                if got == want || want == "silent" {
                    break;
                }
                got = once().await;
            }
            assert_eq!(got, want, "{how} from {source} to {port}");
        }
    }

    /// A machine behind ours, which forwards to it, with a server that answers.
    pub(crate) fn container(&self) {
        let ip = |arguments: &str| _ = self.run("ip", &arguments.split(' ').collect::<Vec<_>>());
        ip("netns add container");
        ip("link add veth0 type veth peer name eth0 netns container");
        ip("link set veth0 up");
        ip("addr add 192.0.3.1/24 dev veth0");
        ip("-n container link set lo up");
        ip("-n container link set eth0 up");
        ip(&format!("-n container addr add {CONTAINER}/24 dev eth0"));
        ip("-n container route add default via 192.0.3.1");
        ip("-n client route add 192.0.3.0/24 via 192.0.2.1");
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let listens = format!("import socket\ns = socket.create_server(('', {PORT}))\nwhile True: s.accept()");
        let listener = ["netns", "exec", "container", "python3", "-c", &listens];
        let mut server = Command::new(program("ip").unwrap()).args(listener).stdin(Stdio::null()).spawn().unwrap();
        // It ends with the machine.
        std::thread::spawn(move || server.wait());
        kit::until("the server behind ours", || (self.forwarded("192.0.2.10") == "open").then_some(()));
    }

    /// What becomes of a connection to the machine behind ours.
    pub(crate) fn forwarded(&self, source: &str) -> String {
        self.ask(&format!("forward {source} {PORT}"))
    }

    /// Opens a connection that stays; returns its port.
    pub(crate) fn hold(&self, source: &str) -> u16 {
        self.ask(&format!("hold {source} {PORT}")).parse().unwrap()
    }

    /// Whether one that stays is `open`, `silent`, or `cut`.
    pub(crate) fn talk(&self, source: &str, port: u16) -> String {
        self.ask(&format!("talk {source}#{port} {PORT}"))
    }

    pub(crate) async fn connect(&self, source: &str) -> String {
        tokio::task::block_in_place(|| self.ask(&format!("connect {source} {PORT}")))
    }

    /// Connections that opened and that did not, in half a second of tries.
    pub(crate) async fn hammer(&self, source: &str) -> (u32, u32) {
        let answer = tokio::task::spawn_blocking({
            let ask = format!("hammer {source} {PORT}");
            let me: &'static World = WORLD.get().unwrap();
            move || me.ask(&ask)
        });
        let answer = answer.await.unwrap();
        let (open, not) = answer.split_once(' ').unwrap();
        (open.parse().unwrap(), not.parse().unwrap())
    }

    fn ask(&self, question: &str) -> String {
        let mut connector = self.connector.lock().unwrap();
        writeln!(connector.1, "{question}").unwrap();
        loop {
            let mut line = String::new();
            assert!(connector.2.read_line(&mut line).unwrap() > 0, "the connector ended");
            if let Some(answer) = line.strip_prefix("ANSWER ") {
                return answer.trim().to_owned();
            }
        }
    }

    pub(crate) fn run(&self, name: &str, arguments: &[&str]) -> String {
        let output = Command::new(program(name).unwrap()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The elements of a set, without the time that is left.
    pub(crate) fn elements(&self, table: &str, set: &str) -> BTreeSet<String> {
        let listing = self.run("nft", &["list", "set", "inet", table, set]);
        let Some((_, elements)) = listing.split_once("elements = {") else { return BTreeSet::new() };
        let elements = elements.split('}').next().unwrap().split(',').map(str::trim);
        elements.map(|e| e.split(" expires").next().unwrap().to_owned()).collect()
    }
}

static WORLD: std::sync::OnceLock<World> = std::sync::OnceLock::new();

/// Runs `body` in a machine of its own, by running this test once more inside it.
pub(crate) fn in_namespace(test: &str, body: impl AsyncFnOnce(&'static World)) {
    if let Some(missing) = ["ip", "nft", "mount", "iptables", "ipset"].iter().find(|name| program(name).is_none()) {
        return skip(test, &format!("no {missing}"));
    }
    if !kit::in_box(test) {
        return;
    }
    wire();
    let mut connector = Command::new(program("ip").unwrap())
        .args(["netns", "exec", "client"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "world::connector", "--nocapture", "--test-threads=1"])
        .env(CONNECTOR, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (stdin, stdout) = (connector.stdin.take().unwrap(), BufReader::new(connector.stdout.take().unwrap()));
    let world = WORLD.get_or_init(|| World { connector: Mutex::new((connector, stdin, stdout)) });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for port in [PORT, OTHER_PORT] {
            let listener = tokio::net::TcpListener::bind(("::", port)).await.unwrap();
            tokio::spawn(async move {
                loop {
                    let Ok((mut client, _)) = listener.accept().await else { continue };
                    tokio::spawn(async move {
                        let (mut said, mut answers) = client.split();
                        tokio::io::copy(&mut said, &mut answers).await
                    });
                }
            });
        }
        let _silent = tokio::net::UdpSocket::bind(("::", PORT)).await.unwrap();
        tokio::time::timeout(Duration::from_secs(120), body(world)).await.expect("the test takes more than 120 s");
    });
}

/// Not a test: the client of another test, in the client's namespace.
#[test]
fn connector() {
    if std::env::var(CONNECTOR).is_err() {
        return;
    }
    std::fs::write("/proc/sys/net/ipv6/ip_nonlocal_bind", "1").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = |source: IpAddr, port: u16| {
        SocketAddr::new(if source.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap(), port)
    };
    let connect_to = async |to: SocketAddr, source: SocketAddr, wait: u64| {
        let new = if source.is_ipv4() { tokio::net::TcpSocket::new_v4 } else { tokio::net::TcpSocket::new_v6 };
        let socket = new().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(source).unwrap();
        tokio::time::timeout(Duration::from_millis(wait), socket.connect(to))
            .await
            .map_err(|_| "silent")
            .and_then(refused)
    };
    let datagram = async |source: SocketAddr, port: u16| {
        let socket = tokio::net::UdpSocket::bind(source).await.unwrap();
        socket.connect(server(source.ip(), port)).await.unwrap();
        socket.send(b"?").await.unwrap();
        let mut answer = [0];
        let answered = tokio::time::timeout(Duration::from_millis(400), socket.recv(&mut answer));
        answered.await.map_err(|_| "silent").and_then(refused)
    };
    let connect = async |source: SocketAddr, port, wait| connect_to(server(source.ip(), port), source, wait).await;
    let mut held: BTreeMap<u16, TcpStream> = BTreeMap::new();
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let [verb, source, port] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (source, from) = source.split_once('#').unwrap_or((source, "0"));
        let source = SocketAddr::new(source.parse().unwrap(), from.parse().unwrap());
        let port: u16 = port.parse().unwrap();
        let word = |came: Result<_, &'static str>| came.map_or_else(str::to_owned, |()| "open".to_owned());
        let answer = runtime.block_on(async {
            match verb {
                "connect" => return word(connect(source, port, 400).await.map(drop)),
                "forward" => {
                    let container = SocketAddr::new(CONTAINER.parse().unwrap(), port);
                    return word(connect_to(container, source, 400).await.map(drop));
                }
                "datagram" => return word(datagram(source, port).await.map(drop)),
                "hold" => {
                    let stream = connect(source, port, 2_000).await.unwrap();
                    let from = stream.local_addr().unwrap().port();
                    held.insert(from, stream);
                    return from.to_string();
                }
                "talk" => {
                    let stream = held.get_mut(&source.port()).unwrap();
                    let answer = async { stream.write_all(b"x").await.and(stream.read_u8().await) };
                    let answer = tokio::time::timeout(Duration::from_millis(600), answer).await;
                    return answer.map_or("silent", |said| if said.is_ok() { "open" } else { "cut" }).to_owned();
                }
                _ => {}
            }
            // One every ten milliseconds: what begins in a gap gets through, however short that is.
            let tries = (0..70).map(|n| async move {
                tokio::time::sleep(Duration::from_millis(10 * n)).await;
                connect(source, port, 900).await
            });
            let tried = join_all(tries).await;
            let open = tried.iter().filter(|tried| tried.is_ok()).count();
            let not = tried.len() - open;
            format!("{open} {not}")
        });
        println!("\nANSWER {answer}");
    }
    std::process::exit(0); // nobody reads what the harness would print
}

/// What a refusal is called.
fn refused<T>(came: std::io::Result<T>) -> Result<T, &'static str> {
    came.map_err(|error| if error.kind() == std::io::ErrorKind::ConnectionRefused { "refused" } else { "failed" })
}

async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

/// A wire to a client in a namespace inside of ours; all of it goes with the machine.
fn wire() {
    let ip = |arguments: &str| {
        let output = Command::new(program("ip").unwrap()).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    ip("netns add client");
    ip("link add eth0 type veth peer name eth0 netns client");
    for end in ["", "-n client "] {
        ip(&format!("{end}link set lo up"));
        ip(&format!("{end}link set eth0 up"));
    }
    ip("addr add 192.0.2.1/24 dev eth0");
    ip("addr add 2001:db8::1/64 dev eth0 nodad");
    for host in 10..15 {
        ip(&format!("-n client addr add 192.0.2.{host}/24 dev eth0"));
        ip(&format!("-n client addr add 2001:db8::{host}/64 dev eth0 nodad"));
    }
    // every address of a whole prefix
    for (prefix, via) in [("198.51.100.0/24", "192.0.2.10"), ("2001:db8:66::/48", "2001:db8::14")] {
        ip(&format!("-n client route add local {prefix} dev lo"));
        ip(&format!("route add {prefix} via {via}"));
    }
}
