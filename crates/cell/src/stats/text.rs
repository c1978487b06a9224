//! Long texts as bounds: cut at a character, the minimum down, the maximum up.
//!
//! UTF-8 sorts by bytes as it does by code points, so the prefix of a text is never above it, and the prefix with its
//! last character raised by one is above everything that begins with the prefix.

use apiary_core::StatValue;

/// A lower bound of at most `bytes_max` bytes, and whether it is still exact.
pub(super) fn cut_min((value, exact): (Option<StatValue>, bool), bytes_max: usize) -> (Option<StatValue>, bool) {
    match value {
        Some(StatValue::Text(text)) if text.len() > bytes_max => {
            (Some(StatValue::Text(prefix(&text, bytes_max).to_owned())), false)
        }
        other => (other, exact),
    }
}

/// An upper bound of at most `bytes_max` bytes, and whether it is still exact; none where no text is above.
pub(super) fn cut_max((value, exact): (Option<StatValue>, bool), bytes_max: usize) -> (Option<StatValue>, bool) {
    match value {
        Some(StatValue::Text(text)) if text.len() > bytes_max => {
            (raised(prefix(&text, bytes_max), bytes_max).map(StatValue::Text), false)
        }
        other => (other, exact),
    }
}

fn prefix(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// The prefix with its last character that has a successor raised by one, and nothing behind it.
fn raised(prefix: &str, bytes_max: usize) -> Option<String> {
    let mut head = prefix.to_owned();
    while let Some(last) = head.pop() {
        if let Some(next) = successor(last).filter(|next| head.len() + next.len_utf8() <= bytes_max) {
            head.push(next);
            return Some(head);
        }
    }
    None
}

fn successor(c: char) -> Option<char> {
    match c {
        // No character has the code points between: they are UTF-16's surrogates.
        '\u{d7ff}' => Some('\u{e000}'),
        char::MAX => None,
        _ => char::from_u32(u32::from(c) + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max_of(text: &str, bytes: usize) -> Option<String> {
        match cut_max((Some(StatValue::Text(text.to_owned())), true), bytes) {
            (Some(StatValue::Text(text)), _) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn a_short_text_stays_exact() {
        let value = Some(StatValue::Text("abc".to_owned()));
        assert_eq!(cut_max((value.clone(), true), 3), (value, true));
    }

    #[test]
    fn a_cut_maximum_lies_above_and_a_cut_minimum_below() {
        assert_eq!(max_of("abcd", 3).as_deref(), Some("abd"));
        assert_eq!(max_of("ab\u{d7ff}x", 5).as_deref(), Some("ab\u{e000}"));
        let min = cut_min((Some(StatValue::Text("aéé".to_owned())), true), 4);
        assert_eq!(min, (Some(StatValue::Text("aé".to_owned())), false));
    }

    #[test]
    fn where_nothing_is_above_there_is_no_maximum() {
        assert_eq!(max_of(&"\u{10ffff}".repeat(3), 8), None);
        assert_eq!(max_of(&format!("a{}", "\u{10ffff}".repeat(3)), 8).as_deref(), Some("b"));
    }
}
