//! The services that the agent service calls.

use cortex_proto::cortex::{
    container::v1::tool_service_client::ToolServiceClient,
    llm::v1::completion_service_client::CompletionServiceClient,
    manifest::v1::manifest_service_client::ManifestServiceClient,
    storage::v1::{
        history_service_client::HistoryServiceClient, journal_service_client::JournalServiceClient,
        record_service_client::RecordServiceClient, session_service_client::SessionServiceClient,
        state_service_client::StateServiceClient,
    },
};
use cortex_rpc::Transport;

/// Bytes of one message between services at most: a page of history is larger than tonic's default.
const MAX_MESSAGE: usize = 64 << 20;

/// The services that the agent service calls. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    pub(crate) journal: JournalServiceClient<Transport>,
    pub(crate) sessions: SessionServiceClient<Transport>,
    pub(crate) history: HistoryServiceClient<Transport>,
    pub(crate) state: StateServiceClient<Transport>,
    pub(crate) records: RecordServiceClient<Transport>,
    pub(crate) completions: CompletionServiceClient<Transport>,
    pub(crate) manifests: ManifestServiceClient<Transport>,
    pub(crate) tools: ToolServiceClient<Transport>,
}

impl Clients {
    /// Clients over one transport for each service.
    pub fn new(
        storage: Transport,
        manifest: Transport,
        llm: Transport,
        container: Transport,
    ) -> Self {
        Self {
            journal: JournalServiceClient::new(storage.clone())
                .max_decoding_message_size(MAX_MESSAGE),
            sessions: SessionServiceClient::new(storage.clone()),
            history: HistoryServiceClient::new(storage.clone())
                .max_decoding_message_size(MAX_MESSAGE),
            state: StateServiceClient::new(storage.clone()).max_decoding_message_size(MAX_MESSAGE),
            records: RecordServiceClient::new(storage).max_decoding_message_size(MAX_MESSAGE),
            completions: CompletionServiceClient::new(llm).max_decoding_message_size(MAX_MESSAGE),
            manifests: ManifestServiceClient::new(manifest).max_decoding_message_size(MAX_MESSAGE),
            tools: ToolServiceClient::new(container).max_decoding_message_size(MAX_MESSAGE),
        }
    }
}
