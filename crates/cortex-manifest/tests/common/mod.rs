//! A manifest service, and a storage service that keeps records in memory.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use cortex_core::SystemClock;
use cortex_manifest::{ManifestConfig, ManifestRole};
use cortex_proto::cortex::{
    manifest::v1::{manifest_service_client::ManifestServiceClient, *},
    storage::v1::{
        record_service_server::{RecordService, RecordServiceServer},
        *,
    },
};
use cortex_rpc::Transport;
use futures::{StreamExt, stream::BoxStream};
use tonic::{Request, Response, Status};

pub const AGENT: &str = "kind: Agent\nversion: '1.0'\nsummary: An agent\nstate: stable\n";
pub const TOOL: &str =
    "kind: Tool\nversion: '1.0'\nsummary: A tool\nstate: stable\nimplementation: {type: toolbox}\n";

/// A small library: an agent with a sub-agent, two tools and a workflow that starts the agent.
pub fn files() -> Vec<(String, Vec<u8>)> {
    [
        (
            "agents/helper/agent.yml",
            "kind: Agent
version: '1.0'
name: helper
summary: Helps
state: stable
persona:
  agent: ./prompts/helper.md
  knowledge: ./prompts/knowledge.md
  user: ./prompts/user.md
cognitive_engine:
  primary: {provider: google, model: gemini-1.5-flash}
  parameters:
    temperature: 0.5
    extra_params: {seed_text: 9007199254740993}
import:
  agents: [./agents/scout]
  tools:
    - ../../tools/counter/tool.yml
    - clock
  workflows: ../../workflow/dig.workflow.yml
  monuments: null
  relics:
environment:
  variables:
    WORKSPACE: $HOME/agents/$AGENT_NAME
    PORT: 8080
",
        ),
        ("agents/helper/prompts/helper.md", "You are ${{AGENT_NAME}}.\n"),
        ("agents/helper/prompts/knowledge.md", "You know a lot.\n"),
        ("agents/helper/prompts/user.md", "Be kind.\n"),
        (
            "agents/helper/agents/scout/agent.yml",
            "kind: Agent
version: '1.0'
name: scout
summary: Looks around
persona: {agent: prompt.md}
",
        ),
        ("agents/helper/agents/scout/prompt.md", "You look around."),
        (
            "tools/counter/tool.yml",
            "kind: Tool
version: '1.0'
name: counter
summary: Counts
state: stable
description: Counts what is in a text
parameters:
  - name: text
    type: string
    description: What to count
    required: true
    validation: {min_length: 1}
  - name: unit
    type: string
    enum: [words, letters]
    default: words
  - {name: deep, type: bool, default: no}
implementation:
  type: script
  runtime: python3
  entrypoint: ./main.py
  on_lost: retry
  resources: {memory: 128M, cpu: '0.5', timeout: 30}
x-unknown: {z: 1, a: 9007199254740993}
",
        ),
        ("tools/counter/main.py", "print(1)"),
        ("tools/counter/data/words.txt", "words"),
        ("tools/counter/main.pyc", "compiled"),
        ("tools/clock/tool.yml", "kind: Tool\nversion: '1.0'\nname: clock\nsummary: Tells the time\nstate: stable\nimplementation: {type: toolbox}\n"),
        (
            "workflow/dig.workflow.yml",
            "kind: Workflow
version: '1.0'
name: dig
summary: Digs
trigger:
  type: manual
  parameters:
    query: {type: string, required: true}
steps:
  - {name: ask, type: agent, target: helper, parameters: {query: $(trigger.query)}}
import:
  agents: [helper]
",
        ),
        ("README.md", "# Not a manifest\n"),
        ("docker-compose.yml", "services: {web: {image: nginx}}\n"),
        (".env", "SECRET=1"),
    ]
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .to_vec()
}

pub struct Mesh {
    pub role: ManifestRole,
    transport: Transport,
}

impl Mesh {
    pub async fn open(files: Vec<(String, Vec<u8>)>) -> Self {
        Self::build(ManifestConfig::default(), files, None).await
    }

    pub async fn with_store(files: Vec<(String, Vec<u8>)>, store: &Store) -> Self {
        let transport = cortex_rpc::local(RecordServiceServer::new(store.clone()));
        Self::build(ManifestConfig::default(), files, Some(transport)).await
    }

    pub async fn in_directory(root: &Path, files: &[(String, Vec<u8>)]) -> Self {
        for (path, bytes) in files {
            let file = root.join(path);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("directories");
            std::fs::write(file, bytes).expect("the file is written");
        }
        Self::build(config(root), Vec::new(), None).await
    }

    pub async fn build(
        config: ManifestConfig,
        files: Vec<(String, Vec<u8>)>,
        storage: Option<Transport>,
    ) -> Self {
        let clock = Arc::new(SystemClock);
        let role = ManifestRole::open(config, files, storage, Vec::new(), clock);
        let role = role.await.expect("the registry opens");
        let transport = cortex_rpc::local(role.manifest_service());
        Self { role, transport }
    }

    pub fn client(&self) -> ManifestServiceClient<Transport> {
        ManifestServiceClient::new(self.transport.clone())
    }

    pub async fn resolve(&self, name: &str) -> Result<AgentClosure, Status> {
        let request = ResolveAgentRequest { name: name.into(), digest: String::new() };
        let response = self.client().resolve_agent(request).await?;
        Ok(response.into_inner().closure.expect("a closure"))
    }

    pub async fn tool(&self, name: &str) -> Result<ToolSpec, Status> {
        let request = ResolveToolRequest { name: name.into(), closure_digest: String::new() };
        let response = self.client().resolve_tool(request).await?;
        Ok(response.into_inner().tool.expect("a tool"))
    }

    pub async fn bundle(&self, digest: &str) -> Result<Vec<u8>, Status> {
        let request = GetBundleRequest { digest: digest.into() };
        let mut stream = self.client().get_bundle(request).await?.into_inner();
        let mut archive = Vec::new();
        while let Some(piece) = stream.next().await {
            archive.extend_from_slice(&piece?.data);
        }
        Ok(archive)
    }

    pub async fn status(&self) -> GetRegistryStatusResponse {
        let response = self.client().get_registry_status(GetRegistryStatusRequest {}).await;
        response.expect("answered").into_inner()
    }
}

pub fn config(root: &Path) -> ManifestConfig {
    let root = root.to_str().expect("UTF-8").to_owned();
    ManifestConfig { root: Some(root), ..ManifestConfig::default() }
}

pub fn store() -> Store {
    Store::default()
}

/// A storage service that keeps records in memory, a page of one at a time.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<BTreeMap<String, Record>>>);

#[tonic::async_trait]
impl RecordService for Store {
    async fn get_record(
        &self,
        _: Request<GetRecordRequest>,
    ) -> Result<Response<GetRecordResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let request = request.into_inner();
        let records = self.0.lock().expect("no panic");
        let mut matching = records
            .values()
            .filter(|r| r.key.starts_with(&request.prefix) && r.key > request.page_token);
        let records: Vec<Record> = matching.next().cloned().into_iter().collect();
        let next_page_token =
            records.last().filter(|_| matching.next().is_some()).map(|r| r.key.clone());
        Ok(Response::new(ListRecordsResponse {
            records,
            next_page_token: next_page_token.unwrap_or_default(),
            revision: 1,
        }))
    }

    async fn put_record(
        &self,
        request: Request<PutRecordRequest>,
    ) -> Result<Response<PutRecordResponse>, Status> {
        let request = request.into_inner();
        let record = Record { key: request.key.clone(), value: request.value, ..Record::default() };
        self.0.lock().expect("no panic").insert(request.key, record.clone());
        Ok(Response::new(PutRecordResponse { record: Some(record) }))
    }

    async fn delete_record(
        &self,
        request: Request<DeleteRecordRequest>,
    ) -> Result<Response<DeleteRecordResponse>, Status> {
        let deleted = self.0.lock().expect("no panic").remove(&request.into_inner().key).is_some();
        Ok(Response::new(DeleteRecordResponse { deleted, revision: 1 }))
    }

    type WatchRecordsStream = BoxStream<'static, Result<WatchRecordsResponse, Status>>;

    async fn watch_records(
        &self,
        _: Request<WatchRecordsRequest>,
    ) -> Result<Response<Self::WatchRecordsStream>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}
