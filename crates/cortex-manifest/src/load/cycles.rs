//! Manifests that import each other: allowed, since an agent may start the workflow that runs it,
//! and reported.

use std::sync::Arc;

use super::{Outcome, ResolvedImport};
use crate::{
    diagnostic::{Diagnostic, Severity, code},
    manifest::Manifest,
};

/// Reports every group of manifests that reach each other by imports.
pub(super) fn report(
    manifests: &[Arc<Manifest>],
    imports: &[Vec<ResolvedImport>],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let edges: Vec<Vec<usize>> = imports
        .iter()
        .map(|imports| imports.iter().filter_map(|import| import.outcome.found()).collect())
        .collect();
    for group in components(&edges) {
        let cyclic = group.len() > 1 || edges[group[0]].contains(&group[0]);
        if !cyclic {
            continue;
        }
        let ids: Vec<_> = group.iter().map(|index| manifests[*index].id().to_string()).collect();
        let start = &manifests[group[0]];
        let import = imports[group[0]].iter().find(
            |import| matches!(import.outcome, Outcome::Found(index) if group.contains(&index)),
        );
        diagnostics.push(Diagnostic {
            severity: Severity::Warning,
            code: code::IMPORT_CYCLE,
            message: format!("these import each other: {}", ids.join(", ")),
            hint: "this is allowed; calls are stopped at a depth when they run".to_owned(),
            file: start.source.as_str().to_owned(),
            at: import.map(|import| import.import.at).unwrap_or_default(),
            field: import.map(|import| import.import.field.to_string()).unwrap_or_default(),
        });
    }
}

/// The strongly connected components of a graph, each sorted, those first that others point to.
///
/// Tarjan, "Depth-first search and linear graph algorithms" (1972), with its own stack, since the
/// depth is the user's.
pub(crate) fn components(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        edges,
        number: vec![None; edges.len()],
        low: vec![0; edges.len()],
        on_stack: vec![false; edges.len()],
        stack: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for node in 0..edges.len() {
        if search.number[node].is_none() {
            search.from(node);
        }
    }
    search.found
}

struct Search<'g> {
    edges: &'g [Vec<usize>],
    number: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    fn from(&mut self, start: usize) {
        self.enter(start);
        let mut work = vec![(start, 0)];
        while let Some((node, edge)) = work.pop() {
            match self.edges[node].get(edge) {
                Some(&to) => {
                    work.push((node, edge + 1));
                    match self.number[to] {
                        None => {
                            self.enter(to);
                            work.push((to, 0));
                        }
                        Some(number) if self.on_stack[to] => {
                            self.low[node] = self.low[node].min(number);
                        }
                        Some(_) => {}
                    }
                }
                None => {
                    if let Some((parent, _)) = work.last() {
                        self.low[*parent] = self.low[*parent].min(self.low[node]);
                    }
                    self.leave(node);
                }
            }
        }
    }

    fn enter(&mut self, node: usize) {
        self.number[node] = Some(self.next);
        self.low[node] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.on_stack[node] = true;
    }

    fn leave(&mut self, node: usize) {
        if self.number[node] != Some(self.low[node]) {
            return;
        }
        let mut group = Vec::new();
        while let Some(member) = self.stack.pop() {
            self.on_stack[member] = false;
            group.push(member);
            if member == node {
                break;
            }
        }
        group.sort_unstable();
        self.found.push(group);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_come_after_what_they_point_to() {
        let edges = vec![vec![1], vec![2], vec![1, 3], vec![], vec![4]];
        assert_eq!(components(&edges), [vec![3], vec![1, 2], vec![0], vec![4]]);
    }

    fn reaches(edges: &[Vec<usize>], from: usize, to: usize) -> bool {
        let (mut seen, mut work) = (vec![false; edges.len()], vec![from]);
        while let Some(node) = work.pop() {
            for next in &edges[node] {
                if *next == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[*next], true) {
                    work.push(*next);
                }
            }
        }
        false
    }

    proptest! {
        #[test]
        fn a_group_is_what_reaches_each_other(
            edges in proptest::collection::vec(proptest::collection::vec(0usize..8, 0..4), 8)
        ) {
            let groups = components(&edges);
            let group_of = |node| groups.iter().position(|group| group.contains(&node));
            for a in 0..8 {
                for b in 0..8 {
                    let together = a == b || (reaches(&edges, a, b) && reaches(&edges, b, a));
                    prop_assert_eq!(together, group_of(a) == group_of(b));
                }
            }
        }
    }
}
