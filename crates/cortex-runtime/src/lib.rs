//! Scripts and workflows.
//!
//! The contracts of `cortex.runtime.v1` stand; what runs behind them comes with the workflow engine.
//! Until then every call answers UNIMPLEMENTED with the reason NOT_OFFERED. Arrows: cortex-rpc.
//!
//! ```
//! let server = cortex_rpc::Server::builder("runtime").forward(cortex_runtime::router()).build();
//! assert!(server.services().iter().any(|name| name == "cortex.runtime.v1.WorkflowService"));
//! ```

use cortex_rpc::{Router, not_offered};

/// The services of the runtime.
pub fn router() -> Router {
    Router::new()
        .route("cortex.runtime.v1.ScriptService", not_offered("scripts"))
        .route("cortex.runtime.v1.WorkflowService", not_offered("workflows"))
}
