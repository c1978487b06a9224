//! A region of joins that may be done in any order, taken apart into relations and conditions.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    common::{Column, DFSchemaRef, JoinType, NullEquality},
    error::Result as DfResult,
    logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, utils::split_conjunction},
};

use super::{
    estimate::{Estimate, Estimator},
    search::{Filtering, Graph, Link, Mask, Tree},
};

/// Fewest relations with an order to choose; of two, DataFusion chooses the side that is built.
const RELATIONS_MIN: usize = 3;
/// Most relations of one region, as many as a mask has bits to spare.
const RELATIONS_MAX: usize = 48;

/// `left = right`, where the two sides name columns of different relations.
#[derive(Debug, Clone)]
pub(super) struct Equality {
    pub(super) left: Expr,
    pub(super) right: Expr,
    pub(super) left_mask: Mask,
    pub(super) right_mask: Mask,
    /// Equalities of one class follow from each other; each side is a column.
    pub(super) class: Option<usize>,
}

/// A semi or anti join: its right side filters the relations that its conditions name.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    pub(super) join_type: JoinType,
    pub(super) on: Vec<(Expr, Expr)>,
    pub(super) filter: Option<Expr>,
    /// The relations of the left side that the conditions name.
    pub(super) needs: Mask,
}

/// Relations, the conditions on them, and the order in which the statement joins them.
#[derive(Debug)]
pub(super) struct Region {
    pub(super) relations: Vec<LogicalPlan>,
    /// Set for a relation that only filters.
    pub(super) filters: Vec<Option<Filter>>,
    pub(super) equalities: Vec<Equality>,
    /// Any other condition, and the relations that it names: at least one.
    pub(super) others: Vec<(Expr, Mask)>,
    pub(super) shape: Tree,
    /// What comes out.
    pub(super) schema: DFSchemaRef,
}

/// What is gathered on the way down a region.
#[derive(Default)]
struct Parts {
    relations: Vec<LogicalPlan>,
    /// Those that only filter; what they need is not known yet.
    filters: Vec<(usize, Filter)>,
    pairs: Vec<(Expr, Expr)>,
    conditions: Vec<Expr>,
}

impl Region {
    /// The region whose topmost node `plan` is, if it is one with an order to choose.
    pub(super) fn of(plan: &LogicalPlan) -> Option<Self> {
        let mut parts = Parts::default();
        let shape = parts.take_apart(plan);
        let count = parts.relations.len();
        if !(RELATIONS_MIN..=RELATIONS_MAX).contains(&count) {
            return None;
        }
        let owners = owners(&parts.relations)?;
        let mask = |expr: &Expr| mask_of(expr, &owners);
        let mut filters: Vec<Option<Filter>> = vec![None; count];
        for (relation, mut filter) in parts.filters {
            let own: Mask = 1 << relation;
            for (left, right) in &filter.on {
                let (left, right) = (mask(left)?, mask(right)?);
                if left == 0 || left & own != 0 || right != own {
                    return None;
                }
                filter.needs |= left;
            }
            filter.needs |= filter.filter.as_ref().map_or(Some(0), mask)? & !own;
            filters[relation] = Some(filter);
        }
        let (mut equalities, mut others) = (Vec::new(), Vec::new());
        for (left, right) in parts.pairs {
            let (left_mask, right_mask) = (mask(&left)?, mask(&right)?);
            if left_mask == 0 || right_mask == 0 {
                return None;
            }
            equalities.push(Equality { left, right, left_mask, right_mask, class: None });
        }
        for condition in parts.conditions {
            let needs = mask(&condition).filter(|needs| *needs != 0)?;
            others.push((condition, needs));
        }
        classify(&mut equalities, &parts.relations)?;
        let schema = Arc::clone(plan.schema());
        Some(Self { relations: parts.relations, filters, equalities, others, shape, schema })
    }

    /// The same with other relations, which have the same columns.
    pub(super) fn map_relations(self, change: impl FnMut(LogicalPlan) -> DfResult<LogicalPlan>) -> DfResult<Self> {
        let relations = self.relations.into_iter().map(change).collect::<DfResult<_>>()?;
        Ok(Self { relations, ..self })
    }

    /// The region in numbers; `None` if some relation's rows cannot be told.
    pub(super) fn graph(&self, estimator: &Estimator<'_>) -> Option<Graph> {
        let known: Vec<Estimate> =
            self.relations.iter().map(|relation| estimator.estimate(relation)).collect::<Option<_>>()?;
        let domain_of = |expr: &Expr, mask: Mask| match (expr, mask.is_power_of_two()) {
            (Expr::Column(column), true) => known[mask.trailing_zeros() as usize].domain(column),
            _ => members_base(&known, mask),
        };
        let link = |equality: &Equality| Link {
            left: equality.left_mask,
            right: equality.right_mask,
            domain: domain_of(&equality.left, equality.left_mask).min(domain_of(&equality.right, equality.right_mask)),
            class: equality.class,
        };
        let filtering = |(relation, filter): (usize, &Option<Filter>)| {
            let filter = filter.as_ref()?;
            let base = members_base(&known, filter.needs);
            let domains = filter.on.iter().map(|(left, _)| match left {
                Expr::Column(column) => {
                    known.iter().filter_map(|known| known.known_domain(column)).fold(base, f64::min)
                }
                _ => base,
            });
            let domain = domains.product::<f64>().min(base).max(1.0);
            let keeps = super::selectivity::semi(known[relation].rows, domain, filter.join_type);
            Some(Filtering { needs: filter.needs, keeps })
        };
        Some(Graph {
            rows: known.iter().map(|known| known.rows).collect(),
            base: known.iter().map(|known| known.base).collect(),
            filtering: self.filters.iter().enumerate().map(filtering).collect(),
            links: self.equalities.iter().map(link).collect(),
            others: self.others.iter().map(|(expr, mask)| (*mask, super::selectivity::between(expr))).collect(),
        })
    }
}

/// The least of some relations' rows before their own conditions.
fn members_base(known: &[Estimate], mask: Mask) -> f64 {
    let members = known.iter().enumerate().filter(|(relation, _)| mask & (1 << relation) != 0);
    members.map(|(_, known)| known.base).fold(f64::INFINITY, f64::min)
}

impl Parts {
    /// Relations and conditions below `plan`, and its shape.
    fn take_apart(&mut self, plan: &LogicalPlan) -> Tree {
        match plan {
            LogicalPlan::Join(join) if moves(join) => {
                let left = self.take_apart(&join.left);
                if join.join_type == JoinType::Inner {
                    let right = self.take_apart(&join.right);
                    self.pairs.extend(join.on.iter().cloned());
                    self.conditions.extend(join.filter.iter().flat_map(split_conjunction).cloned());
                    return Tree::join(left, right);
                }
                let right = self.relation(&join.right);
                let (on, filter) = (join.on.clone(), join.filter.clone());
                let filter = Filter { join_type: join.join_type, on, filter, needs: 0 };
                self.filters.push((self.relations.len() - 1, filter));
                Tree::join(left, right)
            }
            // What only leaves columns out.
            LogicalPlan::Projection(projection)
                if projection.expr.iter().all(|expr| matches!(expr, Expr::Column(_))) =>
            {
                match projection.input.as_ref() {
                    LogicalPlan::Join(join) if moves(join) => self.take_apart(&projection.input),
                    _ => self.relation(plan),
                }
            }
            _ => self.relation(plan),
        }
    }

    fn relation(&mut self, plan: &LogicalPlan) -> Tree {
        self.relations.push(plan.clone());
        Tree::Leaf(self.relations.len() - 1)
    }
}

/// Whether a join may change its place.
fn moves(join: &Join) -> bool {
    let filters = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti) && !join.on.is_empty();
    let exprs = || join.on.iter().flat_map(|(left, right)| [left, right]).chain(&join.filter);
    (join.join_type == JoinType::Inner || filters)
        && !join.null_aware
        && join.null_equality == NullEquality::NullEqualsNothing
        && !exprs().any(|expr| expr.is_volatile() || expr.contains_outer() || expr.contains_scalar_subquery())
}

/// Which relation each column belongs to; `None` if two have a column of the same name.
fn owners(relations: &[LogicalPlan]) -> Option<HashMap<Column, usize>> {
    let mut owners = HashMap::new();
    for (relation, plan) in relations.iter().enumerate() {
        for column in plan.schema().columns() {
            if owners.insert(column, relation).is_some() {
                return None;
            }
        }
    }
    Some(owners)
}

/// The relations that an expression names; `None` if one of its columns is nobody's.
fn mask_of(expr: &Expr, owners: &HashMap<Column, usize>) -> Option<Mask> {
    expr.column_refs().into_iter().try_fold(0, |mask, column| Some(mask | 1 << owners.get(column)?))
}

/// Gives equalities of columns their classes, and adds those that follow. Floats are left alone (two zeros, many
/// NaNs), and so is a class that names two columns of one relation: that is a condition on the relation.
fn classify(equalities: &mut Vec<Equality>, relations: &[LogicalPlan]) -> Option<()> {
    let mut classes: Vec<Vec<(Column, usize)>> = Vec::new();
    for equality in equalities.iter() {
        let Some(ends) = plain_ends(equality, relations) else { continue };
        let (mut merged, mut rest) = (ends.to_vec(), Vec::new());
        for class in classes {
            if class.iter().any(|member| merged.contains(member)) {
                merged.extend(class);
            } else {
                rest.push(class);
            }
        }
        merged.sort();
        merged.dedup();
        rest.push(merged);
        classes = rest;
    }
    classes.retain(|class| {
        let relations: std::collections::BTreeSet<usize> = class.iter().map(|(_, relation)| *relation).collect();
        relations.len() == class.len()
    });
    let plain: Vec<Option<[(Column, usize); 2]>> =
        equalities.iter().map(|equality| plain_ends(equality, relations)).collect();
    for (equality, ends) in equalities.iter_mut().zip(plain) {
        let Some([left, _]) = ends else { continue };
        equality.class = classes.iter().position(|class| class.contains(&left));
    }
    for (number, class) in classes.iter().enumerate() {
        for (at, (left, left_relation)) in class.iter().enumerate() {
            for (right, right_relation) in &class[at + 1..] {
                let (left_mask, right_mask): (Mask, Mask) = (1 << left_relation, 1 << right_relation);
                let both = left_mask | right_mask;
                let there =
                    |known: &Equality| known.class == Some(number) && known.left_mask | known.right_mask == both;
                if !equalities.iter().any(there) {
                    let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
                    equalities.push(Equality { left, right, left_mask, right_mask, class: Some(number) });
                }
            }
        }
    }
    Some(())
}

/// Both ends of an equality of two columns of the same type that is no float, with their relations.
fn plain_ends(equality: &Equality, relations: &[LogicalPlan]) -> Option<[(Column, usize); 2]> {
    let (Expr::Column(left), Expr::Column(right)) = (&equality.left, &equality.right) else { return None };
    let at = |mask: Mask| mask.trailing_zeros() as usize;
    let (left_at, right_at) = (at(equality.left_mask), at(equality.right_mask));
    let left_type = equality.left.get_type(relations[left_at].schema()).ok()?;
    let right_type = equality.right.get_type(relations[right_at].schema()).ok()?;
    let plain = left_at != right_at && left_type == right_type && !left_type.is_floating() && !left_type.is_nested();
    plain.then(|| [(left.clone(), left_at), (right.clone(), right_at)])
}
