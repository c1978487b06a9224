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

/// Names in a statement: words between which stand dots, with the place of each.
type Chain = Vec<(String, Location)>;

/// The chains of a statement in order, each with the sign or word before it.
fn chains(sql: &str, skip: usize) -> Option<Vec<(Option<Token>, Chain)>> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
    let mut tokens = tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
    let mut before = tokens.by_ref().take(skip).last().map(|token| token.token);
    let mut found: Vec<(Option<Token>, Chain)> = Vec::new();
    for token in tokens {
        if let Token::Word(word) = &token.token {
            let part = (word.value.to_lowercase(), token.span.start);
            match found.last_mut() {
                Some((_, chain)) if before == Some(Token::Period) => chain.push(part),
                _ => found.push((before.take(), vec![part])),
            }
        }
        before = Some(token.token);
    }
    Some(found)
}

/// Where a statement such as `DROP FRAME hive.box.frame` names `whole`, a hive, a box or a frame by all its parts. The
/// statement may leave out the first parts of names of `depth` parts.
pub(crate) fn find_named(sql: &str, depth: usize, whole: &[&str]) -> Option<Position> {
    // The verb and the noun are no names, though a name may be spelled like them.
    let chains = chains(sql, 2)?;
    let named = |chain: &Chain| {
        let left_out = depth.checked_sub(chain.len())?;
        let at = whole.len().checked_sub(left_out + 1)?;
        let same = |n: usize| chain.get(n).is_some_and(|(part, _)| *part == whole[left_out + n].to_lowercase());
        (0..=at).all(same).then(|| chain[at].1)
    };
    chains.iter().find_map(|(_, chain)| named(chain)).and_then(Position::of)
}

/// Where a query takes rows from the frame that it calls `written`: the place of the last part.
pub(crate) fn find_source(sql: &str, written: &[String]) -> Option<Position> {
    let is_source = |before: &Option<Token>| match before {
        Some(Token::Comma) => true,
        Some(Token::Word(word)) => {
            ["FROM", "JOIN", "DESCRIBE", "DESC", "HISTORY"].contains(&&*word.value.to_uppercase())
        }
        _ => false,
    };
    let same = |chain: &Chain| {
        chain.len() == written.len() && chain.iter().zip(written).all(|((part, _), name)| *part == name.to_lowercase())
    };
    let chains = chains(sql, 0)?;
    let places: Vec<_> = chains.iter().filter(|(before, chain)| is_source(before) && same(chain)).collect();
    // A comma stands between columns too: a name behind a word is surer.
    let sure = places.iter().find(|(before, _)| *before != Some(Token::Comma)).or(places.first());
    Position::of(sure?.1.last()?.1)
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

    #[test]
    fn a_name_is_found_where_it_is_named_and_not_where_it_is_spelled() {
        let table = [
            ("DROP HIVE hive", 1, "hive", "          ^"),
            ("DROP FRAME a.b.c", 3, "a", "           ^"),
            ("DROP FRAME a.a.a", 3, "a.a", "             ^"),
            ("DROP FRAME IF EXISTS b.c", 3, "main.b", "                     ^"),
            ("CREATE FRAME a.b.c (c INT)", 3, "a.b.c", "                 ^"),
            ("ALTER FRAME t RENAME TO u.v", 3, "main.u", "                        ^"),
            ("ALTER BOX \"B b\" RENAME TO b2", 2, "main.b2", "                          ^"),
        ];
        for (sql, depth, whole, caret) in table {
            let whole: Vec<&str> = whole.split('.').collect();
            let picture = find_named(sql, depth, &whole).unwrap().picture(sql);
            assert_eq!(picture, format!("1 | {sql}\n    {caret}"));
        }
        assert_eq!(find_named("DROP FRAME t", 3, &["main"]), None, "it is not written");
    }

    #[test]
    fn a_frame_is_found_behind_from_and_not_among_the_columns() {
        let column = |sql: &str, name: &[&str]| {
            let name: Vec<String> = name.iter().map(|part| (*part).to_owned()).collect();
            find_source(sql, &name).map(|at| at.column)
        };
        assert_eq!(column("SELECT region FROM region", &["region"]), Some(20));
        assert_eq!(column("SELECT a, t, t.x FROM u JOIN h.b.T ON 1", &["h", "b", "t"]), Some(34));
        assert_eq!(column("SELECT a FROM u, t", &["t"]), Some(18));
        assert_eq!(column("SELECT t FROM u", &["t"]), None);
    }
}
