//! Configuration: load, merge, validate, print. Knows nothing of the sections it carries.
//!
//! Layers, weakest first: defaults, one YAML file, environment, flags. Every problem of a
//! configuration is reported at once, each with the place that caused it.
//!
//! A configuration type derives `Deserialize` and `Serialize`, carries `#[serde(default)]` on every
//! struct, avoids `#[serde(flatten)]` (it hides which keys are known), and implements [`Validate`]
//! for what types cannot say. Arrows: cortex-core.
//!
//! ```
//! use cortex_config::{Alias, KeyPath, Loader, Problems, Validate};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! #[serde(default)]
//! struct Config {
//!     port: u16,
//! }
//!
//! impl Default for Config {
//!     fn default() -> Self {
//!         Self { port: 8080 }
//!     }
//! }
//!
//! impl Validate for Config {
//!     fn validate(&self, problems: &mut Problems, path: &KeyPath) {
//!         if self.port == 0 {
//!             problems.add(path.key("port"), "must not be 0");
//!         }
//!     }
//! }
//!
//! let loaded = Loader::new()
//!     .aliases(&[Alias::new("PORT", "port")])
//!     .env([("PORT".to_owned(), "9000".to_owned())])
//!     .load::<Config>()
//!     .expect("the configuration is valid");
//! assert_eq!(loaded.value.port, 9000);
//! assert_eq!(loaded.origin("port").to_string(), "environment PORT");
//! ```

mod de;
mod loaded;
mod loader;
mod path;
mod print;
mod problem;
mod quantity;
mod secret;
mod suggest;
mod tree;
pub mod yaml;

pub use loaded::Loaded;
pub use loader::{Alias, FileChoice, Loader};
pub use path::{KeyPath, Step};
pub use problem::{Origin, Problem, Problems, Validate};
pub use quantity::{ByteSize, Duration};
pub use secret::SecretString;
pub use suggest::{closest, did_you_mean};
