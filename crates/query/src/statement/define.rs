//! The statements that create, drop and rename. Their grammar, whole:
//!
//! ```text
//! CREATE HIVE  [IF NOT EXISTS] hive                                   DATABASE is a hive, SCHEMA a box,
//! CREATE BOX   [IF NOT EXISTS] [hive.]box                             TABLE a frame
//! CREATE FRAME [IF NOT EXISTS] [[hive.]box.]frame
//!        (column type [NOT NULL], …) [PARTITIONED BY (column, …)]     types: see `types`
//! DROP  HIVE | BOX | FRAME [IF EXISTS] name [CASCADE | RESTRICT]      RESTRICT is the default
//! ALTER HIVE | BOX | FRAME [IF EXISTS] name RENAME TO name            a frame's new name may be in another box
//! ```

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{Field, Schema, SchemaRef},
    sql::sqlparser::tokenizer::Token,
};

use super::{FrameRef, refuse, tokens::Tokens, types};
use crate::Result;

/// A hive, a box or a frame as written, quotes taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// A hive.
    Hive(String),
    /// A box.
    Box {
        /// Its hive, if written.
        hive: Option<String>,
        /// The box.
        box_name: String,
    },
    /// A frame.
    Frame(FrameRef),
}

/// What a frame shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewFrame {
    /// Its columns.
    pub schema: SchemaRef,
    /// Columns that part it, as written.
    pub partition_by: Vec<String>,
}

/// `CREATE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Create {
    /// What.
    pub named: Named,
    /// It is no error if something of that name is there, whatever it is like.
    pub if_not_exists: bool,
    /// A frame's columns.
    pub frame: Option<NewFrame>,
}

/// `DROP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drop {
    /// What.
    pub named: Named,
    /// It is no error if there is no such thing.
    pub if_exists: bool,
    /// With all that is in it.
    pub cascade: bool,
}

/// `ALTER … RENAME TO`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// What.
    pub named: Named,
    /// It is no error if there is no such thing.
    pub if_exists: bool,
    /// Its new name; with fewer parts than the whole name, the rest stays as it is.
    pub to: FrameRef,
}

/// What a statement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noun {
    Hive,
    Box,
    Frame,
}

impl Noun {
    /// Takes the noun after `verb`; other systems' nouns are refused.
    fn take(tokens: &mut Tokens<'_>, verb: &str) -> Result<Self> {
        let noun = match tokens.peek_word().as_deref() {
            Some("HIVE" | "DATABASE" | "CATALOG") => Self::Hive,
            Some("BOX" | "SCHEMA") => Self::Box,
            Some("FRAME" | "TABLE") => Self::Frame,
            Some(
                word @ ("VIEW" | "INDEX" | "MATERIALIZED" | "TEMP" | "TEMPORARY" | "EXTERNAL" | "FUNCTION" | "MACRO"
                | "SEQUENCE" | "TYPE" | "USER" | "ROLE" | "TRIGGER" | "PROCEDURE" | "UNIQUE" | "GLOBAL"
                | "LOCAL" | "UNBOUNDED" | "STAGE" | "SECRET" | "COLUMN"),
            ) => return Err(refuse::thing(&format!("{verb} {word}"))),
            _ => return Err(tokens.expected("HIVE, BOX or FRAME")),
        };
        tokens.skip();
        Ok(noun)
    }

    fn name(self, tokens: &mut Tokens<'_>) -> Result<Named> {
        let (parts, what) = self.shape();
        let mut name = tokens.name(parts, what)?;
        Ok(match (self, name.len()) {
            (Self::Hive, _) => Named::Hive(name.concat()),
            (Self::Box, 2) => Named::Box { hive: Some(name.remove(0)), box_name: name.concat() },
            (Self::Box, _) => Named::Box { hive: None, box_name: name.concat() },
            (Self::Frame, _) => Named::Frame(FrameRef(name)),
        })
    }

    fn shape(self) -> (usize, &'static str) {
        match self {
            Self::Hive => (1, "the name of a hive"),
            Self::Box => (2, "box or hive.box"),
            Self::Frame => (3, "a frame: hive.box.frame"),
        }
    }
}

pub(super) fn create(tokens: &mut Tokens<'_>) -> Result<Create> {
    tokens.skip();
    if tokens.take("OR") {
        return Err(refuse::replace());
    }
    let noun = Noun::take(tokens, "CREATE")?;
    let if_not_exists = tokens.take("IF");
    if if_not_exists && !(tokens.take("NOT") && tokens.take("EXISTS")) {
        return Err(tokens.expected("NOT EXISTS"));
    }
    let named = noun.name(tokens)?;
    let frame = match noun {
        Noun::Frame => Some(new_frame(tokens)?),
        Noun::Hive | Noun::Box => None,
    };
    tokens.end()?;
    Ok(Create { named, if_not_exists, frame })
}

pub(super) fn drop(tokens: &mut Tokens<'_>) -> Result<Drop> {
    tokens.skip();
    let noun = Noun::take(tokens, "DROP")?;
    let if_exists = if_exists(tokens)?;
    let named = noun.name(tokens)?;
    let cascade = tokens.take("CASCADE");
    if !cascade {
        tokens.take("RESTRICT");
    }
    tokens.end()?;
    Ok(Drop { named, if_exists, cascade })
}

pub(super) fn alter(tokens: &mut Tokens<'_>) -> Result<Rename> {
    tokens.skip();
    let noun = Noun::take(tokens, "ALTER")?;
    let if_exists = if_exists(tokens)?;
    let named = noun.name(tokens)?;
    match tokens.peek_word().as_deref() {
        Some("RENAME") if !matches!(tokens.second(), Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("COLUMN")) =>
        {
            tokens.skip();
        }
        Some(word @ ("ADD" | "DROP" | "ALTER" | "RENAME" | "SET" | "RESET" | "OWNER" | "ENABLE" | "DISABLE")) => {
            let column = if word == "RENAME" { " COLUMN" } else { "" };
            return Err(refuse::change(&format!("ALTER … {word}{column}")));
        }
        _ => return Err(tokens.expected("RENAME TO and a name")),
    }
    if !tokens.take("TO") {
        return Err(tokens.expected("TO and a name"));
    }
    let (parts, what) = noun.shape();
    let to = FrameRef(tokens.name(parts, what)?);
    tokens.end()?;
    Ok(Rename { named, if_exists, to })
}

fn if_exists(tokens: &mut Tokens<'_>) -> Result<bool> {
    // A frame may be called "if", in quotes.
    if !tokens.take("IF") {
        return Ok(false);
    }
    if tokens.take("EXISTS") { Ok(true) } else { Err(tokens.expected("EXISTS")) }
}

fn new_frame(tokens: &mut Tokens<'_>) -> Result<NewFrame> {
    if tokens.peek_word().as_deref() == Some("AS") {
        return Err(refuse::create_as());
    }
    let columns = list(tokens, "'(' and the columns", column)?;
    let mut partition_by = Vec::new();
    if tokens.take("PARTITIONED") || tokens.take("PARTITION") {
        if !tokens.take("BY") {
            return Err(tokens.expected("BY and columns"));
        }
        partition_by = list(tokens, "'(' and columns", |tokens| Ok(tokens.name(1, "a column")?.concat()))?;
    }
    if tokens.peek_word().as_deref() == Some("AS") {
        return Err(refuse::create_as());
    }
    Ok(NewFrame { schema: Arc::new(Schema::new(columns)), partition_by })
}

/// `(item, item, …)`, at least one.
fn list<T>(tokens: &mut Tokens<'_>, what: &str, mut item: impl FnMut(&mut Tokens<'_>) -> Result<T>) -> Result<Vec<T>> {
    if !tokens.take_sign(&Token::LParen) {
        return Err(tokens.expected(what));
    }
    let mut items = Vec::new();
    loop {
        items.push(item(tokens)?);
        if tokens.take_sign(&Token::RParen) {
            return Ok(items);
        }
        if !tokens.take_sign(&Token::Comma) {
            return Err(tokens.expected("',' or ')'"));
        }
    }
}

fn column(tokens: &mut Tokens<'_>) -> Result<Field> {
    if let Some(word @ ("PRIMARY" | "UNIQUE" | "FOREIGN" | "CHECK" | "CONSTRAINT")) = tokens.peek_word().as_deref() {
        return Err(refuse::constraint(word));
    }
    let name = tokens.name(1, "the name of a column")?.concat();
    let data_type = types::take(tokens)?;
    let mut nullable = true;
    loop {
        match tokens.peek_word().as_deref() {
            Some("NOT") => {
                tokens.skip();
                if !tokens.take("NULL") {
                    return Err(tokens.expected("NULL"));
                }
                nullable = false;
            }
            Some("NULL") => drop_token(tokens),
            Some(
                word @ ("PRIMARY" | "UNIQUE" | "REFERENCES" | "CHECK" | "CONSTRAINT" | "DEFAULT" | "COLLATE"
                | "GENERATED" | "AUTO_INCREMENT" | "AUTOINCREMENT" | "IDENTITY" | "COMMENT"),
            ) => return Err(refuse::constraint(word)),
            _ => return Ok(Field::new(name, data_type, nullable)),
        }
    }
}

fn drop_token(tokens: &mut Tokens<'_>) {
    tokens.skip();
}
