//! Passwords, tokens and keys of the configuration. They are given as text or as `file:PATH`, and
//! nothing prints them: `Debug` and `Display` show where a secret came from, never what it is.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What stands for a secret that was given as text.
const MASK: &str = "********";
/// The largest file that holds one secret, in bytes.
const MAX_FILE: u64 = 64 * 1024;
/// The file of an embedded store's sealing key, in the data directory.
const SEALING_KEY_FILE: &str = "sealing.key";

/// A password, token or key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    file: Option<PathBuf>,
}

impl Secret {
    /// What it is; for whoever uses it, never for a log.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// True for what stands in examples and images, and for whatever repeats itself.
    pub fn is_default(&self) -> bool {
        let known = [
            "admin", "changeme", "default", "example", "hype", "nats", "password", "postgres",
            "root", "secret", "test",
        ];
        let text = self.text.to_ascii_lowercase();
        let bytes = text.as_bytes();
        let repeats = |period: usize| {
            bytes.len().is_multiple_of(period)
                && bytes.iter().zip(&bytes[period..]).all(|(a, b)| a == b)
        };
        known.contains(&text.as_str()) || (1..=bytes.len() / 2).any(repeats)
    }
}

impl FromStr for Secret {
    type Err = String;

    /// The secret itself, or `file:PATH`, of which the last line break is left out.
    fn from_str(given: &str) -> Result<Self, String> {
        let Some(path) = given.strip_prefix("file:") else {
            return match given {
                "" => Err("an empty secret protects nothing; leave the setting out".to_owned()),
                _ => Ok(Self { text: given.to_owned(), file: None }),
            };
        };
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        let text = text.trim_end_matches(['\r', '\n']);
        match text.len() as u64 {
            0 => Err(format!("{path} is empty")),
            length if length > MAX_FILE => Err(format!("{path} is too large for a secret")),
            _ => Ok(Self { text: text.to_owned(), file: Some(path.into()) }),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "file:{}", path.display()),
            None => f.write_str(MASK),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

/// The key of 256 bits that seals signing keys in the accounts database.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// Its bytes; for the cipher only.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The configured key; without one, that of the data directory, which is made (mode 0600) when
    /// it is missing.
    ///
    /// # Errors
    /// When the key is malformed, or its file can be neither read nor made.
    pub fn open(configured: Option<&Secret>, data_dir: &Path) -> io::Result<Self> {
        let malformed =
            |path: &Path, why: String| io::Error::other(format!("{}: {why}", path.display()));
        if let Some(secret) = configured {
            return secret.reveal().parse().map_err(io::Error::other);
        }
        let path = data_dir.join(SEALING_KEY_FILE);
        let kept = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            kept => Some(kept?),
        };
        if let Some(text) = kept {
            return text.trim_end().parse().map_err(|why| malformed(&path, why));
        }
        let key = Self(rand::random());
        let text: String = key.0.iter().map(|byte| format!("{byte:02x}")).collect();
        // Written aside and renamed: half a key after a crash would look like a wrong one.
        let aside = data_dir.join(format!("{SEALING_KEY_FILE}.new"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&aside, &path)?;
        File::open(data_dir)?.sync_all()?;
        Ok(key)
    }
}

impl FromStr for SealingKey {
    type Err = String;

    /// 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || "is not 64 hexadecimal digits: make one by `openssl rand -hex 32`".to_owned();
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (index, byte) in key.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(key))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> PathBuf {
        let name = format!("hype-secret-{}-{:x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a fresh folder");
        path
    }

    #[test]
    fn secrets_come_as_text_or_from_files_and_are_never_shown() {
        let folder = folder();
        let path = folder.join("password");
        std::fs::write(&path, "correct horse\n").expect("written");
        let from_file: Secret = format!("file:{}", path.display()).parse().expect("readable");
        let as_text: Secret = "correct horse".parse().expect("text");
        assert_eq!(from_file.reveal(), as_text.reveal());
        for shown in [format!("{as_text} {as_text:?}"), format!("{from_file} {from_file:?}")] {
            assert!(!shown.contains("horse"), "{shown}");
        }
        assert!(from_file.to_string().starts_with("file:"));
        std::fs::write(&path, "\n").expect("written");
        for wrong in ["", "file:/nowhere/at/all", &format!("file:{}", path.display())] {
            assert!(wrong.parse::<Secret>().is_err(), "{wrong}");
        }
        std::fs::remove_dir_all(&folder).expect("it was made");
    }

    #[test]
    fn default_secrets_are_known() {
        for (text, is_default) in [
            ("hype", true),
            ("Password", true),
            ("00000000", true),
            ("hypehype", true),
            ("x", false),
            ("a7f3 kd02", false),
        ] {
            let secret: Secret = text.parse().expect("text");
            assert_eq!(secret.is_default(), is_default, "{text}");
        }
    }

    #[test]
    fn an_embedded_sealing_key_is_made_once_and_only_ours_to_read() {
        let folder = folder();
        let made = SealingKey::open(None, &folder).expect("made");
        assert!(SealingKey::open(None, &folder).expect("kept") == made);
        let path = folder.join(SEALING_KEY_FILE);
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).expect("text");
        let given: Secret = text.parse().expect("text");
        assert!(SealingKey::open(Some(&given), Path::new("/nowhere")).expect("given") == made);
        std::fs::write(&path, &text[..40]).expect("written");
        assert!(SealingKey::open(None, &folder).is_err(), "half a key is never replaced");
        std::fs::remove_dir_all(&folder).expect("it was made");
    }
}
