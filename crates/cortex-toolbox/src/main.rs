//! The bundled example tools, and the agent that runs inside containers.
fn main() {}
