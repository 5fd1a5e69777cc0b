//! The tree of manifests: layers of files, of which the first that has a path wins.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    path::TreePath,
    ports::{Files, FilesError, Listing},
};

/// Which layer of the tree a file is in. The first is the strongest.
pub type Layer = usize;

/// Layers of files, listed at one moment. Contents are read when they are asked for.
#[derive(Clone, Default)]
pub struct FileTree {
    layers: Vec<(Arc<dyn Files>, Listing)>,
    root_aliases: Vec<String>,
}

impl FileTree {
    /// Lists every layer, the strongest first. `root_aliases` are absolute paths that mean the root.
    ///
    /// # Errors
    /// [`FilesError`] when a layer cannot be listed at all.
    pub fn list(layers: &[Arc<dyn Files>], root_aliases: Vec<String>) -> Result<Self, FilesError> {
        let layers = layers
            .iter()
            .map(|files| Ok((files.clone(), files.list()?)))
            .collect::<Result<_, FilesError>>()?;
        Ok(Self { layers, root_aliases })
    }

    /// Every file, each with the layer that wins it.
    pub fn files(&self) -> BTreeMap<&TreePath, Layer> {
        let mut files = BTreeMap::new();
        for (layer, (_, listing)) in self.layers.iter().enumerate().rev() {
            files.extend(listing.files.keys().map(|path| (path, layer)));
        }
        files
    }

    /// What was left out of the listing, and why.
    pub fn skipped(&self) -> impl Iterator<Item = &(TreePath, String)> {
        self.layers.iter().flat_map(|(_, listing)| &listing.skipped)
    }

    /// The layer that has a file.
    pub fn layer_of(&self, path: &TreePath) -> Option<Layer> {
        self.layers.iter().position(|(_, listing)| listing.files.contains_key(path))
    }

    /// Whether something lies below `path`.
    pub fn is_directory(&self, path: &TreePath) -> bool {
        self.layers.iter().any(|(_, listing)| {
            listing.files.keys().any(|file| file != path && file.is_within(path))
        })
    }

    /// The content of a file, and the layer it came from.
    ///
    /// # Errors
    /// [`FilesError`], that of the strongest layer.
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<(Layer, Vec<u8>), FilesError> {
        if let Some(layer) = self.layer_of(path) {
            return Ok((layer, self.layers[layer].0.read(path, limit)?));
        }
        let mut first = None;
        for (layer, (files, _)) in self.layers.iter().enumerate() {
            match files.read(path, limit) {
                Ok(bytes) => return Ok((layer, bytes)),
                Err(error) => {
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| FilesError::NotFound(path.clone())))
    }

    /// The files of one layer below `directory`, with their sizes.
    pub fn below(&self, layer: Layer, directory: &TreePath) -> Vec<(TreePath, u64)> {
        let Some((_, listing)) = self.layers.get(layer) else { return Vec::new() };
        let files = listing.files.iter().filter(|(path, _)| path.is_within(directory));
        files.map(|(path, size)| (path.clone(), *size)).collect()
    }

    /// The content of a file of one layer.
    ///
    /// # Errors
    /// [`FilesError`].
    pub fn read_from(
        &self,
        layer: Layer,
        path: &TreePath,
        limit: u64,
    ) -> Result<Vec<u8>, FilesError> {
        match self.layers.get(layer) {
            Some((files, _)) => files.read(path, limit),
            None => Err(FilesError::NotFound(path.clone())),
        }
    }

    /// The path in the tree that an absolute path means, if it means one.
    pub fn in_tree(&self, absolute: &str) -> Option<TreePath> {
        let alias = self.root_aliases.iter().find_map(|alias| {
            let rest = absolute.strip_prefix(alias.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/'))
        });
        match alias {
            Some(rest) => TreePath::parse(rest).ok(),
            None => self.layers.iter().find_map(|(files, _)| files.in_tree(absolute)),
        }
    }
}

impl std::fmt::Debug for FileTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let titles: Vec<_> = self.layers.iter().map(|(files, _)| files.title()).collect();
        f.debug_struct("FileTree").field("layers", &titles).finish_non_exhaustive()
    }
}
