//! S3 and what speaks like it.

use std::{sync::Arc, time::Duration};

use object_store::{BackoffConfig, ObjectStore, RetryConfig, aws::AmazonS3Builder};

use super::http::Connector;
use crate::{
    config::S3Config,
    error::{Result, StorageError},
};

/// Failed requests that can be repeated are, this often.
const RETRIES: usize = 4;
/// How long the tries of one request may take together.
const RETRY_TIME: Duration = Duration::from_secs(60);

/// A bucket. Nothing is asked yet.
///
/// # Errors
/// `Invalid` when the configuration makes no sense.
pub(super) fn open(config: &S3Config, bucket: &str) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_region(&config.region)
        .with_virtual_hosted_style_request(config.virtual_hosted)
        .with_retry(retry())
        .with_http_connector(Connector);
    if let Some(endpoint) = &config.endpoint {
        // The operator named it: without TLS if that is what it says.
        let plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint.trim_end_matches('/')).with_allow_http(plain);
    }
    if let (Some(id), Some(key)) = (&config.access_key_id, &config.secret_access_key) {
        builder = builder.with_access_key_id(id).with_secret_access_key(key.expose());
    }
    if let Some(token) = &config.session_token {
        builder = builder.with_token(token.expose());
    }
    let bucket = builder.build();
    let bucket = bucket.map_err(|error| {
        StorageError::invalid("storage.artifacts.s3", cortex_rpc::chain(&error))
    })?;
    Ok(Arc::new(bucket))
}

fn retry() -> RetryConfig {
    let backoff = BackoffConfig { max_backoff: Duration::from_secs(5), ..Default::default() };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: RETRY_TIME }
}
