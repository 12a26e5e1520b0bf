//! All settings: key in the file, flag, variable, and what it means with its unit and range. The
//! file, the flags, `hype config print` and `hype config example` all come from here; defaults come
//! from the configuration types and ranges from their checks.

mod control;
mod fleet;

use std::sync::LazyLock;

use super::value::{Kind, Value};
use super::{Part, Settings};

/// What each section is about, in the order of the file.
pub const SECTIONS: [(&str, &str); 20] = [
    ("http", "The page, the API and the gateway."),
    ("cors", "Other pages that may use the API from browsers."),
    ("store", "Databases. Each DSN may also be `file:PATH`, a file with the DSN in it."),
    ("bus", "How replicas tell each other what happened: NATS with JetStream."),
    ("secrets", "Each secret may be `file:PATH`, a file with the secret in it."),
    ("voice", "Voice channels."),
    ("limits", "Rate limits: `burst` requests at once, then `per_minute` of them."),
    ("limits.credentials", "Registering, logging in and enrolling, by address."),
    ("limits.account", "Logging in, by account name."),
    ("limits.address", "Everything under /api/v1, by address."),
    ("limits.user", "Everything that needs a token, by user."),
    ("limits.message", "Messages sent, by user."),
    ("limits.create", "Guilds, channels and invites made, by user."),
    ("argon2", "The cost of a password hash (argon2id, RFC 9106)."),
    ("tokens", "How long tokens live."),
    ("quotas", "The most that one guild, person or channel may have, 1–1,000,000 each."),
    ("etcd", "Reaching etcd: `hype control` and `hype node`."),
    ("link", "How nodes reach a replica: `hype control`."),
    ("media", "Forwarding media: `hype up` and `hype node`."),
    ("node", "A node as a process of its own: `hype node`."),
];

type Apply = Box<dyn Fn(&mut Settings, &str) -> Result<(), String> + Send + Sync>;
type Show = Box<dyn Fn(&Settings) -> Option<String> + Send + Sync>;

/// One setting.
pub struct Setting {
    /// Its place in the file, such as `limits.message.burst`.
    pub key: &'static str,
    /// Where it means something.
    pub part: Part,
    /// The flag, without its dashes.
    pub name: String,
    /// The environment's variable.
    pub variable: String,
    /// Whether the name is other than the key tells, or the flag is listed in help nevertheless.
    pub has_own_name: bool,
    /// What it means: unit and range too.
    pub doc: &'static str,
    /// Stands for the value in help.
    pub placeholder: &'static str,
    /// A value to show in the file where the default is that it is not set.
    pub example: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// Whether it may hold a secret.
    pub is_secret: bool,
    apply: Apply,
    show: Show,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Setting").field(&self.key).finish()
    }
}

impl Setting {
    fn new<T: Value + 'static>(
        part: Part,
        key: &'static str,
        doc: &'static str,
        field: impl for<'a> Fn(&'a mut Settings) -> &'a mut T + Send + Sync + Copy + 'static,
    ) -> Self {
        let name = key.replace(['.', '_'], "-");
        let apply = move |settings: &mut Settings, text: &str| {
            *field(settings) = T::read(text)?;
            Ok(())
        };
        Self {
            key,
            part,
            variable: variable(&name),
            name,
            has_own_name: false,
            doc,
            placeholder: match T::KIND {
                Kind::Text => "TEXT",
                Kind::Number => "N",
                Kind::Truth => "true|false",
                Kind::List => "A[,B]",
            },
            example: "",
            kind: T::KIND,
            is_secret: T::SECRET,
            apply: Box::new(apply),
            show: Box::new(move |settings| field(&mut settings.clone()).show()),
        }
    }

    /// A flag that people type: short, and listed in help.
    fn flag(mut self, name: &'static str, placeholder: &'static str) -> Self {
        name.clone_into(&mut self.name);
        self.variable = variable(name);
        self.placeholder = placeholder;
        self.has_own_name = true;
        self
    }

    fn example(mut self, toml: &'static str) -> Self {
        self.example = toml;
        self
    }

    /// Takes a value from text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn apply(&self, settings: &mut Settings, text: &str) -> Result<(), String> {
        (self.apply)(settings, text)
    }

    /// The value as TOML, secrets masked; none when it is not set.
    pub fn show(&self, settings: &Settings) -> Option<String> {
        (self.show)(settings)
    }

    /// The section and the name within it.
    pub fn place(&self) -> (&'static str, &'static str) {
        self.key.rsplit_once('.').unwrap_or(("", self.key))
    }
}

fn variable(name: &str) -> String {
    format!("HYPE_{}", name.replace('-', "_").to_ascii_uppercase())
}

/// All settings, in the order of the file.
pub fn settings() -> &'static [Setting] {
    static ALL: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let mut all = control::general();
        all.extend(control::stores());
        all.extend(control::limits());
        all.extend(control::costs());
        all.extend(fleet::settings());
        all
    });
    &ALL
}
