//! What names and messages may look like. Refused with a reason, never silently repaired,
//! except for white space at both ends.

use crate::error::Error;

/// Characters that do not show but change how a text reads: control characters, and Unicode's
/// direction overrides and invisible marks, with which one name can be made to look like another.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}')
}

fn checked_len(text: &str, what: &str, least: usize, most: usize) -> Result<(), Error> {
    let len = text.chars().count();
    if (least..=most).contains(&len) {
        return Ok(());
    }
    Err(Error::invalid(format!("{what} must have {least} to {most} characters, not {len}")))
}

/// An account's name: 2–32 letters, digits, spaces and `_`, `-`, `.`.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn account_name(text: &str) -> Result<String, Error> {
    let name = text.trim();
    checked_len(name, "a name", 2, 32)?;
    if name.chars().any(|c| !(c.is_alphanumeric() || matches!(c, ' ' | '_' | '-' | '.'))) {
        return Err(Error::invalid("a name may have letters, digits, spaces and `_`, `-`, `.`"));
    }
    if name.contains("  ") {
        return Err(Error::invalid("a name may not have two spaces in a row"));
    }
    Ok(name.to_owned())
}

/// An account's name as it is compared: without case.
pub fn account_key(name: &str) -> String {
    // Up and then down, since some letters have several lower-case forms (`ς` and `σ`).
    name.trim().to_uppercase().to_lowercase()
}

/// A password: 8–128 characters, whichever they are.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn password(text: &str) -> Result<(), Error> {
    checked_len(text, "a password", 8, 128)
}

/// The name of a guild or channel: 1–64 characters on one line.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn title(text: &str) -> Result<String, Error> {
    let title = text.trim();
    checked_len(title, "a name", 1, 64)?;
    if title.chars().any(is_deceptive) {
        return Err(Error::invalid("a name may not have control or invisible characters"));
    }
    Ok(title.to_owned())
}

/// A message: 1–4,000 characters; lines and tabs are kept, other control characters refused.
/// Joiners and direction marks are part of how people write, so they stay.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn message(text: &str) -> Result<String, Error> {
    let text = text.trim();
    checked_len(text, "a message", 1, 4000)?;
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(Error::invalid("a message may not have control characters"));
    }
    Ok(text.to_owned())
}

/// What a channel is about: at most 1,024 characters on one line.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn topic(text: &str) -> Result<String, Error> {
    let topic = text.trim();
    checked_len(topic, "a topic", 0, 1024)?;
    if topic.chars().any(char::is_control) {
        return Err(Error::invalid("a topic may not have control characters"));
    }
    Ok(topic.to_owned())
}

/// Why somebody was put out: at most 512 characters on one line.
///
/// # Errors
/// [`Error::InvalidRequest`] saying what is wrong.
pub fn reason(text: &str) -> Result<String, Error> {
    let reason = text.trim();
    checked_len(reason, "a reason", 0, 512)?;
    if reason.chars().any(char::is_control) {
        return Err(Error::invalid("a reason may not have control characters"));
    }
    Ok(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names() {
        for (text, valid) in [
            ("Ada", true),
            ("  Ada Lovelace  ", true),
            ("a_b-c.d 9", true),
            ("Zoë", true),
            ("李雷", true),
            ("a", false),
            (" a ", false),
            (&"x".repeat(32), true),
            (&"x".repeat(33), false),
            ("a  b", false),
            ("a\nb", false),
            ("a<b>", false),
            ("a\u{202e}b", false),
            ("a\u{200b}b", false),
        ] {
            assert_eq!(account_name(text).is_ok(), valid, "{text:?}");
        }
        assert_eq!(account_name(" Ada ").expect("valid"), "Ada");
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(account_key("ÀDA b"), account_key("àda B"));
        assert_eq!(account_key("ΟΔΟΣ"), account_key("οδος"));
        assert_ne!(account_key("ada"), account_key("adb"));
    }

    #[test]
    fn passwords() {
        for (len, valid) in [(7, false), (8, true), (128, true), (129, false)] {
            assert_eq!(password(&"é".repeat(len)).is_ok(), valid, "{len}");
        }
    }

    #[test]
    fn titles() {
        for (text, valid) in [
            ("Lounge", true),
            ("🎮 games", true),
            ("", false),
            ("   ", false),
            ("a\nb", false),
            ("a\u{2066}b", false),
            (&"x".repeat(64), true),
            (&"x".repeat(65), false),
        ] {
            assert_eq!(title(text).is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn messages() {
        for (text, valid) in [
            ("hi", true),
            ("two\nlines\tand a tab", true),
            ("👩‍👩‍👧", true),
            (" \n ", false),
            ("bell \u{7}", false),
            ("nul \0", false),
            (&"é".repeat(4000), true),
            (&"x".repeat(4001), false),
        ] {
            assert_eq!(message(text).is_ok(), valid, "{text:?}");
        }
        assert_eq!(message("\n hi \n").expect("valid"), "hi");
    }
}
