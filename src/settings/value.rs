//! How each type of setting is read from text (a flag, a variable, a value of the file) and written
//! as TOML. What is wrong is told as the rest of a sentence; a secret's text is never repeated.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hype_control::config::{Dsn, Roles, Secret, Tls, VoiceMode};
use hype_node::io::IoKind;
use hype_protocol::id::{ControlId, NodeId, Region};

use super::Mode;

/// What a value looks like in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Truth,
    /// An array of strings; elsewhere, items joined by commas.
    List,
}

/// A type that settings have.
pub trait Value: Sized {
    /// What it looks like in the file.
    const KIND: Kind;
    /// Whether it may hold a secret.
    const SECRET: bool = false;
    /// From text, or what is wrong with it.
    fn read(text: &str) -> Result<Self, String>;
    /// As TOML, secrets masked; none when it is not set.
    fn show(&self) -> Option<String>;
}

/// A TOML string.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// Types that are read by `FromStr` and whose errors say too little.
macro_rules! texts {
    ($($type:ty: $expected:literal),* $(,)?) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::Text;
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!(concat!("`{}` is not ", $expected), text))
            }
            fn show(&self) -> Option<String> {
                Some(quoted(&self.to_string()))
            }
        }
    )*};
}

texts! {
    SocketAddr: "an address and port, such as 0.0.0.0:8080 or [::]:8080",
    IpAddr: "an IP address",
    ControlId: "a name of 1 to 32 of a-z, 0-9 and -",
    NodeId: "a name of 1 to 32 of a-z, 0-9 and -",
    Region: "a name of 1 to 32 of a-z, 0-9 and -",
    Mode: "one of development and production",
    VoiceMode: "one of auto, p2p and sfu",
    Tls: "one of off, self-signed and CERT,KEY",
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::Number;
            fn read(text: &str) -> Result<Self, String> {
                let most = <$type>::MAX;
                text.parse().map_err(|_| format!("`{text}` is not a whole number of 0 to {most}"))
            }
            fn show(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )*};
}

numbers!(u16, u32, u64, usize);

macro_rules! secrets {
    ($($type:ty),*) => {$(
        impl Value for $type {
            const KIND: Kind = Kind::Text;
            const SECRET: bool = true;
            fn read(text: &str) -> Result<Self, String> {
                text.parse()
            }
            fn show(&self) -> Option<String> {
                Some(quoted(&self.to_string()))
            }
        }
    )*};
}

secrets!(Secret, Dsn);

impl Value for bool {
    const KIND: Kind = Kind::Truth;
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("`{text}` is neither true nor false"))
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
    fn show(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Value for PathBuf {
    const KIND: Kind = Kind::Text;
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("an empty path leads nowhere".to_owned()),
            _ => Ok(text.into()),
        }
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.display().to_string()))
    }
}

/// In whole seconds.
impl Value for Duration {
    const KIND: Kind = Kind::Number;
    fn read(text: &str) -> Result<Self, String> {
        u64::read(text).map(Self::from_secs)
    }
    fn show(&self) -> Option<String> {
        Some(self.as_secs().to_string())
    }
}

impl Value for IoKind {
    const KIND: Kind = Kind::Text;
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: hype_node::io::UnknownIoKind| error.to_string())
    }
    fn show(&self) -> Option<String> {
        let name = match self {
            Self::Auto => "auto",
            Self::Uring => "uring",
            Self::Socket => "socket",
            Self::Xdp => "xdp",
        };
        Some(quoted(name))
    }
}

impl Value for Roles {
    const KIND: Kind = Kind::List;
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn show(&self) -> Option<String> {
        let names: Vec<_> = self.to_string().split(',').map(quoted).collect();
        Some(format!("[{}]", names.join(", ")))
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;
    const SECRET: bool = T::SECRET;
    fn read(text: &str) -> Result<Self, String> {
        T::read(text).map(Some)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    const KIND: Kind = Kind::List;
    const SECRET: bool = T::SECRET;
    fn read(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::read).collect()
    }
    fn show(&self) -> Option<String> {
        let items: Vec<_> = self.iter().filter_map(T::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Value>(text: &str, shown: Option<&str>) {
        let read = T::read(text).ok().and_then(|value| value.show());
        assert_eq!(read.as_deref(), shown, "{text}");
    }

    #[test]
    fn values_are_read_from_text_and_shown_as_toml() {
        check::<u16>("1023", Some("1023"));
        check::<u16>("65536", None);
        check::<u16>("-1", None);
        check::<bool>("true", Some("true"));
        check::<bool>("yes", None);
        check::<Duration>("600", Some("600"));
        check::<Vec<IpAddr>>("10.0.0.1, ::1", Some(r#"["10.0.0.1", "::1"]"#));
        check::<Vec<IpAddr>>("", Some("[]"));
        check::<Vec<IpAddr>>("10.0.0.1,ten", None);
        check::<Roles>("events,api", Some(r#"["api", "events"]"#));
        check::<Tls>("a.pem,b.pem", Some(r#""a.pem,b.pem""#));
        check::<IoKind>("xdp", Some(r#""xdp""#));
        check::<Option<PathBuf>>("/a \"b\"\\c", Some(r#""/a \"b\"\\c""#));
        check::<Option<PathBuf>>("", None);
        check::<Secret>("k9x", Some(r#""********""#));
        check::<Vec<Dsn>>(
            "sqlite:a,postgres://u:k9x@h/d",
            Some(r#"["sqlite:a", "postgres://u:********@h/d"]"#),
        );
    }

    #[test]
    fn a_wrong_secret_is_not_repeated() {
        let told = Dsn::read("postgres:u:k9x@h").expect_err("refused");
        assert!(!told.contains("k9x"), "{told}");
    }
}
