//! The statements that are Apiary's own, but those that define names (see `define`). Their grammar, whole:
//!
//! ```text
//! USE name | USE HIVE name | USE [BOX] [hive.]box
//! SET name = value | SET name TO value | RESET name        value: a word, a number, a 'text', DEFAULT
//! SHOW HIVES | BOXES [IN hive] | FRAMES [IN hive | box | hive.box] | NODES | QUERIES | SETTINGS
//! SHOW HISTORY frame [LIMIT n]
//! DESCRIBE frame | DESC frame
//! CANCEL QUERY 'id'
//! EXPLAIN [ANALYZE] [VERBOSE] [FORMAT JSON | FORMAT TEXT] query
//! ```

use apiary_core::{QueryId, suggest::nearest};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Explain, FrameRef, Show, Statement, Use, query, refuse, tokens::Tokens};
use crate::{QueryError, Result, show_history};

pub(super) fn explain(mut tokens: Tokens<'_>) -> Result<Explain> {
    tokens.skip();
    let (mut analyze, mut verbose, mut json) = (false, false, false);
    loop {
        if tokens.take("ANALYZE") {
            analyze = true;
        } else if tokens.take("VERBOSE") {
            verbose = true;
        } else if tokens.take("FORMAT") {
            json = match tokens.peek_word().as_deref() {
                Some("JSON") => true,
                Some("TEXT") => false,
                _ => return Err(tokens.expected("JSON or TEXT")),
            };
            tokens.skip();
        } else {
            break;
        }
    }
    if let Some(verb) = tokens.peek_word() {
        refuse::check(&verb)?;
        const OWN: [&str; 11] =
            ["USE", "SET", "RESET", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "CANCEL", "CREATE", "DROP", "ALTER"];
        if OWN.contains(&verb.as_str()) {
            return Err(tokens.expected("a query"));
        }
    }
    Ok(Explain { analyze, verbose, json, query: query::parse(tokens)? })
}

pub(super) fn use_(tokens: &mut Tokens<'_>) -> Result<Use> {
    tokens.skip();
    // A hive may be named "hive" or "box": the word is a keyword only with a name behind it.
    let keyword = match tokens.peek_word() {
        Some(word) if (word == "HIVE" || word == "BOX") && matches!(tokens.second(), Some(Token::Word(_))) => {
            tokens.skip();
            word
        }
        _ => String::new(),
    };
    let name = match keyword.as_str() {
        "HIVE" => tokens.name(1, "the name of a hive")?,
        "BOX" => tokens.name(2, "box or hive.box")?,
        _ => tokens.name(2, "hive or hive.box")?,
    };
    tokens.end()?;
    Ok(match (keyword.as_str(), <[String; 2]>::try_from(name)) {
        (_, Ok([hive, box_name])) => Use::Box { hive: Some(hive), box_name },
        ("BOX", Err(one)) => Use::Box { hive: None, box_name: one.concat() },
        (_, Err(one)) => Use::Hive(one.concat()),
    })
}

pub(super) fn set(tokens: &mut Tokens<'_>) -> Result<Statement> {
    tokens.skip();
    let name = tokens.name(4, "the name of a setting")?.join(".");
    if !tokens.take_sign(&Token::Eq) && !tokens.take("TO") {
        return Err(tokens.expected("'=' and a value"));
    }
    let value = value(tokens)?;
    tokens.end()?;
    Ok(Statement::Set { name, value: (!value.eq_ignore_ascii_case("default")).then_some(value) })
}

/// A word, number or text; a number may have a unit behind it (`SET query_timeout = 5 min`).
fn value(tokens: &mut Tokens<'_>) -> Result<String> {
    let value = match tokens.peek() {
        Some(Token::Word(word)) => word.value.clone(),
        Some(Token::SingleQuotedString(text)) => text.clone(),
        Some(Token::Number(digits, _)) => digits.clone(),
        _ => return Err(tokens.expected("a value: a word, a number or a 'text'")),
    };
    let number = matches!(tokens.skip(), Some(Token::Number(..)));
    match tokens.peek() {
        Some(Token::Word(unit)) if number => {
            let value = format!("{value} {}", unit.value);
            tokens.skip();
            Ok(value)
        }
        _ => Ok(value),
    }
}

pub(super) fn reset(tokens: &mut Tokens<'_>) -> Result<Statement> {
    tokens.skip();
    let name = tokens.name(4, "the name of a setting")?.join(".");
    tokens.end()?;
    Ok(Statement::Set { name, value: None })
}

pub(super) fn show(tokens: &mut Tokens<'_>) -> Result<Show> {
    tokens.skip();
    const THINGS: [&str; 7] = ["HIVES", "BOXES", "FRAMES", "HISTORY", "NODES", "QUERIES", "SETTINGS"];
    let thing = tokens.peek_word().unwrap_or_default();
    let foreign = |what: &str, instead: &str| QueryError::Unsupported {
        what: what.to_owned(),
        instead: format!("write {instead}"),
    };
    match thing.as_str() {
        "DATABASES" | "CATALOGS" => return Err(foreign("SHOW DATABASES", "SHOW HIVES")),
        "SCHEMAS" => return Err(foreign("SHOW SCHEMAS", "SHOW BOXES")),
        "TABLES" => return Err(foreign("SHOW TABLES", "SHOW FRAMES")),
        "COLUMNS" => return Err(foreign("SHOW COLUMNS", "DESCRIBE frame")),
        "ALL" => return Err(foreign("SHOW ALL", "SHOW SETTINGS")),
        "PROCESSLIST" => return Err(foreign("SHOW PROCESSLIST", "SHOW QUERIES")),
        _ if !THINGS.contains(&thing.as_str()) => {
            let near = nearest(&thing, THINGS).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
            return Err(tokens.expected(&format!("HIVES, BOXES, FRAMES, HISTORY, NODES, QUERIES or SETTINGS{near}")));
        }
        _ => tokens.skip(),
    };
    let within = match thing.as_str() {
        "BOXES" if tokens.take("IN") || tokens.take("FROM") => tokens.name(1, "the name of a hive")?,
        "HISTORY" => tokens.name(3, "a frame: hive.box.frame")?,
        "FRAMES" if tokens.take("IN") || tokens.take("FROM") => tokens.name(2, "hive, box or hive.box")?,
        _ => Vec::new(),
    };
    let limit = if thing == "HISTORY" && tokens.take("LIMIT") { count(tokens)? } else { show_history::LIMIT_DEFAULT };
    tokens.end()?;
    Ok(match thing.as_str() {
        "HIVES" => Show::Hives,
        "HISTORY" => Show::History { frame: FrameRef(within), limit },
        "BOXES" => Show::Boxes { hive: within.into_iter().next() },
        "FRAMES" => Show::Frames { within },
        "NODES" => Show::Nodes,
        "QUERIES" => Show::Queries,
        _ => Show::Settings,
    })
}

/// A count of versions.
fn count(tokens: &mut Tokens<'_>) -> Result<u64> {
    let count = match tokens.peek() {
        Some(Token::Number(digits, _)) => digits.parse().ok().filter(|n| (1..=show_history::LIMIT_MAX).contains(n)),
        _ => None,
    };
    let count = count.ok_or_else(|| tokens.expected("a number from 1 to 10000"))?;
    tokens.skip();
    Ok(count)
}

pub(super) fn describe(tokens: &mut Tokens<'_>) -> Result<FrameRef> {
    tokens.skip();
    let name = tokens.name(3, "a frame: hive.box.frame")?;
    tokens.end()?;
    Ok(FrameRef(name))
}

pub(super) fn cancel(tokens: &mut Tokens<'_>) -> Result<QueryId> {
    const ID: &str = "the id of a query in quotes, as SHOW QUERIES tells it";
    tokens.skip();
    if !tokens.take("QUERY") {
        return Err(tokens.expected("QUERY and its id"));
    }
    let id = match tokens.peek() {
        Some(Token::SingleQuotedString(text)) => text.trim().parse().map_err(|_| tokens.expected(ID))?,
        _ => return Err(tokens.expected(ID)),
    };
    tokens.skip();
    tokens.end()?;
    Ok(id)
}
