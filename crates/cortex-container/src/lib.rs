//! The Docker wrangler: tools and relics in locked-down containers.
