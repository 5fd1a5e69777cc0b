//! Who follows which session, and what they are told after each commit.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::{
    journal::{Entry, SessionNo},
    ports::Standing,
};

/// What followers of a session are told.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A commit reached this standing. The entries come with it unless they are too large.
    Commit(Standing, Option<Arc<[Entry]>>),
    /// The session is gone.
    Deleted,
    /// The subscriber was too slow and missed notices.
    Missed,
}

/// Who follows which session.
#[derive(Debug)]
pub struct SessionHub {
    topics: Mutex<HashMap<SessionNo, broadcast::Sender<Notice>>>,
    capacity: usize,
}

impl SessionHub {
    /// A hub whose subscribers may fall `capacity` commits behind.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { topics: Mutex::default(), capacity })
    }

    /// Follows a session from now on.
    pub fn subscribe(self: &Arc<Self>, session: SessionNo) -> Subscription {
        let mut topics = self.lock();
        let topic = topics.entry(session).or_insert_with(|| broadcast::Sender::new(self.capacity));
        let receiver = topic.subscribe();
        Subscription { receiver, topic: topic.downgrade(), session, hub: Arc::clone(self) }
    }

    /// Tells the followers of `session`, if there are any, what `notice` makes.
    pub fn publish(&self, session: SessionNo, notice: impl FnOnce() -> Notice) {
        let topic = self.lock().get(&session).cloned();
        if let Some(topic) = topic {
            // Fails only when the last follower has just left.
            drop(topic.send(notice()));
        }
    }

    /// The sessions that are followed.
    pub fn followed(&self) -> Vec<SessionNo> {
        self.lock().keys().copied().collect()
    }

    /// Whether anybody follows a session.
    pub fn is_followed(&self, session: SessionNo) -> bool {
        self.lock().contains_key(&session)
    }

    /// Ends every subscription.
    pub fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionNo, broadcast::Sender<Notice>>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn topics(&self) -> usize {
        self.lock().len()
    }
}

/// One follower of a session. The session's topic ends with its last follower.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Notice>,
    topic: broadcast::WeakSender<Notice>,
    session: SessionNo,
    hub: Arc<SessionHub>,
}

impl Subscription {
    /// The next notice; none when storage has closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Notice> {
        match self.receiver.recv().await {
            Ok(notice) => Some(notice),
            Err(RecvError::Lagged(_)) => Some(Notice::Missed),
            Err(RecvError::Closed) => None,
        }
    }

    /// How many follow this session, this one included.
    pub fn followers(&self) -> usize {
        self.topic.upgrade().map_or(1, |topic| topic.receiver_count())
    }

    /// The next notice that is already there.
    pub fn ready(&mut self) -> Option<Notice> {
        match self.receiver.try_recv() {
            Ok(notice) => Some(notice),
            Err(TryRecvError::Lagged(_)) => Some(Notice::Missed),
            Err(TryRecvError::Empty | TryRecvError::Closed) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut topics = self.hub.lock();
        // This receiver is still counted.
        if topics.get(&self.session).is_some_and(|topic| topic.receiver_count() <= 1) {
            topics.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_topic_lives_as_long_as_its_followers() {
        let hub = SessionHub::new(2);
        let session = SessionNo(1);
        let mut first = hub.subscribe(session);
        let second = hub.subscribe(session);
        assert_eq!(first.followers(), 2);
        drop(second);
        assert_eq!(first.followers(), 1);
        hub.publish(session, || Notice::Deleted);
        assert!(matches!(first.next().await, Some(Notice::Deleted)));
        drop(first);
        assert_eq!(hub.topics(), 0);
        hub.publish(session, || unreachable!("nobody follows"));
    }

    #[tokio::test]
    async fn a_slow_follower_is_told_that_it_missed_something() {
        let hub = SessionHub::new(2);
        let mut follower = hub.subscribe(SessionNo(1));
        for _ in 0..5 {
            hub.publish(SessionNo(1), || Notice::Deleted);
        }
        assert!(matches!(follower.next().await, Some(Notice::Missed)));
        assert!(matches!(follower.ready(), Some(Notice::Deleted)));
    }
}
