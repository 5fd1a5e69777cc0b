//! What was used lately, within a bound: a map that forgets what was not used for longest.

use std::collections::HashMap;

/// Values by digest, of at most `capacity` in weight.
#[derive(Debug)]
pub struct Recent<V> {
    values: HashMap<String, Kept<V>>,
    capacity: u64,
    weight: u64,
    clock: u64,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    weight: u64,
    used: u64,
}

impl<V: Clone> Recent<V> {
    /// An empty map.
    pub fn new(capacity: u64) -> Self {
        Self { values: HashMap::new(), capacity, weight: 0, clock: 0 }
    }

    /// The value of `key`, which is then the last one used.
    pub fn get(&mut self, key: &str) -> Option<V> {
        self.clock += 1;
        let kept = self.values.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.value.clone())
    }

    /// Keeps a value. One that is heavier than the whole map is not kept.
    pub fn put(&mut self, key: &str, value: V, weight: u64) {
        if weight > self.capacity {
            return;
        }
        self.clock += 1;
        let kept = Kept { value, weight, used: self.clock };
        self.weight += weight;
        if let Some(before) = self.values.insert(key.to_owned(), kept) {
            self.weight -= before.weight;
        }
        while self.weight > self.capacity {
            let oldest = self.values.iter().min_by_key(|(_, kept)| kept.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else { break };
            if let Some(kept) = self.values.remove(&key) {
                self.weight -= kept.weight;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut recent = Recent::new(3);
        recent.put("a", 1, 1);
        recent.put("b", 2, 1);
        recent.put("c", 3, 1);
        assert_eq!(recent.get("a"), Some(1));
        recent.put("d", 4, 1);
        assert_eq!((recent.get("a"), recent.get("b"), recent.get("c")), (Some(1), None, Some(3)));
        recent.put("big", 5, 4);
        assert_eq!(recent.get("big"), None);
        recent.put("e", 6, 3);
        assert_eq!((recent.get("a"), recent.get("e")), (None, Some(6)));
        recent.put("e", 7, 2);
        recent.put("f", 8, 1);
        assert_eq!((recent.get("e"), recent.get("f")), (Some(7), Some(8)));
    }
}
