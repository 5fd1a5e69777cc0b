//! The conductor: sessions, turns, and the loop of model and tools.
