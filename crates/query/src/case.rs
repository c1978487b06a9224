//! Unquoted names match columns in any case.
//!
//! DataFusion folds an unquoted name to lower case and then wants it exactly. That serves frames whose columns are
//! all lower case; a column `Region` would only be found in quotes. So before planning, every unquoted name in the
//! syntax tree that equals a column of the statement's frames up to case is replaced by that column's own spelling,
//! in quotes. This is done wherever a name can stand (columns, aliases, tables, USING), so that whoever refers to an
//! alias finds it again: the folding function of the whole statement is changed, not single names.
//!
//! ```text
//! columns Region, temp:   SELECT REGION AS r, Temp FROM f AS X ORDER BY region
//!                     ->  SELECT "Region" AS r, Temp FROM f AS X ORDER BY "Region"      (the rest folds as always)
//! ```
//! Where the frames of one statement spell a column differently (`Region` here, `region` there), all of them show it
//! in lower case for that statement, so that one name means it everywhere.

use std::{collections::HashMap, ops::ControlFlow};

use datafusion::{
    arrow::datatypes::Schema,
    sql::sqlparser::ast::{
        ExcludeSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query,
        RenameSelectItem, Select, SelectItem, SelectItemQualifiedWildcardKind, TableAlias, TableFactor, TableWithJoins,
        VisitMut, VisitorMut, WildcardAdditionalOptions,
    },
};

/// The columns whose names DataFusion's own folding does not find, by folded name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spellings(HashMap<String, Spelling>);

#[derive(Debug, Clone)]
struct Spelling {
    /// As frames spell it.
    known: Vec<String>,
    /// As the statement sees it.
    shown: String,
}

impl Spellings {
    /// Collects `columns` of all frames.
    pub(crate) fn of<'a>(columns: impl Iterator<Item = &'a str>) -> Self {
        let mut spellings: HashMap<String, Spelling> = HashMap::new();
        for column in columns {
            let new = || Spelling { known: Vec::new(), shown: column.to_owned() };
            let spelling = spellings.entry(column.to_lowercase()).or_insert_with(new);
            if !spelling.known.iter().any(|name| name == column) {
                spelling.known.push(column.to_owned());
            }
        }
        for (folded, spelling) in spellings.iter_mut().filter(|(_, spelling)| spelling.known.len() > 1) {
            spelling.shown.clone_from(folded);
        }
        spellings
            .retain(|folded, spelling| spelling.known.len() > 1 || spelling.shown != *folded || !folded.is_ascii());
        Self(spellings)
    }

    /// Spells every name in `query` as the statement sees it.
    pub(crate) fn apply(&self, query: &mut Query) {
        if !self.0.is_empty() {
            let ControlFlow::Continue(()) = query.visit(&mut Speller(&self.0));
        }
    }

    /// How the statement sees the columns of a frame, if not as the frame spells them.
    pub(crate) fn shown(&self, schema: &Schema) -> Option<Vec<String>> {
        let shown = |name: &String| self.0.get(&name.to_lowercase()).map_or(name, |spelling| &spelling.shown).clone();
        let all: Vec<String> = schema.fields().iter().map(|field| shown(field.name())).collect();
        let same = schema.fields().iter().zip(&all).all(|(field, shown)| field.name() == shown);
        (!same).then_some(all)
    }
}

struct Speller<'a>(&'a HashMap<String, Spelling>);

impl Speller<'_> {
    fn spell(&self, ident: &mut Ident) {
        let Some(spelling) = self.0.get(&ident.value.to_lowercase()) else { return };
        if ident.quote_style.is_none() || spelling.known.contains(&ident.value) {
            ident.value.clone_from(&spelling.shown);
            ident.quote_style = Some('"');
        }
    }

    fn spell_name(&self, name: &mut ObjectName) {
        for part in &mut name.0 {
            if let ObjectNamePart::Identifier(ident) = part {
                self.spell(ident);
            }
        }
    }

    fn spell_alias(&self, alias: &mut TableAlias) {
        self.spell(&mut alias.name);
        alias.columns.iter_mut().for_each(|column| self.spell(&mut column.name));
    }

    fn spell_item(&self, item: &mut SelectItem) {
        match item {
            SelectItem::UnnamedExpr(_) => {}
            SelectItem::ExprWithAlias { alias, .. } => self.spell(alias),
            SelectItem::ExprWithAliases { aliases, .. } => aliases.iter_mut().for_each(|alias| self.spell(alias)),
            SelectItem::QualifiedWildcard(of, options) => {
                if let SelectItemQualifiedWildcardKind::ObjectName(name) = of {
                    self.spell_name(name);
                }
                self.spell_wildcard(options);
            }
            SelectItem::Wildcard(options) => self.spell_wildcard(options),
        }
    }

    fn spell_wildcard(&self, options: &mut WildcardAdditionalOptions) {
        match &mut options.opt_exclude {
            Some(ExcludeSelectItem::Single(name)) => self.spell_name(name),
            Some(ExcludeSelectItem::Multiple(names)) => names.iter_mut().for_each(|name| self.spell_name(name)),
            None => {}
        }
        if let Some(except) = &mut options.opt_except {
            self.spell(&mut except.first_element);
            except.additional_elements.iter_mut().for_each(|name| self.spell(name));
        }
        if let Some(replace) = &mut options.opt_replace {
            replace.items.iter_mut().for_each(|item| self.spell(&mut item.column_name));
        }
        let renamed = match &mut options.opt_rename {
            Some(RenameSelectItem::Single(one)) => std::slice::from_mut(one),
            Some(RenameSelectItem::Multiple(many)) => many.as_mut_slice(),
            None => &mut [],
        };
        for name in renamed {
            self.spell(&mut name.ident);
            self.spell(&mut name.alias);
        }
    }

    fn spell_joins(&self, tables: &mut TableWithJoins) {
        for join in &mut tables.joins {
            if let Some(JoinConstraint::Using(columns)) = constraint(&mut join.join_operator) {
                columns.iter_mut().for_each(|column| self.spell_name(column));
            }
        }
    }
}

fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(c) | J::Inner(c) | J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) | J::FullOuter(c) => {
            Some(c)
        }
        J::Semi(c) | J::LeftSemi(c) | J::RightSemi(c) | J::Anti(c) | J::LeftAnti(c) | J::RightAnti(c) => Some(c),
        _ => None,
    }
}

impl VisitorMut for Speller<'_> {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if let Some(with) = &mut query.with {
            with.cte_tables.iter_mut().for_each(|cte| self.spell_alias(&mut cte.alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        select.projection.iter_mut().for_each(|item| self.spell_item(item));
        select.from.iter_mut().for_each(|tables| self.spell_joins(tables));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<Self::Break> {
        self.spell_name(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        let alias = match factor {
            TableFactor::NestedJoin { table_with_joins, alias } => {
                self.spell_joins(table_with_joins);
                alias
            }
            TableFactor::Table { alias, .. }
            | TableFactor::Derived { alias, .. }
            | TableFactor::TableFunction { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::Pivot { alias, .. }
            | TableFactor::Unpivot { alias, .. } => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(alias) = alias {
            self.spell_alias(alias);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Identifier(ident) => self.spell(ident),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(|part| self.spell(part)),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::{Statement, parse};

    fn spelled(columns: &[&str], sql: &str) -> String {
        let Statement::Query(query) = parse(sql).unwrap() else { panic!("{sql} is no query") };
        let mut ast = query.ast().clone();
        Spellings::of(columns.iter().copied()).apply(&mut ast);
        ast.to_string()
    }

    #[test]
    fn lower_case_columns_are_left_to_datafusion() {
        let sql = "SELECT Region FROM Demo.S.T";
        assert_eq!(spelled(&["region", "temp"], sql), sql);
    }

    #[test]
    fn a_column_is_found_in_any_case_wherever_it_stands() {
        assert_eq!(
            spelled(
                &["Region", "l_Key"],
                "WITH region AS (SELECT REGION r FROM f) SELECT x.region, count(*) AS REGION FROM region AS x \
                 JOIN g USING (L_KEY) WHERE EXISTS (SELECT 1 FROM h WHERE Region = 'Region') GROUP BY region"
            ),
            "WITH \"Region\" AS (SELECT \"Region\" AS r FROM f) SELECT x.\"Region\", count(*) AS \"Region\" \
             FROM \"Region\" AS x JOIN g USING(\"l_Key\") WHERE EXISTS (SELECT 1 FROM h WHERE \"Region\" = 'Region') \
             GROUP BY \"Region\""
        );
    }

    #[test]
    fn two_spellings_become_one() {
        assert_eq!(spelled(&["a", "A"], "SELECT a, A, \"A\" FROM t"), "SELECT \"a\", \"a\", \"a\" FROM t");
        let shown = |columns: &[&str]| {
            let fields: Vec<_> = columns.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect();
            Spellings::of(["Ab", "ab", "C"].into_iter()).shown(&Schema::new(fields))
        };
        assert_eq!(shown(&["Ab", "C"]), Some(vec!["ab".to_owned(), "C".to_owned()]));
        assert_eq!(shown(&["ab", "C"]), None);
    }

    #[test]
    fn quoted_names_and_functions_are_left_alone() {
        assert_eq!(spelled(&["Sum"], "SELECT \"sum\", sum(sum) FROM t"), "SELECT \"sum\", sum(\"Sum\") FROM t");
    }

    #[test]
    fn letters_beyond_ascii_fold_too() {
        assert_eq!(spelled(&["größe"], "SELECT GRÖSSE, GRÖßE FROM t"), "SELECT GRÖSSE, \"größe\" FROM t");
    }
}
