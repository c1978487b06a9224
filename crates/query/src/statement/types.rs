//! The types of columns, as SQL writes them.
//!
//! | written | is |
//! |---|---|
//! | `BOOLEAN`, `BOOL` | a boolean |
//! | `TINYINT`, `SMALLINT`, `INT`, `BIGINT` (`INT16`, `INT32`, `INT64`) | a signed integer of 8, 16, 32, 64 bits |
//! | the same `UNSIGNED`, or `UTINYINT`, `USMALLINT`, `UINTEGER`, `UBIGINT` (`UINT8` … `UINT64`) | an unsigned one |
//! | `REAL`, `FLOAT`; `DOUBLE`, `FLOAT64` | a float of 32; of 64 bits |
//! | `DECIMAL(p, s)`, `NUMERIC(p, s)` | a decimal; without digits (38, 10), as in a CAST |
//! | `VARCHAR`, `TEXT`, `STRING`, `CHAR`; `BLOB`, `BYTEA`, `VARBINARY` | text of any length; bytes |
//! | `DATE`, `TIME`, `TIMESTAMP`, `TIMESTAMP WITH TIME ZONE` | in microseconds; `TIMESTAMP(0 \| 3 \| 6 \| 9)` too |
//!
//! `INT8` is refused: it has 8 bits for some and 8 bytes for others.

use apiary_core::suggest::nearest;
use datafusion::{
    arrow::datatypes::{DataType, TimeUnit},
    sql::sqlparser::tokenizer::Token,
};

use super::tokens::Tokens;
use crate::Result;

/// Words that stand for a type by themselves.
const WORDS: &[(&str, DataType)] = &[
    ("BOOLEAN", DataType::Boolean),
    ("BOOL", DataType::Boolean),
    ("TINYINT", DataType::Int8),
    ("SMALLINT", DataType::Int16),
    ("INT2", DataType::Int16),
    ("INT16", DataType::Int16),
    ("INT", DataType::Int32),
    ("INTEGER", DataType::Int32),
    ("INT4", DataType::Int32),
    ("INT32", DataType::Int32),
    ("BIGINT", DataType::Int64),
    ("INT64", DataType::Int64),
    ("LONG", DataType::Int64),
    ("UTINYINT", DataType::UInt8),
    ("UINT8", DataType::UInt8),
    ("USMALLINT", DataType::UInt16),
    ("UINT16", DataType::UInt16),
    ("UINTEGER", DataType::UInt32),
    ("UINT32", DataType::UInt32),
    ("UBIGINT", DataType::UInt64),
    ("UINT64", DataType::UInt64),
    ("REAL", DataType::Float32),
    ("FLOAT", DataType::Float32),
    ("FLOAT4", DataType::Float32),
    ("FLOAT32", DataType::Float32),
    ("DOUBLE", DataType::Float64),
    ("FLOAT8", DataType::Float64),
    ("FLOAT64", DataType::Float64),
    ("DECIMAL", DataType::Decimal128(38, 10)),
    ("NUMERIC", DataType::Decimal128(38, 10)),
    ("DEC", DataType::Decimal128(38, 10)),
    ("VARCHAR", DataType::Utf8),
    ("NVARCHAR", DataType::Utf8),
    ("CHARACTER", DataType::Utf8),
    ("CHAR", DataType::Utf8),
    ("TEXT", DataType::Utf8),
    ("STRING", DataType::Utf8),
    ("UTF8", DataType::Utf8),
    ("BLOB", DataType::Binary),
    ("BYTEA", DataType::Binary),
    ("BINARY", DataType::Binary),
    ("VARBINARY", DataType::Binary),
    ("BYTES", DataType::Binary),
    ("DATE", DataType::Date32),
    ("TIME", DataType::Time64(TimeUnit::Microsecond)),
    ("TIMESTAMP", DataType::Timestamp(TimeUnit::Microsecond, None)),
    ("DATETIME", DataType::Timestamp(TimeUnit::Microsecond, None)),
    // Its zone is added below.
    ("TIMESTAMPTZ", DataType::Timestamp(TimeUnit::Microsecond, None)),
];

/// Takes a type.
pub(super) fn take(tokens: &mut Tokens<'_>) -> Result<DataType> {
    let word = tokens.peek_word().unwrap_or_default();
    let Some((_, plain)) = WORDS.iter().find(|(name, _)| *name == word) else { return Err(unknown(tokens, &word)) };
    tokens.skip();
    let found = match (word.as_str(), plain) {
        ("DOUBLE", _) => {
            tokens.take("PRECISION");
            plain.clone()
        }
        ("CHARACTER" | "CHAR", _) => {
            tokens.take("VARYING");
            digits(tokens, 1)?;
            plain.clone()
        }
        (_, DataType::Utf8 | DataType::Binary) => {
            // A longest length means nothing here; it may be written.
            digits(tokens, 1)?;
            plain.clone()
        }
        (_, DataType::Decimal128(..)) => decimal(tokens)?,
        (_, DataType::Timestamp(..)) => timestamp(tokens, &word)?,
        (_, integer) if tokens.take("UNSIGNED") => match integer {
            DataType::Int8 => DataType::UInt8,
            DataType::Int16 => DataType::UInt16,
            DataType::Int32 => DataType::UInt32,
            DataType::Int64 => DataType::UInt64,
            _ => return Err(tokens.expected("an integer type before UNSIGNED")),
        },
        _ => plain.clone(),
    };
    Ok(found)
}

fn unknown(tokens: &Tokens<'_>, word: &str) -> crate::QueryError {
    match word {
        "INT8" => tokens.expected("TINYINT (8 bits) or BIGINT (8 bytes), which INT8 means to different people"),
        "" => tokens.expected("a type"),
        _ => {
            let near = nearest(word, WORDS.iter().map(|(name, _)| *name));
            let near = near.map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            tokens.expected(&format!("a type such as BIGINT, DOUBLE, TEXT, BOOLEAN, DATE or TIMESTAMP{near}"))
        }
    }
}

/// `(n)` or `(n, m)`, if it is there.
fn digits(tokens: &mut Tokens<'_>, most: usize) -> Result<Vec<u8>> {
    let mut numbers = Vec::new();
    if !tokens.take_sign(&Token::LParen) {
        return Ok(numbers);
    }
    loop {
        match tokens.peek() {
            // Lengths of text may be any number; what matters is small.
            Some(Token::Number(text, false)) if numbers.len() < most && text.bytes().all(|b| b.is_ascii_digit()) => {
                numbers.push(text.parse().unwrap_or(u8::MAX));
            }
            _ => return Err(tokens.expected("a number")),
        }
        tokens.skip();
        if tokens.take_sign(&Token::RParen) {
            return Ok(numbers);
        }
        if numbers.len() == most || !tokens.take_sign(&Token::Comma) {
            return Err(tokens.expected("')'"));
        }
    }
}

fn decimal(tokens: &mut Tokens<'_>) -> Result<DataType> {
    let range = tokens.expected("(digits, of these after the point): 1 to 38 digits");
    match digits(tokens, 2)?[..] {
        [] => Ok(DataType::Decimal128(38, 10)),
        [p] if (1..=38).contains(&p) => Ok(DataType::Decimal128(p, 0)),
        [p, s] if (1..=38).contains(&p) && s <= p => Ok(DataType::Decimal128(p, i8::try_from(s).unwrap_or_default())),
        _ => Err(range),
    }
}

fn timestamp(tokens: &mut Tokens<'_>, word: &str) -> Result<DataType> {
    let known = tokens.expected("(0), (3), (6) or (9) digits of a second");
    let unit = match digits(tokens, 1)?[..] {
        [] | [6] => TimeUnit::Microsecond,
        [0] => TimeUnit::Second,
        [3] => TimeUnit::Millisecond,
        [9] => TimeUnit::Nanosecond,
        _ => return Err(known),
    };
    let mut zoned = word == "TIMESTAMPTZ";
    let with = tokens.take("WITH");
    if with || tokens.take("WITHOUT") {
        if !(tokens.take("TIME") && tokens.take("ZONE")) {
            return Err(tokens.expected("TIME ZONE"));
        }
        zoned = with;
    }
    Ok(DataType::Timestamp(unit, zoned.then(|| "UTC".into())))
}
