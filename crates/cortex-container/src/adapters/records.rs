//! Intents as records of the storage service: `container/intents/<execution>`.

use std::time::Duration;

use bytes::Bytes;
use cortex_core::ExecutionId;
use cortex_proto::cortex::storage::v1::{
    DeleteRecordRequest, ListRecordsRequest, PutRecordRequest, Record,
    record_service_client::RecordServiceClient,
};
use cortex_rpc::{CallContext, Transport, fault, outgoing};
use serde::{Deserialize, Serialize};
use tonic::{Request, Status};

use crate::{
    error::ContainerError,
    ports::{Incarnation, Intent, Intents},
};

const PREFIX: &str = "container/intents/";
/// For one call.
const LIMIT: Duration = Duration::from_secs(10);

/// Intents in storage, for one incarnation of this service.
pub(crate) struct RecordIntents {
    client: RecordServiceClient<Transport>,
    incarnation: Incarnation,
}

/// An intent as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    instance: String,
    claimant_id: String,
    tool: String,
}

impl RecordIntents {
    /// The intents behind `storage`.
    pub(crate) fn new(storage: Transport, incarnation: Incarnation) -> Self {
        Self { client: RecordServiceClient::new(storage), incarnation }
    }

    fn intent(&self, record: &Record) -> Option<Intent> {
        let stored: Stored = serde_json::from_slice(&record.value).ok()?;
        let execution_id = ExecutionId::parse(record.key.strip_prefix(PREFIX)?).ok()?;
        let ours = stored.instance == self.incarnation.instance;
        ours.then_some(Intent { execution_id, claimant: stored.claimant_id })
    }
}

#[tonic::async_trait]
impl Intents for RecordIntents {
    async fn put(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
        tool: &str,
    ) -> Result<(), ContainerError> {
        let stored = Stored {
            instance: self.incarnation.instance.clone(),
            claimant_id: self.incarnation.claimant.to_string(),
            tool: tool.to_owned(),
        };
        let value = serde_json::to_vec(&stored)
            .map_err(|error| ContainerError::Internal(error.to_string()))?;
        let request = PutRecordRequest {
            key: format!("{PREFIX}{execution_id}"),
            value: Bytes::from(value),
            ..Default::default()
        };
        self.client.clone().put_record(bounded(cx, request)).await.map_err(|e| upstream(&e))?;
        Ok(())
    }

    async fn delete(
        &self,
        cx: &CallContext,
        execution_id: &ExecutionId,
    ) -> Result<(), ContainerError> {
        let request =
            DeleteRecordRequest { key: format!("{PREFIX}{execution_id}"), expected_revision: None };
        self.client.clone().delete_record(bounded(cx, request)).await.map_err(|e| upstream(&e))?;
        Ok(())
    }

    async fn list(&self, cx: &CallContext) -> Result<Vec<Intent>, ContainerError> {
        let mut intents = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = ListRecordsRequest { prefix: PREFIX.into(), page_size: 1000, page_token };
            let page = self.client.clone().list_records(bounded(cx, request)).await;
            let page = page.map_err(|error| upstream(&error))?.into_inner();
            intents.extend(page.records.iter().filter_map(|record| self.intent(record)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(intents);
            }
        }
    }
}

fn bounded<T>(cx: &CallContext, message: T) -> Request<T> {
    let mut request = outgoing(cx, message);
    request.set_timeout(LIMIT);
    request
}

fn upstream(status: &Status) -> ContainerError {
    ContainerError::Upstream { service: "storage", fault: Box::new(fault(status)) }
}
