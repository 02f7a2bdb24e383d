//! Tells a server of hosts, and goes on without those that it does not take.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::server::Failed;

/// Hosts that are sent at once.
const BATCH: usize = 100;
/// So many hosts of IPv6 are offered to a server that has taken none before it is not asked again, for a day; and so many of any
/// kind before it is believed to take nobody now.
const TRIES: usize = 3;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// The server has them.
    pub(super) taken: Vec<IpAddr>,
    /// It does not take them.
    pub(super) refused: Vec<IpAddr>,
    /// Whether it took none of IPv6 of several that it was offered: it knows no such addresses.
    pub(super) no_ipv6: bool,
}

/// Sends hosts by `add`; an error is why one could be neither sent nor refused, and all are to be sent again.
///
/// One host that a server does not take fails a whole call of DenyHosts' protocol. The server most often says which one that is;
/// else halves are tried. Where it does not even say that a host is the reason, it is believed to be one only if the server takes
/// `known` again, one that it took before, or one of these.
pub(super) fn send(
    hosts: &[IpAddr],
    takes_ipv6: bool,
    known: Option<IpAddr>,
    mut add: impl FnMut(&[IpAddr]) -> Result<(), Failed>,
) -> Result<Sent, Failed> {
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = hosts.iter().copied().partition(IpAddr::is_ipv4);
    let mut sent = Sent::default();
    send_all(ipv4, &mut sent, known, &mut add, usize::MAX)?;
    if takes_ipv6 {
        let (taken, refused) = (sent.taken.len(), sent.refused.len());
        send_all(ipv6, &mut sent, known, &mut add, TRIES)?;
        sent.no_ipv6 = sent.taken.len() == taken && sent.refused.len() >= refused + TRIES;
    } else {
        sent.refused.extend(ipv6);
    }
    Ok(sent)
}

/// Sends hosts of one family. Once `most` are refused and none taken all others are refused, too.
fn send_all(
    hosts: Vec<IpAddr>,
    sent: &mut Sent,
    known: Option<IpAddr>,
    add: &mut impl FnMut(&[IpAddr]) -> Result<(), Failed>,
    most: usize,
) -> Result<(), Failed> {
    let (taken, refused) = (sent.taken.len(), sent.refused.len());
    // Nobody knows yet whether they are the reason.
    let mut doubtful = Vec::new();
    let mut batches: VecDeque<Vec<IpAddr>> = hosts.chunks(BATCH).map(<[IpAddr]>::to_vec).collect();
    while let Some(mut batch) = batches.pop_front() {
        if sent.taken.len() == taken && sent.refused.len() - refused >= most {
            sent.refused.append(&mut batch);
            continue;
        }
        match add(&batch) {
            Ok(()) => {
                sent.taken.append(&mut batch);
                sent.refused.append(&mut doubtful);
            }
            Err(Failed::Some(text)) if batch.len() == 1 && !is_named(&text, batch[0]) => {
                doubtful.append(&mut batch);
                match sent.taken.last().copied().or(known) {
                    Some(known) if add(&[known]).is_ok() => sent.refused.append(&mut doubtful),
                    None if doubtful.len() < TRIES && !batches.is_empty() => {}
                    _ => return Err(Failed::Other(text)),
                }
            }
            Err(Failed::Host(text) | Failed::Some(text)) => {
                match batch.iter().position(|host| is_named(&text, *host)) {
                    _ if batch.len() == 1 => sent.refused.append(&mut batch),
                    Some(named) => {
                        sent.refused.push(batch.remove(named));
                        batches.push_front(batch);
                    }
                    None => {
                        let rest = batch.split_off(batch.len() / 2);
                        batches.push_front(rest);
                        batches.push_front(batch);
                    }
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Whether a text names a host: `Illegal IP address "192.0.2.7".`
fn is_named(text: &str, host: IpAddr) -> bool {
    let of_address = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let words = text.split(|c| !of_address(c)).map(|word| word.trim_end_matches('.'));
    words.filter_map(|word| word.parse::<IpAddr>().ok()).any(|named| named == host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|host| host.parse().unwrap()).collect()
    }

    #[test]
    fn the_rest_is_sent_where_one_is_refused() {
        let check = |all: &str, bad: &str, names: bool, calls: usize| {
            let bad = hosts(bad);
            let mut called = 0;
            let sent = send(&hosts(all), true, None, |batch| {
                called += 1;
                match batch.iter().find(|host| bad.contains(host)) {
                    Some(one) if names => Err(Failed::Host(format!("Illegal IP address \"{one}\"."))),
                    Some(_) => Err(Failed::Host("Illegal IP address".to_owned())),
                    None => Ok(()),
                }
            })
            .unwrap();
            let mut refused = sent.refused.clone();
            refused.sort();
            assert_eq!(refused, bad, "{all}");
            let mut taken: Vec<_> = hosts(all).into_iter().filter(|host| !bad.contains(host)).collect();
            taken.sort();
            let mut told = sent.taken.clone();
            told.sort();
            assert_eq!((told, called), (taken, calls), "{all} without {bad:?}");
        };
        check("20.1.1.1 20.1.1.2 20.1.1.3 20.1.1.4", "", true, 1);
        check("20.1.1.1 20.1.1.2 20.1.1.3 20.1.1.4", "20.1.1.3", true, 2);
        check("20.1.1.1 20.1.1.2 20.1.1.3 20.1.1.4", "20.1.1.3", false, 5);
        check("20.1.1.1", "20.1.1.1", true, 1);
        check("20.1.1.1 20.1.1.11", "20.1.1.1 20.1.1.11", true, 2);
        check("20.1.1.1 2a00::1 2a00::2", "2a00::1", true, 3);
        check("", "", true, 0);
    }

    #[test]
    fn a_server_that_knows_no_ipv6_is_not_offered_it_for_ever() {
        let all = hosts("2a00::1 2a00::2 2a00::3 2a00::4 2a00::5 20.1.1.1");
        let mut called = 0;
        let add = |batch: &[IpAddr]| {
            called += 1;
            match batch.iter().find(|host| host.is_ipv6()) {
                Some(one) => Err(Failed::Host(format!("Illegal IP address \"{one}\"."))),
                None => Ok(()),
            }
        };
        let sent = send(&all, true, None, add).unwrap();
        assert_eq!((sent.taken, sent.refused.len(), sent.no_ipv6, called), (hosts("20.1.1.1"), 5, true, 4));
        let sent =
            send(&all, false, None, |batch| if batch == hosts("20.1.1.1") { Ok(()) } else { panic!("{batch:?}") });
        assert_eq!(sent.unwrap().refused.len(), 5);
    }

    #[test]
    fn what_could_not_be_sent_is_no_refusal() {
        let failed = Failed::Other("Connection refused".to_owned());
        assert_eq!(send(&hosts("20.1.1.1"), true, None, |_| Err(failed.clone())), Err(failed));
    }

    /// denyhosts_sync's fault 104: of an address that is none to it, of one that its database does not take, and of all else.
    #[test]
    fn what_was_not_added_is_a_host_s_fault_where_the_server_takes_others() {
        let check = |all: &str, bad: &str, known: Option<&str>, works: bool, want: Option<&str>, calls: usize| {
            let (bad, known) = (hosts(bad), known.map(|known| known.parse().unwrap()));
            let mut called = 0;
            let sent = send(&hosts(all), true, known, |batch| {
                called += 1;
                match !works || batch.iter().any(|host| bad.contains(host)) {
                    true => Err(Failed::Some("fault 104: Error adding hosts: (1406, Data too long)".to_owned())),
                    false => Ok(()),
                }
            });
            assert_eq!(sent.ok().map(|sent| sent.refused), want.map(hosts), "{all}");
            assert_eq!(called, calls, "{all}");
        };
        check("20.1.1.1 20.1.1.2 2a00::1", "2a00::1", None, true, Some("2a00::1"), 3);
        check("2a00::1", "2a00::1", Some("20.1.1.9"), true, Some("2a00::1"), 2);
        check("2a00::1", "2a00::1", None, true, None, 1);
        check("20.1.1.1 20.1.1.2", "20.1.1.2", None, true, Some("20.1.1.2"), 4);
        check("20.1.1.1 20.1.1.2", "20.1.1.1", None, true, Some("20.1.1.1"), 3);
        check("20.1.1.1 20.1.1.2 20.1.1.3 20.1.1.4", "", None, false, None, 6);
        // Its database is locked, or it wants no more of us for now: nobody is refused.
        check("20.1.1.1 20.1.1.2 20.1.1.3 20.1.1.4", "", Some("20.1.1.9"), false, None, 4);
        let named = |batch: &[IpAddr]| match batch.contains(&hosts("20.1.1.1")[0]) {
            true => Err(Failed::Some("fault 104: Error adding hosts: Illegal IP address \"20.1.1.1\".".to_owned())),
            false => Ok(()),
        };
        let sent = send(&hosts("20.1.1.1 20.1.1.2"), true, None, named).unwrap();
        assert_eq!((sent.taken, sent.refused), (hosts("20.1.1.2"), hosts("20.1.1.1")));
        assert_eq!(send(&hosts("20.1.1.1"), true, None, named).unwrap().refused, hosts("20.1.1.1"));
    }
}
