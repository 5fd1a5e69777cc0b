//! OpenAPI 3.1 of the same bindings that the transcoder answers.
//!
//! The order is that of the contracts: services as given, methods and fields as declared, schemas by
//! name. The same contracts make the same document, byte by byte.

mod comments;
mod operation;
mod parameters;
mod paths;
mod schemas;

use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};

use self::{comments::Comments, operation::Operations, schemas::Schemas};
use crate::{binding::Binding, error::BuildError, schema::Schema, transcoder::service_bindings};

/// What the document says about itself.
#[derive(Debug, Clone, Default)]
pub struct OpenApiInfo {
    /// Name of the API.
    pub title: String,
    /// Version of what serves it, such as `0.1.0`.
    pub version: String,
    /// What it is, in Markdown. Empty: nothing is said.
    pub description: String,
    /// URLs where it is served. Empty: where the document comes from.
    pub servers: Vec<String>,
}

/// The OpenAPI 3.1 document of the services of those full names.
///
/// # Errors
///
/// Those of [`Builder::build`](crate::Builder::build), but for conflicts.
///
/// # Examples
///
/// ```
/// use cortex_transcode::{OpenApiInfo, openapi};
///
/// let info = OpenApiInfo { title: "Storage".into(), version: "1".into(), ..Default::default() };
/// let pool = cortex_proto::descriptor_pool();
/// let document = openapi(pool, &["cortex.storage.v1.SessionService"], &info)?;
/// assert_eq!(document["openapi"], "3.1.0");
/// assert!(document["paths"]["/storage/sessions"]["post"].is_object());
/// # Ok::<(), cortex_transcode::BuildError>(())
/// ```
pub fn openapi(
    pool: &DescriptorPool,
    services: &[&str],
    info: &OpenApiInfo,
) -> Result<Value, BuildError> {
    let schema = Schema::new(pool);
    let comments = Comments::new(pool);
    let mut bindings: Vec<Binding> = Vec::new();
    for service in services {
        bindings.extend(service_bindings(&schema, service)?);
    }
    let mut schemas = Schemas::new(&schema, &comments, &bindings);
    let mut operations = Operations::new(&schema, &comments);
    for binding in &bindings {
        operations.add(binding, &mut schemas);
    }
    let mut document = Map::new();
    document.insert("openapi".to_owned(), json!("3.1.0"));
    document.insert("info".to_owned(), about(info));
    if !info.servers.is_empty() {
        let servers: Vec<_> = info.servers.iter().map(|url| json!({"url": url})).collect();
        document.insert("servers".to_owned(), servers.into());
    }
    document.insert("tags".to_owned(), tags(pool, &comments, services));
    document.insert("security".to_owned(), json!([{}, {"bearer": []}]));
    document.insert("paths".to_owned(), operations.finish());
    document.insert("components".to_owned(), components(schemas));
    Ok(Value::Object(document))
}

fn about(info: &OpenApiInfo) -> Value {
    let mut about = json!({"title": info.title, "version": info.version});
    if !info.description.is_empty() {
        about["description"] = json!(info.description);
    }
    about
}

fn tags(pool: &DescriptorPool, comments: &Comments, services: &[&str]) -> Value {
    let services = services.iter().filter_map(|name| pool.get_service_by_name(name));
    let tags = services.map(|service| {
        let mut tag = json!({"name": service.full_name()});
        if let Some(comment) = comments.get(&service.parent_file(), service.path()) {
            tag["description"] = json!(comment);
        }
        tag
    });
    tags.collect()
}

fn components(schemas: Schemas<'_>) -> Value {
    let error = json!({
        "description": "What went wrong, as Google's APIs tell it.",
        "headers": {
            "x-request-id": {
                "description": "The name of the request in logs.",
                "schema": {"type": "string"},
            },
            "retry-after": {
                "description": "Seconds after which trying again can help.",
                "schema": {"type": "integer"},
            },
        },
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    });
    json!({
        "schemas": schemas.finish(),
        "responses": {"Error": error},
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
    })
}
