//! One origin for every service, and the web UI.
