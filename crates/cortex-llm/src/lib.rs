//! The router: completions from any provider, streamed.
