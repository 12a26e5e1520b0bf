//! What is wrong with settings that could each be read: ranges, settings that need each other, and
//! in production what is unsafe on a network that others reach.

use std::net::IpAddr;

use hype_control::config::{Dsn, Secret, Tls};

use super::{Mode, Part, Process, Settings, settings};

type Faults = Vec<(&'static str, String)>;

/// Everything that is wrong for this process, by the keys of the file.
pub fn faults(settings: &Settings, process: Process) -> Faults {
    let mut faults = Faults::new();
    if process.has(Part::Control) {
        let found = settings.control.faults();
        faults.extend(found.into_iter().map(|invalid| (invalid.setting, invalid.reason)));
    }
    if process.has(Part::Media) {
        let found = settings.media().faults();
        faults
            .extend(found.into_iter().map(|invalid| (media_key(invalid.setting), invalid.reason)));
    }
    if process.has(Part::Etcd) {
        etcd(settings, &mut faults);
    }
    if process.has(Part::Node) && settings.node.token.is_some() && settings.node.control.is_none() {
        faults.push(("node.enroll", "needs node.control (--control URL) as well".to_owned()));
    }
    if settings.mode == Mode::Production {
        production(settings, process, &mut faults);
    }
    faults
}

/// The media plane names its settings by their flags.
fn media_key(setting: &'static str) -> &'static str {
    let flag = setting.replace('_', "-");
    let found = settings().iter().find(|other| other.part == Part::Media && other.name == flag);
    found.map_or(setting, |setting| setting.key)
}

fn etcd(settings: &Settings, faults: &mut Faults) {
    let etcd = &settings.etcd;
    if etcd.endpoints.is_empty() {
        faults.push(("etcd.endpoints", "at least one is needed".to_owned()));
    }
    for url in &etcd.endpoints {
        if url.contains('@') {
            let reason = "a URL holds a user: use etcd.user and etcd.password";
            faults.push(("etcd.endpoints", reason.to_owned()));
        } else if !url.starts_with("http://") && !url.starts_with("https://") {
            faults.push(("etcd.endpoints", format!("`{url}` is no URL such as http://host:2379")));
        }
    }
    if let Some(files) = &etcd.cert {
        let is_pair = files.split_once(',').is_some_and(|(c, k)| !c.is_empty() && !k.is_empty());
        if !is_pair {
            faults.push(("etcd.cert", "wants two files: CERT,KEY".to_owned()));
        }
        if etcd.ca.is_none() {
            faults.push(("etcd.cert", "needs etcd.ca (--etcd-ca FILE) as well".to_owned()));
        }
    }
    if etcd.user.is_some() && etcd.password.is_none() {
        faults.push(("etcd.user", "needs etcd.password as well".to_owned()));
    }
}

fn production(settings: &Settings, process: Process, faults: &mut Faults) {
    let control = &settings.control;
    let mut refuse = |key, reason: &str| faults.push((key, format!("in production, {reason}")));
    if process.has(Part::Control) {
        let http: IpAddr = control.http.ip().to_canonical();
        if control.tls == Tls::Off && !http.is_loopback() && !control.behind_proxy {
            refuse(
                "http.tls",
                "plain HTTP is for loopback only: name a certificate (CERT,KEY), or set \
                 http.behind_proxy = true where a proxy speaks TLS",
            );
        }
        let store = &control.store;
        let databases = store.accounts.iter().map(|dsn| ("store.accounts", dsn));
        for (key, dsn) in databases.chain(store.shards.iter().map(|dsn| ("store.shards", dsn))) {
            if process.has(Part::Replica) && matches!(dsn, Dsn::Sqlite(_)) {
                refuse(key, "replicas share PostgreSQL: name it by postgres://…");
            }
            if dsn.password().is_some_and(|password| password.is_default()) {
                refuse(key, "the password must not be one that stands in examples: choose another");
            }
        }
    }
    if process.has(Part::Replica) {
        if control.store.accounts.is_none() {
            refuse("store.accounts", "replicas share PostgreSQL: name it by postgres://…");
        }
        if control.bus.nats.is_empty() {
            refuse("bus.nats", "replicas need a bus between them: name the NATS servers");
        }
        if control.sealing_key.is_none() {
            refuse(
                "secrets.sealing_key",
                "all replicas need the same key: make one by `openssl rand -hex 32 > FILE` and \
                 name it as file:FILE",
            );
        }
    }
    let secrets: [(&str, Part, &Option<Secret>); 4] = [
        ("secrets.sealing_key", Part::Control, &control.sealing_key),
        ("bus.password", Part::Control, &control.bus.password),
        ("bus.token", Part::Control, &control.bus.token),
        ("etcd.password", Part::Etcd, &settings.etcd.password),
    ];
    for (key, part, secret) in secrets {
        if process.has(part) && secret.as_ref().is_some_and(Secret::is_default) {
            refuse(key, "the secret must not be one that stands in examples: choose another");
        }
    }
}
