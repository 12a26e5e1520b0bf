//! Settings of etcd, of the link between nodes and replicas, and of nodes.

use super::super::Part;
use super::Setting;

/// All of them.
pub fn settings() -> Vec<Setting> {
    let mut all = etcd();
    all.extend(link());
    all.extend(media());
    all.extend(node());
    all
}

fn etcd() -> Vec<Setting> {
    use Part::Etcd;
    vec![
        Setting::new(Etcd, "etcd.endpoints", "Endpoints of the etcd cluster, at least one.", |s| {
            &mut s.etcd.endpoints
        })
        .flag("etcd", "URL[,URL]"),
        Setting::new(
            Etcd,
            "etcd.ca",
            "PEM file of the authority that signed etcd's certificates (for https).",
            |s| &mut s.etcd.ca,
        )
        .flag("etcd-ca", "FILE")
        .example(r#""/etc/hype/etcd-ca.pem""#),
        Setting::new(
            Etcd,
            "etcd.cert",
            "PEM files of our certificate and key for etcd, as CERT,KEY; needs the authority.",
            |s| &mut s.etcd.cert,
        )
        .flag("etcd-cert", "CERT,KEY")
        .example(r#""/etc/hype/etcd.pem,/etc/hype/etcd.key""#),
        Setting::new(Etcd, "etcd.user", "etcd user; needs its password.", |s| &mut s.etcd.user)
            .flag("etcd-user", "NAME")
            .example(r#""hype""#),
        Setting::new(
            Etcd,
            "etcd.password",
            "Secret. Its password; better given by a file or the environment than by a flag.",
            |s| &mut s.etcd.password,
        )
        .flag("etcd-password", "SECRET|file:PATH")
        .example(r#""file:/etc/hype/etcd.password""#),
    ]
}

fn link() -> Vec<Setting> {
    use Part::Replica;
    vec![
        Setting::new(
            Replica,
            "link.address",
            "UDP address and port where nodes dial this replica.",
            |s| &mut s.link.address,
        )
        .flag("link", "ADDR:PORT"),
        Setting::new(
            Replica,
            "link.announce",
            "By which addresses nodes reach it; by default this machine's.",
            |s| &mut s.link.announce,
        )
        .flag("link-announce", "ADDR:PORT[,…]"),
        Setting::new(
            Replica,
            "link.pki_dir",
            "Directory of the fleet's certificates; made with a new authority when it is empty.",
            |s| &mut s.link.pki_dir,
        )
        .flag("pki-dir", "DIR"),
    ]
}

fn media() -> Vec<Setting> {
    use Part::Media;
    vec![
        Setting::new(
            Media,
            "media.udp_port",
            "UDP port of the first worker; the others follow it.",
            |s| &mut s.media.udp_port,
        )
        .flag("udp-port", "PORT"),
        Setting::new(
            Media,
            "media.workers",
            "Workers, one core each, 1–256; by default all cores but one.",
            |s| &mut s.workers,
        )
        .flag("workers", "N")
        .example("3"),
        Setting::new(
            Media,
            "media.announce",
            "Addresses that clients shall send media to, at most 16; by default all of this \
             machine. Behind a 1:1 address translation, its outer address.",
            |s| &mut s.media.announce,
        )
        .flag("announce", "IP[,IP]"),
        Setting::new(
            Media,
            "media.io",
            "`auto`, `uring`, `socket` where io_uring is forbidden, or `xdp` (past the kernel's \
             network stack; needs an interface and root).",
            |s| &mut s.media.io,
        )
        .flag("io", "BACK-END"),
        Setting::new(
            Media,
            "media.interfaces",
            "Network interfaces to use AF_XDP on, at most 8, with `xdp` or `auto`. What comes and \
             goes by them for media does not pass the host's packet filters.",
            |s| &mut s.media.interfaces,
        )
        .flag("interface", "IF[,IF]"),
        Setting::new(
            Media,
            "media.node_id",
            "Name of the node: 1–32 of a-z, 0-9 and -, unique in the fleet.",
            |s| &mut s.media.node,
        )
        .flag("node-id", "NAME"),
        Setting::new(Media, "media.region", "Where it stands, such as eu-central-1.", |s| {
            &mut s.media.region
        })
        .flag("region", "NAME"),
        Setting::new(
            Media,
            "media.max_sessions",
            "The most people connected at once, 1–1,000,000.",
            |s| &mut s.media.max_sessions,
        )
        .flag("max-sessions", "N"),
    ]
}

fn node() -> Vec<Setting> {
    use Part::Node;
    vec![
        Setting::new(
            Node,
            "node.data_dir",
            "Where the node's certificate and key are kept.",
            |s| &mut s.node.data_dir,
        )
        .flag("data-dir", "DIR"),
        Setting::new(
            Node,
            "node.enroll",
            "Secret. Enrolls this node by a token of `hype cert token`, unless it has a \
             certificate already; needs node.control.",
            |s| &mut s.node.token,
        )
        .flag("enroll", "TOKEN|file:PATH")
        .example(r#""file:/etc/hype/enroll.token""#),
        Setting::new(
            Node,
            "node.control",
            "The control plane's address for enrolling, such as https://hype.example.",
            |s| &mut s.node.control,
        )
        .flag("control", "URL")
        .example(r#""https://hype.example""#),
        Setting::new(
            Node,
            "node.admin",
            "Where operators find /metrics, /healthz and /rooms; for operators only.",
            |s| &mut s.node.admin,
        )
        .flag("admin", "ADDR:PORT"),
    ]
}
