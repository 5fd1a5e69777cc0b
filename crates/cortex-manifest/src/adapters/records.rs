//! Applied manifests as records of the storage service.

use std::time::Duration;

use cortex_proto::cortex::storage::v1::{
    DeleteRecordRequest, ListRecordsRequest, PutRecordRequest,
    record_service_client::RecordServiceClient,
};
use cortex_rpc::Transport;
use tonic::{Request, Status, async_trait};

use crate::{
    applied::PREFIX,
    ports::{AppliedStore, StoreError},
};

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Records of one page.
const PAGE: i32 = 100;

/// Applied manifests as records, one each.
#[derive(Clone)]
pub struct Records {
    client: RecordServiceClient<Transport>,
}

impl Records {
    /// Keeps manifests in the storage service behind `storage`.
    pub fn new(storage: Transport) -> Self {
        Self { client: RecordServiceClient::new(storage) }
    }
}

fn bounded<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(DEADLINE);
    request
}

fn failed(status: &Status) -> StoreError {
    StoreError(format!("{:?}: {}", status.code(), status.message()))
}

#[async_trait]
impl AppliedStore for Records {
    async fn load(&self) -> Result<Vec<(String, String)>, StoreError> {
        let (mut found, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                ListRecordsRequest { prefix: PREFIX.to_owned(), page_size: PAGE, page_token };
            let page = self.client.clone().list_records(bounded(request)).await;
            let page = page.map_err(|status| failed(&status))?.into_inner();
            for record in page.records {
                let text = String::from_utf8_lossy(&record.value).into_owned();
                found.push((record.key, text));
            }
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    async fn put(&self, key: &str, text: &str) -> Result<(), StoreError> {
        let request = PutRecordRequest {
            key: key.to_owned(),
            value: text.as_bytes().to_vec().into(),
            ..PutRecordRequest::default()
        };
        let done = self.client.clone().put_record(bounded(request)).await;
        done.map(|_| ()).map_err(|status| failed(&status))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let request = DeleteRecordRequest { key: key.to_owned(), expected_revision: None };
        let done = self.client.clone().delete_record(bounded(request)).await;
        done.map(|_| ()).map_err(|status| failed(&status))
    }
}
