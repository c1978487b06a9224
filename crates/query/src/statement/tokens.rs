//! A statement as words and signs with their places, blanks and comments left out.

use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    tokenizer::{Token, TokenWithSpan, Tokenizer},
};

use crate::{QueryError, Result, advice, position::Position};

/// What is left of a statement.
pub(super) struct Tokens<'a> {
    pub(super) sql: &'a str,
    rest: std::vec::IntoIter<TokenWithSpan>,
}

impl<'a> Tokens<'a> {
    /// Cuts `sql` up. Fails on a quote that is not closed, on a second statement, and when there is none.
    pub(super) fn of(sql: &'a str) -> Result<Self> {
        let all = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().map_err(|error| {
            let at = Position::of(error.location);
            syntax(sql, at, &advice::tidy(&error.message))
        })?;
        let mut tokens: Vec<_> =
            all.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
        while tokens.last().is_some_and(|last| last.token == Token::SemiColon) {
            tokens.pop();
        }
        if tokens.is_empty() {
            return Err(syntax(sql, None, "there is no statement here"));
        }
        if let Some(end) = tokens.iter().position(|token| token.token == Token::SemiColon) {
            let next = tokens[end..].iter().find(|token| token.token != Token::SemiColon);
            let at = next.and_then(|token| Position::of(token.span.start));
            return Err(syntax(sql, at, "one statement at a time: a second one begins here"));
        }
        Ok(Self { sql, rest: tokens.into_iter() })
    }

    /// What is left, for another parser.
    pub(super) fn into_rest(self) -> Vec<TokenWithSpan> {
        self.rest.collect()
    }

    /// The next token.
    pub(super) fn peek(&self) -> Option<&Token> {
        self.rest.as_slice().first().map(|token| &token.token)
    }

    /// The token after the next.
    pub(super) fn second(&self) -> Option<&Token> {
        self.rest.as_slice().get(1).map(|token| &token.token)
    }

    /// The next token, if it is a word without quotes, in upper case.
    pub(super) fn peek_word(&self) -> Option<String> {
        match self.peek() {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        }
    }

    /// Where the next token stands, or the end.
    pub(super) fn place(&self) -> Option<Position> {
        self.rest.as_slice().first().and_then(|token| Position::of(token.span.start))
    }

    /// Steps over the next token.
    pub(super) fn skip(&mut self) -> Option<Token> {
        self.rest.next().map(|token| token.token)
    }

    /// Takes `word` (upper case) if it is next.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let next = self.peek_word().is_some_and(|next| next == word);
        if next {
            self.rest.next();
        }
        next
    }

    /// Takes `sign` if it is next.
    pub(super) fn take_sign(&mut self, sign: &Token) -> bool {
        let next = self.peek() == Some(sign);
        if next {
            self.rest.next();
        }
        next
    }

    /// Takes a name of one to `parts_max` parts.
    pub(super) fn name(&mut self, parts_max: usize, what: &str) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Word(word)) if parts.len() < parts_max => parts.push(word.value.clone()),
                _ => return Err(self.expected(what)),
            }
            self.rest.next();
            if !self.take_sign(&Token::Period) {
                return Ok(parts);
            }
        }
    }

    /// Refuses anything that is left.
    pub(super) fn end(&self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(self.expected("the end of the statement")) }
    }

    /// The error at the next token.
    pub(super) fn expected(&self, what: &str) -> QueryError {
        let found = self.peek().map_or_else(|| "the end".to_owned(), |token| format!("'{token}'"));
        syntax(self.sql, self.place(), &format!("expected {what}, found {found}"))
    }
}

/// A syntax error at `at`, or at the end.
pub(super) fn syntax(sql: &str, at: Option<Position>, message: &str) -> QueryError {
    let at = at.unwrap_or_else(|| Position::end_of(sql));
    QueryError::Syntax { message: message.to_owned(), line: at.line, column: at.column, picture: at.picture(sql) }
}
