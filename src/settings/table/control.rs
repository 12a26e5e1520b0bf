//! Settings of the control plane.

use hype_control::config::Rate;

use super::super::{Part, Settings};
use super::Setting;

/// Those before any section, of HTTP and of CORS.
pub fn general() -> Vec<Setting> {
    use Part::{Control, Process, Replica};
    vec![
        Setting::new(
            Process,
            "mode",
            "`development`, or `production`, which refuses to start with what is unsafe on a \
             network that others reach, and says what to do.",
            |s| &mut s.mode,
        )
        .flag("mode", "MODE"),
        Setting::new(
            Replica,
            "roles",
            "What this replica does, of `hype control`: `api` (REST and the page), `gateway` \
             (WebSockets), `voice` (background work of rooms), `events` (background work of \
             events). `hype up` does all.",
            |s| &mut s.control.roles,
        )
        .flag("roles", "ROLE[,ROLE]"),
        Setting::new(
            Replica,
            "control_id",
            "Name of this replica: 1–32 of a-z, 0-9 and -, unique in the fleet.",
            |s| &mut s.control.control,
        )
        .flag("control-id", "NAME"),
        Setting::new(
            Replica,
            "id_worker",
            "The worker number in the ids that this replica makes, 0–1,023: different for each \
             replica.",
            |s| &mut s.control.id_worker,
        ),
        Setting::new(
            Control,
            "data_dir",
            "Where keys, certificates and an embedded database are kept; made when missing.",
            |s| &mut s.control.data_dir,
        )
        .flag("data-dir", "DIR"),
        Setting::new(
            Control,
            "http.address",
            "Address and port of the page, the API and the gateway; port 0 takes a free one.",
            |s| &mut s.control.http,
        )
        .flag("http", "ADDR:PORT"),
        Setting::new(
            Control,
            "http.tls",
            "`off`, `self-signed`, or files `CERT,KEY` (PEM), which are read again within 10 s of \
             a change. Browsers give out the microphone only on https, or on http://localhost.",
            |s| &mut s.control.tls,
        )
        .flag("tls", "MODE|CERT,KEY"),
        Setting::new(
            Control,
            "http.behind_proxy",
            "People come through a proxy that speaks TLS with them and adds their address at the \
             end of x-forwarded-for. Only where nobody can reach this process but the proxy.",
            |s| &mut s.control.behind_proxy,
        ),
        Setting::new(
            Control,
            "cors.origins",
            "Origins of those pages, at most 100, as browsers write them: https://chat.example.",
            |s| &mut s.control.cors_origins,
        ),
    ]
}

/// Databases, bus and secrets, and what is stored of voice.
pub fn stores() -> Vec<Setting> {
    use Part::Control;
    vec![
        Setting::new(
            Control,
            "store.accounts",
            "Accounts and the directory of guilds: `sqlite:FILE` (relative to data_dir) or \
             `postgres://USER:PASSWORD@HOST/NAME`. Without it: hype.sqlite in data_dir.",
            |s| &mut s.control.store.accounts,
        )
        .example(r#""postgres://hype:PASSWORD@db1.internal/accounts""#),
        Setting::new(
            Control,
            "store.shards",
            "Where guilds are, 1–16 databases; without it, with the accounts. The order is part of \
             the data: add at the end, never reorder.",
            |s| &mut s.control.store.shards,
        ),
        Setting::new(
            Control,
            "store.readers",
            "Connections to each SQLite file for reading, 1–64.",
            |s| &mut s.control.store.readers,
        ),
        Setting::new(
            Control,
            "store.connections",
            "Connections to each PostgreSQL database, 1–1,000.",
            |s| &mut s.control.store.connections,
        ),
        Setting::new(
            Control,
            "bus.nats",
            "Servers as nats:// or tls:// URLs, at most 16; without any, all stays in this \
             process.",
            |s| &mut s.control.bus.nats,
        ),
        Setting::new(
            Control,
            "bus.copies",
            "On how many servers events are kept, 1–5: 3 in a cluster of three or more, so that \
             events go on when one of them is lost.",
            |s| &mut s.control.bus.copies,
        ),
        Setting::new(Control, "bus.user", "User; needs bus.password.", |s| &mut s.control.bus.user)
            .example(r#""hype""#),
        Setting::new(Control, "bus.password", "Secret. The user's password.", |s| {
            &mut s.control.bus.password
        })
        .example(r#""file:/etc/hype/nats.password""#),
        Setting::new(Control, "bus.token", "Secret. A token, instead of a user.", |s| {
            &mut s.control.bus.token
        })
        .example(r#""file:/etc/hype/nats.token""#),
        Setting::new(
            Control,
            "bus.credentials",
            "A credentials file (JWT and seed), instead of a user.",
            |s| &mut s.control.bus.credentials,
        )
        .example(r#""/etc/hype/nats.creds""#),
        Setting::new(
            Control,
            "bus.ca",
            "PEM file of the authority that signed the servers' certificates.",
            |s| &mut s.control.bus.ca,
        )
        .example(r#""/etc/hype/nats-ca.pem""#),
        Setting::new(
            Control,
            "secrets.sealing_key",
            "Secret. 64 hexadecimal digits (`openssl rand -hex 32`), the same for all replicas: \
             seals signing keys in the accounts database. Without it: sealing.key in data_dir, \
             made at the first start.",
            |s| &mut s.control.sealing_key,
        )
        .example(r#""file:/etc/hype/sealing.key""#),
        Setting::new(
            Control,
            "voice.mode",
            "Of new voice channels: `auto`, `p2p` or `sfu`.",
            |s| &mut s.control.voice_mode,
        ),
    ]
}

fn rate(keys: (&'static str, &'static str), field: fn(&mut Settings) -> &mut Rate) -> [Setting; 2] {
    let part = Part::Control;
    [
        Setting::new(part, keys.0, "1–10,000,000.", move |s| &mut field(s).per_minute),
        Setting::new(part, keys.1, "1–10,000,000.", move |s| &mut field(s).burst),
    ]
}

/// Rate limits.
pub fn limits() -> Vec<Setting> {
    let mut all = vec![
        Setting::new(
            Part::Control,
            "limits.loopback_factor",
            "By what the limits by address are multiplied for this machine's own programs \
             (loopback), 1–10,000: development and load tests come from there.",
            |s| &mut s.control.limits.loopback_factor,
        ),
        Setting::new(
            Part::Control,
            "limits.table_size",
            "The most addresses, names and users remembered in each table, 64–10,000,000, about \
             100 bytes each.",
            |s| &mut s.control.limits.table_size,
        ),
    ];
    all.extend(rate(("limits.credentials.per_minute", "limits.credentials.burst"), |s| {
        &mut s.control.limits.credentials
    }));
    all.extend(rate(("limits.account.per_minute", "limits.account.burst"), |s| {
        &mut s.control.limits.account
    }));
    all.extend(rate(("limits.address.per_minute", "limits.address.burst"), |s| {
        &mut s.control.limits.address
    }));
    all.extend(rate(("limits.user.per_minute", "limits.user.burst"), |s| {
        &mut s.control.limits.user
    }));
    all.extend(rate(("limits.message.per_minute", "limits.message.burst"), |s| {
        &mut s.control.limits.message
    }));
    all.extend(rate(("limits.create.per_minute", "limits.create.burst"), |s| {
        &mut s.control.limits.create
    }));
    all
}

/// Passwords, tokens and quotas.
pub fn costs() -> Vec<Setting> {
    use Part::Control;
    vec![
        Setting::new(
            Control,
            "argon2.memory_kib",
            "Memory of one hash, in KiB: 8 a lane to 1,048,576.",
            |s| &mut s.control.argon2.memory_kib,
        ),
        Setting::new(Control, "argon2.passes", "Passes over it, 1–100.", |s| {
            &mut s.control.argon2.passes
        }),
        Setting::new(Control, "argon2.lanes", "Lanes, 1–16.", |s| &mut s.control.argon2.lanes),
        Setting::new(
            Control,
            "argon2.parallel",
            "Hashes computed at the same time, 0–1,024; 0 takes the number of cores.",
            |s| &mut s.control.argon2.parallel,
        ),
        Setting::new(
            Control,
            "argon2.queue",
            "Requests that may wait for a turn, 1–100,000; more are refused as overloaded.",
            |s| &mut s.control.argon2.queue,
        ),
        Setting::new(Control, "tokens.access_s", "Access tokens, in seconds: 10–86,400.", |s| {
            &mut s.control.tokens.access
        }),
        Setting::new(
            Control,
            "tokens.refresh_s",
            "Refresh tokens from their last use, in seconds: 60–31,536,000, longer than access \
             tokens.",
            |s| &mut s.control.tokens.refresh,
        ),
        Setting::new(
            Control,
            "tokens.refresh_grace_s",
            "For how many seconds after its use a refresh token is answered again, for lost \
             answers: 0–60. After that, a second use ends the sign-in.",
            |s| &mut s.control.tokens.refresh_grace,
        ),
        Setting::new(
            Control,
            "quotas.guilds_per_user",
            "Guilds that one person can be a member of.",
            |s| &mut s.control.quotas.guilds_per_user,
        ),
        Setting::new(Control, "quotas.channels_per_guild", "Channels of a guild.", |s| {
            &mut s.control.quotas.channels_per_guild
        }),
        Setting::new(Control, "quotas.members_per_guild", "Members of a guild.", |s| {
            &mut s.control.quotas.members_per_guild
        }),
        Setting::new(Control, "quotas.invites_per_guild", "Invites of a guild.", |s| {
            &mut s.control.quotas.invites_per_guild
        }),
        Setting::new(
            Control,
            "quotas.roles_per_guild",
            "Roles of a guild, without that of everybody.",
            |s| &mut s.control.quotas.roles_per_guild,
        ),
        Setting::new(Control, "quotas.overwrites_per_channel", "Overwrites of a channel.", |s| {
            &mut s.control.quotas.overwrites_per_channel
        }),
        Setting::new(Control, "quotas.bans_per_guild", "Bans of a guild.", |s| {
            &mut s.control.quotas.bans_per_guild
        }),
        Setting::new(
            Control,
            "quotas.sign_ins_per_user",
            "Sign-ins of one person that can be refreshed; one more ends the oldest.",
            |s| &mut s.control.quotas.sign_ins_per_user,
        ),
    ]
}
