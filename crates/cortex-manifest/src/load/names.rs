//! Which manifest has a name, where several want it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Broken, autoload::Autoload};
use crate::{
    diagnostic::{Diagnostic, Severity, code},
    kind::ManifestRef,
    manifest::{Manifest, Source},
};

/// The manifest of each name. The stronger layer wins, without a word: that is how a user replaces
/// what comes with the system. Within a layer, what `autoload.yml` lists wins, then what stands
/// nearer to the root, then the alphabet; the losers are reported, and can still be imported by path.
pub(super) fn settle(
    manifests: &[Arc<Manifest>],
    broken: &[Broken],
    autoload: &Autoload,
    diagnostics: &mut Vec<Diagnostic>,
) -> BTreeMap<ManifestRef, usize> {
    let mut order: Vec<usize> = (0..manifests.len()).collect();
    order.sort_by_key(|index| {
        let source = &manifests[*index].source;
        let (listed, depth) = match source {
            Source::File { path, .. } => (autoload.lists(path), path.depth()),
            Source::Applied => (true, 0),
        };
        (source.rank(), !listed, depth, source.as_str().to_owned(), *index)
    });
    let mut names: BTreeMap<ManifestRef, usize> = BTreeMap::new();
    for index in order {
        let manifest = &manifests[index];
        match names.get(manifest.id()) {
            None => {
                names.insert(manifest.id().clone(), index);
            }
            Some(winner) if manifests[*winner].source.rank() == manifest.source.rank() => {
                diagnostics.push(duplicate(manifest, &manifests[*winner]));
            }
            Some(_) => {}
        }
    }
    // What is broken in a stronger layer does not let the weaker one through unnoticed.
    for broken in broken {
        let winner = broken.id.as_ref().and_then(|id| Some((id, *names.get(id)?)));
        if let Some((id, winner)) = winner
            && broken.source.rank() < manifests[winner].source.rank()
        {
            names.remove(id);
        }
    }
    names
}

fn duplicate(manifest: &Manifest, winner: &Manifest) -> Diagnostic {
    let kind = manifest.id().kind.lower();
    let message = format!(
        "the {kind} '{}' is also declared in '{}', which has the name",
        manifest.id().name,
        winner.source.as_str()
    );
    Diagnostic {
        severity: Severity::Warning,
        code: code::DUPLICATE_NAME,
        message,
        hint: format!("rename one, or import this {kind} by its path"),
        file: manifest.source.as_str().to_owned(),
        at: Default::default(),
        field: "name".to_owned(),
    }
}
