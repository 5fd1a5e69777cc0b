//! Providers: the built-in model, and everything that speaks OpenAI's chat completions.

pub(crate) mod openai;
pub(crate) mod rehearsal;
