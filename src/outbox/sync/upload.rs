//! Tells a server of hosts, and goes on without those that it does not take.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::server::Failed;

/// Hosts that are sent at once.
const BATCH: usize = 100;
/// So many hosts of IPv6 are offered to a server that has taken none before it is not asked again, for a day.
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
/// else halves are tried.
pub(super) fn send(
    hosts: &[IpAddr],
    takes_ipv6: bool,
    mut add: impl FnMut(&[IpAddr]) -> Result<(), Failed>,
) -> Result<Sent, Failed> {
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = hosts.iter().copied().partition(IpAddr::is_ipv4);
    let mut sent = Sent::default();
    send_all(ipv4, &mut sent, &mut add, usize::MAX)?;
    if takes_ipv6 {
        let (taken, refused) = (sent.taken.len(), sent.refused.len());
        send_all(ipv6, &mut sent, &mut add, TRIES)?;
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
    add: &mut impl FnMut(&[IpAddr]) -> Result<(), Failed>,
    most: usize,
) -> Result<(), Failed> {
    let (taken, refused) = (sent.taken.len(), sent.refused.len());
    let mut batches: VecDeque<Vec<IpAddr>> = hosts.chunks(BATCH).map(<[IpAddr]>::to_vec).collect();
    while let Some(mut batch) = batches.pop_front() {
        if sent.taken.len() == taken && sent.refused.len() - refused >= most {
            sent.refused.append(&mut batch);
            continue;
        }
        match add(&batch) {
            Ok(()) => sent.taken.append(&mut batch),
            Err(Failed::Host(text)) => match batch.iter().position(|host| is_named(&text, *host)) {
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
            },
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
            let sent = send(&hosts(all), true, |batch| {
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
        let sent = send(&all, true, add).unwrap();
        assert_eq!((sent.taken, sent.refused.len(), sent.no_ipv6, called), (hosts("20.1.1.1"), 5, true, 4));
        let sent = send(&all, false, |batch| if batch == hosts("20.1.1.1") { Ok(()) } else { panic!("{batch:?}") });
        assert_eq!(sent.unwrap().refused.len(), 5);
    }

    #[test]
    fn what_could_not_be_sent_is_no_refusal() {
        let failed = Failed::Other("Connection refused".to_owned());
        assert_eq!(send(&hosts("20.1.1.1"), true, |_| Err(failed.clone())), Err(failed));
    }
}
