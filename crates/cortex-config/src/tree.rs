//! The merged configuration, in which every value knows who gave it.

use serde_json::{Number, Value};

use crate::{
    path::Step,
    problem::Origin,
    yaml::{Content, Node},
};

/// A value and who gave it.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) content: Branch,
    pub(crate) origin: Origin,
}

/// What a value holds.
#[derive(Debug, Clone)]
pub(crate) enum Branch {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    /// From the environment or a flag: its target's type decides what it is.
    Untyped(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// A serialised value, all of one origin.
    pub(crate) fn from_json(value: Value, origin: &Origin) -> Self {
        let below = |value| Self::from_json(value, origin);
        let content = match value {
            Value::Null => Branch::Null,
            Value::Bool(value) => Branch::Bool(value),
            Value::Number(value) => Branch::Number(value),
            Value::String(text) => Branch::Text(text),
            Value::Array(items) => Branch::List(items.into_iter().map(below).collect()),
            Value::Object(map) => {
                Branch::Map(map.into_iter().map(|(k, v)| (k, below(v))).collect())
            }
        };
        Self { content, origin: origin.clone() }
    }

    /// A YAML file's value. A map's entries stand where their keys stand.
    pub(crate) fn from_yaml(node: &Node, file: &std::path::Path) -> Self {
        let origin = |at| Origin::File { path: file.to_owned(), at };
        let content = match &node.content {
            Content::Null => Branch::Null,
            Content::Bool(value) => Branch::Bool(*value),
            Content::Number { value, .. } => Branch::Number(value.clone()),
            Content::Text(text) => Branch::Text(text.clone()),
            Content::List(items) => {
                Branch::List(items.iter().map(|item| Self::from_yaml(item, file)).collect())
            }
            Content::Map(entries) => Branch::Map(
                entries
                    .iter()
                    .map(|entry| {
                        let mut tree = Self::from_yaml(&entry.value, file);
                        if matches!(entry.value.content, Content::Map(_) | Content::Null) {
                            tree.origin = origin(entry.key_at);
                        }
                        (entry.key.clone(), tree)
                    })
                    .collect(),
            ),
        };
        Self { content, origin: origin(node.at) }
    }

    /// Lays `over` on top: maps merge key by key, anything else replaces. An empty section in a file
    /// (`llm:`) leaves what is below as it is.
    pub(crate) fn merge(&mut self, over: Tree) {
        match (&mut self.content, over.content) {
            (Branch::Map(_), Branch::Null) => {}
            (Branch::Map(below), Branch::Map(entries)) => {
                for (key, value) in entries {
                    match below.iter_mut().find(|(name, _)| *name == key) {
                        Some((_, tree)) => tree.merge(value),
                        None => below.push((key, value)),
                    }
                }
            }
            (slot, content) => {
                *slot = content;
                self.origin = over.origin;
            }
        }
    }

    /// Puts `text` at `steps`, making maps on the way.
    pub(crate) fn set(&mut self, steps: &[Step], text: &str, origin: &Origin) {
        let leaf = Tree { content: Branch::Untyped(text.to_owned()), origin: origin.clone() };
        let over = steps.iter().rev().fold(leaf, |tree, step| match step {
            Step::Key(key) => {
                Tree { content: Branch::Map(vec![(key.clone(), tree)]), origin: origin.clone() }
            }
            Step::Index(_) => tree,
        });
        self.merge(over);
    }

    /// The value behind `steps`, or the deepest one on the way to it.
    pub(crate) fn nearest(&self, steps: &[Step]) -> &Tree {
        let Some((step, rest)) = steps.split_first() else { return self };
        let next = match (step, &self.content) {
            (Step::Key(key), Branch::Map(entries)) => {
                entries.iter().find(|(name, _)| name == key).map(|(_, tree)| tree)
            }
            (Step::Index(index), Branch::List(items)) => items.get(*index),
            _ => None,
        };
        next.map_or(self, |tree| tree.nearest(rest))
    }

    /// Replaces the value behind `steps`, or takes it away. Says whether there was one.
    pub(crate) fn replace(&mut self, steps: &[Step], with: Option<&Tree>) -> bool {
        let Some((step, rest)) = steps.split_first() else {
            return false;
        };
        match (step, &mut self.content) {
            (Step::Key(key), Branch::Map(entries)) => {
                let Some(position) = entries.iter().position(|(name, _)| name == key) else {
                    return false;
                };
                match (rest.is_empty(), with) {
                    (false, _) => entries[position].1.replace(rest, with),
                    (true, Some(tree)) => {
                        entries[position].1 = tree.clone();
                        true
                    }
                    (true, None) => {
                        entries.remove(position);
                        true
                    }
                }
            }
            (Step::Index(index), Branch::List(items)) if *index < items.len() => {
                if !rest.is_empty() {
                    return items[*index].replace(rest, with);
                }
                items.remove(*index);
                true
            }
            _ => false,
        }
    }
}
