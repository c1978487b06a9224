//! Cuts a script into its statements at the semicolons that stand outside quotes and comments.
//!
//! Nothing is understood here: what a statement means is for the node that runs it. The cut knows exactly what
//! hides a semicolon in SQL: 'text', "names", -- to the end of the line, and nested /* comments */.

/// The statements of `script` in order, trimmed, without their semicolons; empty ones are left out.
pub(crate) fn split(script: &str) -> Vec<&str> {
    let bytes = script.as_bytes();
    let (mut statements, mut start, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => at = after_quote(bytes, at, quote),
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = after_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = after_comment(bytes, at),
            b';' => {
                statements.push(&script[start..at]);
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    statements.push(&script[start..]);
    statements.into_iter().map(str::trim).filter(|statement| has_words(statement)).collect()
}

/// The position behind the quoted text that opens at `at`; a doubled quote is seen as two quoted texts in a row.
fn after_quote(bytes: &[u8], at: usize, quote: u8) -> usize {
    bytes[at + 1..].iter().position(|byte| *byte == quote).map_or(bytes.len(), |length| at + length + 2)
}

/// The position of the line's end.
fn after_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

/// The position behind the comment that opens at `at`.
fn after_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth.saturating_sub(1), at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(bytes.len())
}

/// Whether anything but comments stands in `statement`.
fn has_words(statement: &str) -> bool {
    let bytes = statement.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = after_line(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = after_comment(bytes, at),
            byte if byte.is_ascii_whitespace() => at += 1,
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_part_statements() {
        assert_eq!(split("use a; select 1;\n"), ["use a", "select 1"]);
        assert_eq!(split("select 1"), ["select 1"]);
        assert_eq!(split(" ;; "), Vec::<&str>::new());
    }

    #[test]
    fn quotes_hide_semicolons() {
        assert_eq!(split("select 'a;b', \"c;d\"; select 'it''s;'"), ["select 'a;b', \"c;d\"", "select 'it''s;'"]);
    }

    #[test]
    fn comments_hide_semicolons_and_are_no_statements() {
        assert_eq!(split("select 1 -- a;b\n, 2; -- the end;"), ["select 1 -- a;b\n, 2"]);
        assert_eq!(split("/* a; /* b; */ c; */ select 1; /* x */"), ["/* a; /* b; */ c; */ select 1"]);
    }

    #[test]
    fn what_never_closes_stays_one_statement() {
        assert_eq!(split("select 'a; b"), ["select 'a; b"]);
        assert_eq!(split("select 1 /* a; b"), ["select 1 /* a; b"]);
        assert_eq!(split("é;日本"), ["é", "日本"]);
    }
}
