//! Maps whose hashes cost little: for each write several keys are looked up. The maps hold no more than a
//! batch or a cache of bounded size, and their seeds are random.

use foldhash::fast::RandomState;

pub(super) type HashMap<K, V> = std::collections::HashMap<K, V, RandomState>;
pub(super) type HashSet<K> = std::collections::HashSet<K, RandomState>;
pub(super) type IndexMap<K, V> = indexmap::IndexMap<K, V, RandomState>;
pub(super) type IndexSet<K> = indexmap::IndexSet<K, RandomState>;
