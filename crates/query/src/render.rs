//! Conditions as people write them: `ts >= '2026-11-01'`, not `ts >= TimestampMicrosecond(1793491200000000, None)`.

use datafusion::{
    arrow::{
        datatypes::DataType,
        util::display::{ArrayFormatter, FormatOptions},
    },
    common::ScalarValue,
    logical_expr::{Expr, Like, expr::InList},
};

/// Values of an IN list shown before the rest is counted.
const LIST_SHOWN_MAX: usize = 5;

/// Longest text shown of anything that has no short form.
const TEXT_CHARS_MAX: usize = 160;

/// `expr` as SQL, for reading only.
pub(crate) fn condition(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(value, _) => literal(value),
        Expr::Alias(alias) => condition(&alias.expr),
        Expr::BinaryExpr(binary) => {
            format!("{} {} {}", operand(&binary.left), binary.op, operand(&binary.right))
        }
        Expr::Not(inner) => format!("NOT {}", operand(inner)),
        Expr::Negative(inner) => format!("-{}", operand(inner)),
        Expr::IsNull(inner) => format!("{} IS NULL", operand(inner)),
        Expr::IsNotNull(inner) => format!("{} IS NOT NULL", operand(inner)),
        Expr::IsTrue(inner) => format!("{} IS TRUE", operand(inner)),
        Expr::IsFalse(inner) => format!("{} IS FALSE", operand(inner)),
        Expr::Between(between) => {
            let not = if between.negated { "NOT " } else { "" };
            let (low, high) = (operand(&between.low), operand(&between.high));
            format!("{} {not}BETWEEN {low} AND {high}", operand(&between.expr))
        }
        Expr::Like(like) => pattern(like),
        Expr::InList(list) => in_list(list),
        Expr::Cast(cast) => format!("CAST({} AS {})", condition(&cast.expr), cast.field.data_type()),
        Expr::TryCast(cast) => format!("TRY_CAST({} AS {})", condition(&cast.expr), cast.field.data_type()),
        Expr::ScalarFunction(call) => {
            let args: Vec<_> = call.args.iter().map(condition).collect();
            format!("{}({})", call.name(), args.join(", "))
        }
        other => shorten(&other.human_display().to_string()),
    }
}

fn operand(expr: &Expr) -> String {
    let nested = matches!(expr, Expr::BinaryExpr(binary) if binary.op.precedence() > 0);
    if nested { format!("({})", condition(expr)) } else { condition(expr) }
}

fn pattern(like: &Like) -> String {
    let not = if like.negated { "NOT " } else { "" };
    let word = if like.case_insensitive { "ILIKE" } else { "LIKE" };
    format!("{} {not}{word} {}", operand(&like.expr), condition(&like.pattern))
}

fn in_list(list: &InList) -> String {
    let mut items: Vec<_> = list.list.iter().take(LIST_SHOWN_MAX).map(condition).collect();
    if list.list.len() > LIST_SHOWN_MAX {
        items.push(format!("… {} more", list.list.len() - LIST_SHOWN_MAX));
    }
    let not = if list.negated { "NOT " } else { "" };
    format!("{} {not}IN ({})", operand(&list.expr), items.join(", "))
}

fn literal(value: &ScalarValue) -> String {
    let quoted = !value.is_null() && !value.data_type().is_numeric() && value.data_type() != DataType::Boolean;
    if quoted { format!("'{}'", plain(value).replace('\'', "''")) } else { plain(value) }
}

/// A value as it is shown in a result, midnight left off, long texts cut.
pub(crate) fn plain(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    let shown = value.to_array().ok().and_then(|array| {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).ok()?;
        formatter.value(0).try_to_string().ok()
    });
    let text = shown.unwrap_or_else(|| value.to_string());
    match value.data_type() {
        DataType::Timestamp(..) => text.strip_suffix("T00:00:00").unwrap_or(&text).replace('T', " "),
        _ => shorten(&text),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= TEXT_CHARS_MAX {
        return text.to_owned();
    }
    text.chars().take(TEXT_CHARS_MAX).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::prelude::{col, ident, lit};

    #[test]
    fn conditions_read_as_sql() {
        let midnight = ScalarValue::TimestampMicrosecond(Some(1_793_491_200_000_000), None);
        let cases = [
            (ident("region").eq(lit("it's")), "region = 'it''s'"),
            (col("ts").gt_eq(Expr::Literal(midnight, None)), "ts >= '2026-11-01'"),
            (col("a").gt(lit(1)).or(col("b").is_null()), "(a > 1) OR b IS NULL"),
            (col("a").in_list((0..9).map(lit).collect(), true), "a NOT IN (0, 1, 2, 3, 4, … 4 more)"),
            (col("s").like(lit("ab%")), "s LIKE 'ab%'"),
            (col("a").between(lit(1.5), lit(2)), "a BETWEEN 1.5 AND 2"),
            (col("flag").eq(lit(true)), "flag = true"),
        ];
        for (expr, sql) in cases {
            assert_eq!(condition(&expr), sql);
        }
    }
}
