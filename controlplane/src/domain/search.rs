//! The words by which messages are found: without case and accents, no stemming, the same for every
//! database. Guild, channel and author are words as well, marked by a character that no text
//! keeps, so that one index answers a search with all its filters.

use hype_protocol::gateway::Message;
use hype_protocol::id::{ChannelId, GuildId, UserId};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

pub use crate::store::search::Terms;

/// Begins the words that nobody wrote. A private character, so that no database cuts words at it.
const MARK: char = '\u{e000}';
/// Words of one message, of one search, and characters of one word that count; the rest is left out.
const MAX_WORDS: usize = 1000;
const MAX_WORD_CHARS: usize = 64;

/// The words of a text: lower case, without accents, cut at whatever is no letter or digit.
pub fn words(text: &str) -> Vec<String> {
    let plain: String = text
        .nfkd()
        .filter(|character| !is_combining_mark(*character))
        // Up and then down, since some letters have several lower-case forms (`ς` and `σ`).
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    plain
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| word.chars().take(MAX_WORD_CHARS).collect())
        .take(MAX_WORDS)
        .collect()
}

fn guild_word(guild: GuildId) -> String {
    format!("{MARK}g{guild}")
}

fn channel_word(channel: ChannelId) -> String {
    format!("{MARK}c{channel}")
}

fn author_word(author: UserId) -> String {
    format!("{MARK}a{author}")
}

/// Everything by which a message is found, separated by spaces.
pub fn words_of(message: &Message) -> String {
    let mut found = vec![
        guild_word(message.guild_id),
        channel_word(message.channel_id),
        author_word(message.author.id),
    ];
    found.extend(words(&message.content));
    found.join(" ")
}

/// What a message must have to be found: each word, the author, and one of the channels.
pub fn terms(words: Vec<String>, author: Option<UserId>, channels: &[ChannelId]) -> Terms {
    let mut all = words;
    all.extend(author.map(author_word));
    Terms { all, any: channels.iter().copied().map(channel_word).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(words(text).join(" "), expected, "{text}");
    }

    #[test]
    fn words_have_no_case_and_no_accents() {
        check("", "");
        check("Crème brûlée, s'il vous plaît!", "creme brulee s il vous plait");
        check("ПРИВЕТ Ёлка", "привет елка");
        check("ΟΔΟΣ οδος Straße", "οδοσ οδοσ strasse");
        check("foo-bar_baz@example.org 3.14", "foo bar baz example org 3 14");
        check("ﬁne \u{e000}g1 ＡＢＣ", "fine g1 abc");
        check("日本語", "日本語");
        check(&"x".repeat(100), &"x".repeat(MAX_WORD_CHARS));
    }
}
