//! The cheapest tree of joins: numbers in, a tree out.
//!
//! A set of relations is a bit mask. How many rows a set has does not depend on the order in which it was joined: the
//! product of its relations' rows, divided by the number of different values for each equality among them (Selinger's
//! rule), times what its other conditions leave. Equalities of one class count once for each relation that they tie to
//! the others. Several equalities between the same two relations divide by no more than the rows of the smaller of
//! them, because pairs of values are not independent: `(partkey, suppkey)` is a key and not 2 000 000 000 values.
//!
//! The cost of a tree is the sum over its joins of the rows that come out, those that are looked up and, more
//! dearly, those that are put into a hash table.

use std::collections::HashMap;

/// Most relations that all orders are tried of: 3^10 pairs of sets.
const EXHAUSTIVE_MAX: usize = 10;
/// A row in a hash table costs as much as this many rows that come out.
const BUILD_COST: f64 = 2.0;
/// And a row that is looked up in one this much.
const PROBE_COST: f64 = 0.5;
/// Only an order whose cost is below this share of the statement's own is worth to be taken: estimates err.
const WORTH: f64 = 0.85;

/// A set of relations, by their numbers as bits.
pub(super) type Mask = u64;

/// A tree of joins; the left side of a join is built, the right side is looked up in it. A semi or anti join has its
/// filtering relation on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tree {
    Leaf(usize),
    Join(Box<Self>, Box<Self>),
}

impl Tree {
    pub(super) fn join(left: Self, right: Self) -> Self {
        Self::Join(Box::new(left), Box::new(right))
    }

    pub(super) fn mask(&self) -> Mask {
        match self {
            Self::Leaf(relation) => 1 << relation,
            Self::Join(left, right) => left.mask() | right.mask(),
        }
    }
}

/// An equality between columns of two sets of relations.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) left: Mask,
    pub(super) right: Mask,
    /// Different values that the two sides can have.
    pub(super) domain: f64,
    /// Equalities with the same number follow from each other.
    pub(super) class: Option<usize>,
}

/// A relation that only filters others.
#[derive(Debug, Clone)]
pub(super) struct Filtering {
    /// The relations that it filters.
    pub(super) needs: Mask,
    /// The share of their rows that stays.
    pub(super) keeps: f64,
}

/// Relations and what ties them.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    /// Rows of each relation.
    pub(super) rows: Vec<f64>,
    /// Rows of each relation before conditions on it alone.
    pub(super) base: Vec<f64>,
    /// What a relation filters, if that is all it does.
    pub(super) filtering: Vec<Option<Filtering>>,
    pub(super) links: Vec<Link>,
    /// Other conditions: the relations that they need, and the share of rows that they leave.
    pub(super) others: Vec<(Mask, f64)>,
}

/// The cheapest tree, if it is clearly cheaper than `own`.
pub(super) fn cheaper(graph: &Graph, own: &Tree) -> Option<Tree> {
    let mut search = Search { graph, rows: HashMap::new() };
    let own_cost = search.cost_of(own);
    let tree = match graph.rows.len() {
        0..=EXHAUSTIVE_MAX => search.exhaustive(),
        _ => search.greedy(),
    }?;
    let cost = search.cost_of(&tree);
    (tree != *own && cost < WORTH * own_cost).then_some(tree)
}

struct Search<'a> {
    graph: &'a Graph,
    rows: HashMap<Mask, f64>,
}

#[derive(Debug, Clone)]
struct Best {
    cost: f64,
    left: Mask,
    right: Mask,
}

impl Search<'_> {
    /// Rows of a set of relations once all of its conditions are applied.
    fn rows(&mut self, set: Mask) -> f64 {
        if let Some(rows) = self.rows.get(&set) {
            return *rows;
        }
        let within = |mask: Mask| mask & !set == 0;
        let mut rows = 1.0;
        for relation in members(set) {
            rows *= match &self.graph.filtering[relation] {
                Some(filtering) => filtering.keeps,
                None => self.graph.rows[relation],
            };
        }
        for (pair, domain) in self.domains(set) {
            let least = members(pair).map(|relation| self.graph.base[relation]).fold(f64::INFINITY, f64::min);
            rows /= domain.min(least.max(1.0)).max(1.0);
        }
        rows *= self.graph.others.iter().filter(|(mask, _)| within(*mask)).map(|(_, keeps)| keeps).product::<f64>();
        let rows = rows.max(1.0);
        self.rows.insert(set, rows);
        rows
    }

    /// By pairs of relations the product of the domains of the equalities that count in `set`: within a class, those
    /// that tie relations which are not yet tied.
    fn domains(&self, set: Mask) -> HashMap<Mask, f64> {
        let mut domains = HashMap::new();
        let mut tied: HashMap<usize, Vec<Mask>> = HashMap::new();
        for link in self.graph.links.iter().filter(|link| (link.left | link.right) & !set == 0) {
            if let Some(class) = link.class {
                let groups = tied.entry(class).or_default();
                if groups.iter().any(|group| group & link.left != 0 && group & link.right != 0) {
                    continue;
                }
                let both = link.left | link.right;
                let merged = groups.extract_if(.., |group| *group & both != 0).fold(both, |all, group| all | group);
                groups.push(merged);
            }
            *domains.entry(link.left | link.right).or_insert(1.0) *= link.domain;
        }
        domains
    }

    /// What it costs to join two sets, without what it cost to make them; `None`: that cannot be.
    fn cost(&mut self, left: Mask, right: Mask) -> Option<f64> {
        let (left_rows, right_rows, out) = (self.rows(left), self.rows(right), self.rows(left | right));
        if let Some(filtering) = self.filters(right) {
            let fits = filtering.needs & !left == 0;
            let rows = self.graph.rows[right.trailing_zeros() as usize];
            return fits.then(|| out + hashed(left_rows, rows));
        }
        if self.filters(left).is_some() {
            return None;
        }
        let linked = self.graph.links.iter().any(|link| {
            (link.left & !left == 0 && link.right & !right == 0) || (link.left & !right == 0 && link.right & !left == 0)
        });
        Some(out + if linked { hashed(left_rows, right_rows) } else { left_rows * right_rows + left_rows + right_rows })
    }

    /// What the set filters, if it is one relation that only filters.
    fn filters(&self, set: Mask) -> Option<&Filtering> {
        let one = set.is_power_of_two();
        self.graph.filtering[set.trailing_zeros() as usize].as_ref().filter(|_| one)
    }

    fn cost_of(&mut self, tree: &Tree) -> f64 {
        match tree {
            Tree::Leaf(_) => 0.0,
            Tree::Join(left, right) => {
                let below = self.cost_of(left) + self.cost_of(right);
                below + self.cost(left.mask(), right.mask()).unwrap_or(f64::INFINITY)
            }
        }
    }

    /// Every set is the join of two smaller ones; the cheapest pair for each, small sets first.
    fn exhaustive(&mut self) -> Option<Tree> {
        let all: Mask = (1 << self.graph.rows.len()) - 1;
        let mut best: Vec<Option<Best>> = vec![None; all as usize + 1];
        for set in 1..=all {
            if set.is_power_of_two() {
                best[set as usize] = Some(Best { cost: 0.0, left: 0, right: 0 });
                continue;
            }
            let mut left = (set - 1) & set;
            while left != 0 {
                let right = set & !left;
                if let (Some(a), Some(b)) = (&best[left as usize], &best[right as usize]) {
                    let below = a.cost + b.cost;
                    let dearest = best[set as usize].as_ref().map_or(f64::INFINITY, |best| best.cost);
                    if below < dearest
                        && let Some(cost) = self.cost(left, right)
                        && below + cost < dearest
                    {
                        best[set as usize] = Some(Best { cost: below + cost, left, right });
                    }
                }
                left = (left - 1) & set;
            }
        }
        self.tree(all, &best)
    }

    fn tree(&mut self, set: Mask, best: &[Option<Best>]) -> Option<Tree> {
        if set.is_power_of_two() {
            return Some(Tree::Leaf(set.trailing_zeros() as usize));
        }
        let Best { left, right, .. } = best[set as usize].clone()?;
        let (left_tree, right_tree) = (self.tree(left, best)?, self.tree(right, best)?);
        Some(self.sided(left_tree, right_tree))
    }

    /// The smaller side is built; what filters stays on the right.
    fn sided(&mut self, left: Tree, right: Tree) -> Tree {
        let (left_set, right_set) = (left.mask(), right.mask());
        let turn = self.filters(right_set).is_none() && self.rows(right_set) < self.rows(left_set);
        if turn { Tree::join(right, left) } else { Tree::join(left, right) }
    }

    /// Joins, again and again, the two trees whose join has the fewest rows, those with an equality first.
    fn greedy(&mut self) -> Option<Tree> {
        let mut trees: Vec<Tree> = (0..self.graph.rows.len()).map(Tree::Leaf).collect();
        while trees.len() > 1 {
            let mut least: Option<(f64, usize, usize)> = None;
            for left in 0..trees.len() {
                for right in (0..trees.len()).filter(|right| *right != left) {
                    let cost = self.cost(trees[left].mask(), trees[right].mask());
                    if let Some(cost) = cost.filter(|cost| least.is_none_or(|(least, ..)| *cost < least)) {
                        least = Some((cost, left, right));
                    }
                }
            }
            let (_, left, right) = least?;
            let later = trees.swap_remove(left.max(right));
            let earlier = trees.swap_remove(left.min(right));
            let (left, right) = if left < right { (earlier, later) } else { (later, earlier) };
            let joined = self.sided(left, right);
            trees.push(joined);
        }
        trees.pop()
    }
}

/// A hash join of two sides: the smaller one is built.
fn hashed(left: f64, right: f64) -> f64 {
    BUILD_COST * left.min(right) + PROBE_COST * left.max(right)
}

fn members(set: Mask) -> impl Iterator<Item = usize> {
    (0..Mask::BITS as usize).filter(move |relation| set & (1 << relation) != 0)
}
