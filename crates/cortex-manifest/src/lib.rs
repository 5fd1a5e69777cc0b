//! The registry: manifests parsed, resolved, bundled and watched.
