//! The service as its callers have it: over gRPC with every layer of the mesh, and over OpenAI's API.

mod aimock;
mod faults;
mod openai_api;
mod rehearsal;
mod support;
mod upstream;
