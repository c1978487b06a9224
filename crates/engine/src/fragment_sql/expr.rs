//! One expression of a plan as SQL that means the same: strings in quotes, casts with their type, every operator in
//! brackets of its own below another. What has no SQL that is known to mean the same has none here; the caller then
//! shows it as DataFusion does, for reading only.

use std::sync::Arc;

use datafusion::{
    common::ScalarValue,
    logical_expr::Operator,
    physical_expr::{
        PhysicalExpr, ScalarFunctionExpr,
        expressions::{
            BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr, Literal,
            NegativeExpr, NotExpr,
        },
    },
};

/// `expr` over columns that stand for these texts; a column beyond them is called by its own name.
pub(super) fn say(expr: &dyn PhysicalExpr, columns: &[String]) -> Option<String> {
    let part = |part: &Arc<dyn PhysicalExpr>| say(part.as_ref(), columns);
    let inner = |part: &Arc<dyn PhysicalExpr>| Some(bracketed(part.as_ref(), say(part.as_ref(), columns)?));
    if let Some(column) = expr.downcast_ref::<Column>() {
        return Some(columns.get(column.index()).map_or_else(|| name(column.name()), |text| base(text).to_owned()));
    }
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return value(literal.value());
    }
    if let Some(binary) = expr.downcast_ref::<BinaryExpr>() {
        let op = operator(*binary.op())?;
        return Some(format!("{} {op} {}", inner(binary.left())?, inner(binary.right())?));
    }
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return Some(format!("arrow_cast({}, '{}')", part(cast.expr())?, cast.cast_type()));
    }
    if let Some(is_null) = expr.downcast_ref::<IsNullExpr>() {
        return Some(format!("{} IS NULL", inner(is_null.arg())?));
    }
    if let Some(is_there) = expr.downcast_ref::<IsNotNullExpr>() {
        return Some(format!("{} IS NOT NULL", inner(is_there.arg())?));
    }
    if let Some(not) = expr.downcast_ref::<NotExpr>() {
        return Some(format!("NOT {}", inner(not.arg())?));
    }
    if let Some(negative) = expr.downcast_ref::<NegativeExpr>() {
        return Some(format!("-({})", part(negative.arg())?));
    }
    if let Some(among) = expr.downcast_ref::<InListExpr>() {
        let list = among.list().iter().map(part).collect::<Option<Vec<_>>>()?.join(", ");
        return Some(format!("{} {}IN ({list})", inner(among.expr())?, not(among.negated())));
    }
    if let Some(like) = expr.downcast_ref::<LikeExpr>() {
        let word = if like.case_insensitive() { "ILIKE" } else { "LIKE" };
        return Some(format!("{} {}{word} {}", inner(like.expr())?, not(like.negated()), inner(like.pattern())?));
    }
    if let Some(function) = expr.downcast_ref::<ScalarFunctionExpr>() {
        let args = function.args().iter().map(part).collect::<Option<Vec<_>>>()?.join(", ");
        return Some(format!("{}({args})", function.fun().name()));
    }
    case(expr.downcast_ref::<CaseExpr>()?, columns)
}

fn case(case: &CaseExpr, columns: &[String]) -> Option<String> {
    let part = |part: &Arc<dyn PhysicalExpr>| say(part.as_ref(), columns);
    let mut text = "CASE".to_owned();
    if let Some(of) = case.expr() {
        text += &format!(" {}", part(of)?);
    }
    for (when, then) in case.when_then_expr() {
        text += &format!(" WHEN {} THEN {}", part(when)?, part(then)?);
    }
    if let Some(otherwise) = case.else_expr() {
        text += &format!(" ELSE {}", part(otherwise)?);
    }
    Some(text + " END")
}

/// A column's text without its alias.
pub(super) fn base(column: &str) -> &str {
    column.rsplit_once(" AS ").map_or(column, |(expr, _)| expr)
}

/// A name, in quotes where it must be.
pub(super) fn name(name: &str) -> String {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    let is_plain = begins && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// What binds less tightly than what stands around it goes in brackets.
fn bracketed(expr: &dyn PhysicalExpr, text: String) -> String {
    let is_one =
        expr.is::<Column>() || expr.is::<Literal>() || expr.is::<CastExpr>() || expr.is::<ScalarFunctionExpr>();
    // A column may stand for what it was computed from.
    if is_one && !text.contains(' ') || text.starts_with('\'') || expr.is::<CastExpr>() {
        text
    } else {
        format!("({text})")
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn operator(op: Operator) -> Option<&'static str> {
    Some(match op {
        Operator::Eq => "=",
        Operator::NotEq => "<>",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        Operator::Plus => "+",
        Operator::Minus => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        Operator::Modulo => "%",
        Operator::And => "AND",
        Operator::Or => "OR",
        Operator::IsDistinctFrom => "IS DISTINCT FROM",
        Operator::IsNotDistinctFrom => "IS NOT DISTINCT FROM",
        Operator::StringConcat => "||",
        _ => return None,
    })
}

/// A value, with its type where a bare one would have another.
fn value(value: &ScalarValue) -> Option<String> {
    let typed = |text: &dyn std::fmt::Display| Some(format!("arrow_cast('{text}', '{}')", value.data_type()));
    match value {
        value if value.is_null() => Some("NULL".to_owned()),
        ScalarValue::Boolean(Some(truth)) => Some(truth.to_string()),
        ScalarValue::Int64(Some(number)) if *number >= 0 => Some(number.to_string()),
        ScalarValue::Int64(Some(number)) => typed(number),
        ScalarValue::Int8(Some(number)) => typed(number),
        ScalarValue::Int16(Some(number)) => typed(number),
        ScalarValue::Int32(Some(number)) => typed(number),
        ScalarValue::UInt8(Some(number)) => typed(number),
        ScalarValue::UInt16(Some(number)) => typed(number),
        ScalarValue::UInt32(Some(number)) => typed(number),
        ScalarValue::UInt64(Some(number)) => typed(number),
        ScalarValue::Float64(Some(number)) if number.is_finite() => typed(number),
        ScalarValue::Date32(Some(_)) => typed(value),
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => {
            Some(format!("'{}'", text.replace('\'', "''")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted_where_they_must_be() {
        assert_eq!(
            ["region", "Head Count", "a\"b", "1st"].map(name),
            ["region", "\"Head Count\"", "\"a\"\"b\"", "\"1st\""]
        );
        let text = |literal: ScalarValue| value(&literal).unwrap();
        assert_eq!(text(ScalarValue::from("it's")), "'it''s'");
        assert_eq!(text(ScalarValue::from(5i64)), "5");
        assert_eq!(text(ScalarValue::from(-5i32)), "arrow_cast('-5', 'Int32')");
        assert_eq!(text(ScalarValue::Date32(Some(0))), "arrow_cast('1970-01-01', 'Date32')");
        assert_eq!(text(ScalarValue::Utf8(None)), "NULL");
        assert_eq!(value(&ScalarValue::Float64(Some(f64::NAN))), None);
    }

    #[test]
    fn what_binds_less_tightly_stands_in_brackets() {
        let column = |name: &str, at| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>;
        let sum = BinaryExpr::new(column("a", 0), Operator::Plus, column("b", 1));
        let product = BinaryExpr::new(Arc::new(sum), Operator::Multiply, column("c", 9));
        let columns = ["a".to_owned(), "x - y AS b".to_owned()];
        assert_eq!(say(&product, &columns).unwrap(), "(a + (x - y)) * c");
        assert_eq!(say(&IsNullExpr::new(Arc::new(product)), &columns).unwrap(), "((a + (x - y)) * c) IS NULL");
    }
}
