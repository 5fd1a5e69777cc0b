//! What a write needs to know and is remembered, so that nothing has to be read for it.

use super::{
    cache::SessionKey,
    needs::{Needs, SessionNeeds},
    work::Work,
};

impl Work {
    /// Takes what `needs` names out of the cache, as loading it would. False when something must be read: then
    /// nothing is taken.
    pub(super) fn recall(&mut self, needs: &Needs) -> bool {
        let known = self.knows(needs);
        if known {
            for key in needs.sessions.keys() {
                self.recall_session(key);
            }
            for name in &needs.names {
                if let Some(number) = self.cache.names.take(name) {
                    self.read.names.insert(name.clone(), number);
                }
            }
        }
        known
    }

    fn recall_session(&mut self, key: &SessionKey) {
        if let Some(session) = self.cache.ids.take(key) {
            self.read.ids.insert(key.clone(), session);
            if let Some(owned) = self.cache.heads.take(&session) {
                self.read.heads.insert(session, owned);
            }
        }
    }

    fn knows(&self, needs: &Needs) -> bool {
        let Needs {
            careful,
            sessions,
            executions,
            // All of them are remembered.
            holders: _,
            held,
            // The next number is remembered.
            new_sessions: _,
            names,
            creations,
            staged,
            records,
            metric_requests,
            caches,
            cached,
            least_used,
            purges,
            artifacts,
            deletes_bytes,
        } = needs;
        let nothing_else = !careful
            && !deletes_bytes
            && executions.is_empty()
            && held.is_empty()
            && creations.is_empty()
            && staged.is_empty()
            && records.is_empty()
            && metric_requests.is_empty()
            && caches.is_empty()
            && cached.is_empty()
            && least_used.is_empty()
            && purges.is_empty()
            && artifacts.is_empty();
        nothing_else
            && sessions.iter().all(|(key, needs)| self.knows_session(key, needs))
            && names.iter().all(|name| {
                self.read.names.contains_key(name) || self.cache.names.get(name).is_some()
            })
    }

    fn knows_session(&self, key: &SessionKey, needs: &SessionNeeds) -> bool {
        let SessionNeeds { requests, calls, messages, state, description, parts } = needs;
        let only_head = requests.is_empty()
            && calls.is_empty()
            && messages.is_empty()
            && !state
            && !description
            && !parts;
        let session = self.read.ids.get(key).or_else(|| self.cache.ids.get(key));
        only_head
            && session.is_some_and(|session| {
                self.read.heads.contains_key(session) || self.cache.heads.get(session).is_some()
            })
    }
}
