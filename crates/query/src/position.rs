//! Where in the SQL something is, and the picture of it: the line, and a caret under the place.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Location, Token, Tokenizer},
};

/// Longest line shown in a picture, in characters; a longer one is cut around the caret.
const LINE_CHARS_MAX: usize = 100;

/// A place in a text, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// The place just behind the last character that is not blank.
    pub(crate) fn end_of(sql: &str) -> Self {
        let text = sql.trim_end().trim_end_matches(';').trim_end();
        let line = text.lines().count().max(1);
        let column = text.lines().last().map_or(0, |last| last.chars().count()) + 1;
        Self { line, column }
    }

    /// The parser's place; its line 0 means that it has none.
    pub(crate) fn of(location: Location) -> Option<Self> {
        let (line, column) = (usize::try_from(location.line).ok()?, usize::try_from(location.column).ok()?);
        (line > 0).then_some(Self { line, column: column.max(1) })
    }

    /// Takes ` at Line: 1, Column: 8` off the end of a parser's message.
    pub(crate) fn split_off(message: &str) -> (&str, Option<Self>) {
        let Some((text, place)) = message.rsplit_once(" at Line: ") else { return (message, None) };
        let Some((line, column)) = place.split_once(", Column: ") else { return (message, None) };
        let number = |text: &str| text.trim().parse::<usize>().ok();
        match (number(line), number(column)) {
            (Some(line), Some(column)) => (text, Some(Self { line, column })),
            _ => (message, None),
        }
    }

    /// The byte at which the place begins.
    pub(crate) fn byte_in(self, sql: &str) -> usize {
        let mut start = 0;
        for (number, line) in sql.split_inclusive('\n').enumerate() {
            if number + 1 == self.line {
                return start + line.char_indices().nth(self.column - 1).map_or(line.len(), |(at, _)| at);
            }
            start += line.len();
        }
        sql.len()
    }

    /// The line of `sql` and under it a caret.
    pub(crate) fn picture(self, sql: &str) -> String {
        let line: Vec<char> = sql.lines().nth(self.line - 1).unwrap_or("").chars().collect();
        let column = self.column.clamp(1, line.len() + 1);
        let from = if line.len() <= LINE_CHARS_MAX { 0 } else { column.saturating_sub(LINE_CHARS_MAX / 2) };
        let shown: String = line.iter().skip(from).take(LINE_CHARS_MAX).collect();
        let gutter = format!("{} | ", self.line);
        let indent: String = line[from..column - 1].iter().map(|c| if *c == '\t' { '\t' } else { ' ' }).collect();
        format!("{gutter}{shown}\n{}{indent}^", " ".repeat(gutter.len()))
    }
}

/// Where the identifier `name` first stands in `sql`, in any case, quoted or not.
pub(crate) fn find_word(sql: &str, name: &str) -> Option<Position> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let found = tokens
        .into_iter()
        .find(|token| matches!(&token.token, Token::Word(word) if word.value.to_lowercase() == name.to_lowercase()))?;
    Position::of(found.span.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caret_stands_under_its_column() {
        let sql = "SELECT 1,\n\tfoo bar baz";
        let position = Position { line: 2, column: 6 };
        assert_eq!(position.picture(sql), "2 | \tfoo bar baz\n    \t    ^");
        assert_eq!(&sql[position.byte_in(sql)..], "bar baz");
    }

    #[test]
    fn a_caret_may_stand_behind_the_end() {
        let sql = "SELECT ;\n";
        assert_eq!(Position::end_of(sql).picture(sql), "1 | SELECT ;\n          ^");
        assert_eq!(Position::end_of("").picture(""), "1 | \n    ^");
    }

    #[test]
    fn a_long_line_is_cut_around_its_caret() {
        let sql = format!("SELECT {}x", "1 + ".repeat(200));
        let picture = Position { line: 1, column: sql.len() }.picture(&sql);
        let (line, caret) = picture.split_once('\n').unwrap();
        assert!(line.len() < 120);
        assert_eq!(line.chars().nth(caret.len() - 1), Some('x'));
    }

    #[test]
    fn the_parsers_place_is_taken_off_its_message() {
        let (text, at) = Position::split_off("Expected: x, found: y at Line: 3, Column: 14");
        assert_eq!((text, at), ("Expected: x, found: y", Some(Position { line: 3, column: 14 })));
        assert_eq!(Position::split_off("plain"), ("plain", None));
    }

    #[test]
    fn a_word_is_found_in_any_case() {
        assert_eq!(find_word("SELECT 'regoin', REGOIN", "regoin"), Some(Position { line: 1, column: 18 }));
        assert_eq!(find_word("SELECT 1", "x"), None);
    }
}
