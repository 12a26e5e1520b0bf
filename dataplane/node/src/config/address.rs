//! Which local addresses a node binds and which ones it announces to clients (DESIGN §4, ICE).
//! One socket per local address, so that a reply leaves from the address that was checked; a
//! wildcard only where translation in front of this machine leaves no other choice.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Config, MAX_ADDRESSES};

/// A decision of [`plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// A socket for each of these.
    pub bind: Vec<IpAddr>,
    /// What clients are told, in order of preference.
    pub announce: Vec<IpAddr>,
}

/// One address of this machine and the name of its interface.
pub type Interface = (String, IpAddr);

/// Decides from the machine's interfaces.
///
/// # Errors
/// When the interfaces cannot be listed.
pub fn plan(config: &Config) -> std::io::Result<Addresses> {
    // Binding is the one question that the kernel answers for all kinds of local addresses, the
    // whole of 127.0.0.0/8 and anycast ones included.
    let is_local = |ip: IpAddr| std::net::UdpSocket::bind((ip, 0)).is_ok();
    let interfaces = if_addrs::get_if_addrs()?.into_iter().map(|i| (i.name.clone(), i.ip()));
    // An IPv6 address that is still tentative (RFC 4862 §5.4) cannot be bound.
    let interfaces = interfaces.filter(|(_, ip)| is_local(*ip)).collect();
    Ok(decide(config, interfaces, is_local))
}

pub(super) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Bridges of containers and virtual machines: clients rarely reach them, and there may be many.
fn is_virtual(name: &str) -> bool {
    ["docker", "br-", "veth", "virbr", "cni", "flannel", "cali", "dummy"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn decide(
    config: &Config,
    interfaces: Vec<Interface>,
    is_local: impl Fn(IpAddr) -> bool,
) -> Addresses {
    let own = own_addresses(interfaces);
    let mut bind = Vec::new();
    let mut announce = Vec::new();
    if config.announce.is_empty() {
        announce.clone_from(&own);
        if announce.is_empty() || config.announce_loopback {
            announce.truncate(MAX_ADDRESSES - 2);
            announce.extend(loopback().into_iter().filter(|ip| is_local(*ip)));
        }
        bind.clone_from(&announce);
    }
    for ip in &config.announce {
        push_new(&mut announce, *ip);
        if is_local(*ip) {
            push_new(&mut bind, *ip);
            continue;
        }
        // Translated: the datagrams arrive at one of our own addresses of that family.
        let mut family = own.iter().filter(|own| own.is_ipv4() == ip.is_ipv4()).peekable();
        if family.peek().is_none() {
            let wildcard: IpAddr = if ip.is_ipv4() {
                Ipv4Addr::UNSPECIFIED.into()
            } else {
                Ipv6Addr::UNSPECIFIED.into()
            };
            push_new(&mut bind, wildcard);
        }
        family.for_each(|own| push_new(&mut bind, *own));
    }
    // A wildcard takes the port on every address of its family.
    for wildcard in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        if bind.contains(&wildcard) {
            bind.retain(|ip| *ip == wildcard || ip.is_ipv4() != wildcard.is_ipv4());
        }
    }
    bind.truncate(MAX_ADDRESSES);
    Addresses { bind, announce }
}

/// Addresses of this machine that others can reach: physical interfaces first, then IPv4 first.
fn own_addresses(mut interfaces: Vec<Interface>) -> Vec<IpAddr> {
    interfaces.retain(|(_, ip)| !ip.is_loopback() && !is_link_local(*ip) && !ip.is_unspecified());
    interfaces.sort_by_key(|(name, ip)| (is_virtual(name), ip.is_ipv6()));
    let mut own = Vec::new();
    for (_, ip) in interfaces {
        push_new(&mut own, ip);
    }
    own.truncate(MAX_ADDRESSES);
    own
}

fn loopback() -> [IpAddr; 2] {
    [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
}

fn push_new(list: &mut Vec<IpAddr>, ip: IpAddr) {
    if !list.contains(&ip) {
        list.push(ip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `announce` and `interfaces` as text; returns what is bound and what is announced.
    fn check(announce: &str, loopback: bool, interfaces: &str) -> (String, String) {
        let ips = |text: &str| -> Vec<IpAddr> {
            text.split_whitespace().map(|ip| ip.parse().expect("an address")).collect()
        };
        let interfaces: Vec<Interface> = interfaces
            .split_whitespace()
            .map(|pair| pair.split_once('=').expect("name=address"))
            .map(|(name, ip)| (name.to_owned(), ip.parse().expect("an address")))
            .collect();
        let own: Vec<IpAddr> = interfaces.iter().map(|(_, ip)| *ip).collect();
        let config =
            Config { announce: ips(announce), announce_loopback: loopback, ..Config::default() };
        let addresses = decide(&config, interfaces, |ip| ip.is_loopback() || own.contains(&ip));
        let text =
            |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        (text(&addresses.bind), text(&addresses.announce))
    }

    #[test]
    fn addresses_follow_from_interfaces_and_settings() {
        let lan = "lo=127.0.0.1 lo=::1 eth0=192.168.1.5 eth0=fe80::1 eth0=2001:db8::5";
        for (announce, loopback, interfaces, bind, announced) in [
            ("", false, lan, "192.168.1.5 2001:db8::5", "192.168.1.5 2001:db8::5"),
            (
                "",
                true,
                lan,
                "192.168.1.5 2001:db8::5 127.0.0.1 ::1",
                "192.168.1.5 2001:db8::5 127.0.0.1 ::1",
            ),
            // No network at all: loopback is better than nothing.
            ("", false, "lo=127.0.0.1", "127.0.0.1 ::1", "127.0.0.1 ::1"),
            ("192.168.1.5", true, lan, "192.168.1.5", "192.168.1.5"),
            ("127.3.4.5", false, lan, "127.3.4.5", "127.3.4.5"),
            // The outside of an address translation.
            ("203.0.113.9", false, lan, "192.168.1.5", "203.0.113.9"),
            ("203.0.113.9 192.168.1.5", false, lan, "192.168.1.5", "203.0.113.9 192.168.1.5"),
            ("203.0.113.9", false, "lo=127.0.0.1", "0.0.0.0", "203.0.113.9"),
            ("203.0.113.9 127.0.0.1", false, "", "0.0.0.0", "203.0.113.9 127.0.0.1"),
            // Container bridges come last.
            (
                "",
                false,
                "docker0=172.17.0.1 eth0=2001:db8::5 eth1=10.0.0.1",
                "10.0.0.1 2001:db8::5 172.17.0.1",
                "10.0.0.1 2001:db8::5 172.17.0.1",
            ),
        ] {
            let expected = (bind.to_owned(), announced.to_owned());
            assert_eq!(check(announce, loopback, interfaces), expected, "{announce}|{interfaces}");
        }
    }

    #[test]
    fn an_explosion_of_bridges_is_cut_and_keeps_the_network_card() {
        let mut interfaces: Vec<String> =
            (0..40).map(|n| format!("veth{n}=172.20.{n}.1")).collect();
        interfaces.push("eth0=10.0.0.1".into());
        let (bind, announced) = check("", true, &interfaces.join(" "));
        assert_eq!(bind.split(' ').count(), MAX_ADDRESSES);
        assert!(bind.starts_with("10.0.0.1 ") && bind.ends_with("127.0.0.1 ::1"), "{bind}");
        assert_eq!(bind, announced);
    }

    #[test]
    fn this_machine_has_a_plan() {
        let config = Config { announce_loopback: true, ..Config::default() };
        let addresses = plan(&config).expect("interfaces can be listed");
        assert!(addresses.announce.contains(&Ipv4Addr::LOCALHOST.into()));
    }
}
