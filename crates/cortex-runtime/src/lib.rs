//! Scripts and workflows.
