//! `cortex up`: every service in this process.

use cortex_proto::cortex::{
    llm::v1::{ListProvidersRequest, provider_service_client::ProviderServiceClient},
    manifest::v1::{
        GetRegistryStatusRequest, ListManifestsRequest,
        manifest_service_client::ManifestServiceClient,
    },
};
use cortex_telemetry::Guard;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{DEFAULT_URL, Global, Service, Up},
    connect::short,
    data_dir::DataDir,
    exit::Failure,
    output::{Output, Style},
    services::{self, Bound, Parts, Peers},
    settings::{self, Settings},
};

/// Logs and traces, as configured.
pub fn telemetry(settings: &Settings) -> Result<Guard, Failure> {
    cortex_telemetry::init(&settings.telemetry)
        .map_err(|error| Failure::other(format!("telemetry: {error}")))
}

/// Runs every service until a signal.
pub async fn run(global: &Global, up: Up) -> Result<(), Failure> {
    let mut settings = settings::load(global, Some(&up.serving))?.value;
    use_local_manifests(&mut settings);
    let telemetry = telemetry(&settings)?;
    let output = Output::new(global);
    output.progress("starting…");
    let data_dir = DataDir::take(&settings.data_dir()?)?;
    let mut peers = Peers::in_process(&settings);
    let mut built = Vec::new();
    for service in Service::ALL {
        let parts = Parts { settings: &settings, data_dir: Some(&data_dir), peers: &peers };
        let service = services::build(service, &parts).await?;
        peers.add(&service);
        built.push(service);
    }
    let bound = services::bind(built, settings.host, settings.port_offset).await?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone(), Output::new(global)));
    output.clear();
    let summary = summary(&output, &settings, &data_dir, &peers, &bound).await;
    let serving = services::run(bound, stop);
    output.line(&summary)?;
    serving.await;
    telemetry.shutdown().await;
    Ok(())
}

async fn stop_on_signal(stop: CancellationToken, output: Output) {
    cortex_rpc::shutdown_on_signal().await;
    output.note("\nstopping: open turns may end first; a second Ctrl-C stops at once");
    stop.cancel();
}

/// A directory `manifests` beside the user is what they mean, unless they say otherwise.
fn use_local_manifests(settings: &mut Settings) {
    let here = std::env::current_dir().map(|directory| directory.join("manifests"));
    if let (None, Ok(here)) = (&settings.manifest.root, here)
        && here.is_dir()
    {
        settings.manifest.root = Some(here.to_string_lossy().into_owned());
    }
}

/// Where everything is, what is missing, and what to try next.
async fn summary(
    output: &Output,
    settings: &Settings,
    data_dir: &DataDir,
    peers: &Peers,
    bound: &[Bound],
) -> String {
    let mut lines =
        vec![output.styled(Style::Bold, &format!("Cortex-Prime {}", env!("CARGO_PKG_VERSION")))];
    let gateway = bound.iter().find(|bound| bound.service == Service::Gateway);
    let url = gateway
        .and_then(|bound| bound.addresses.first())
        .map_or_else(String::new, |address| format!("http://{address}"));
    for bound in bound.iter().rev() {
        let addresses: Vec<String> =
            bound.addresses.iter().map(|address| format!("http://{address}")).collect();
        lines.push(format!("  {:<10} {}", bound.service.name(), addresses.join("  ")));
    }
    lines.push(format!("  {:<10} {}", "data", data_dir.path().display()));
    lines.push(format!("  {:<10} {}", "manifests", manifests(settings, peers).await));
    let missing = missing(peers).await;
    if !missing.is_empty() {
        lines.push(String::new());
        lines.push(output.styled(Style::Attention, "missing"));
        lines.extend(missing.iter().map(|(what, how)| format!("  {what:<10} {how}")));
    }
    lines.push(String::new());
    lines.push(output.styled(Style::Bold, "try"));
    lines.extend(suggestions(&url, &example_agent(peers).await));
    lines.join("\n")
}

async fn manifests(settings: &Settings, peers: &Peers) -> String {
    let root = settings.manifest.root.clone().unwrap_or_else(|| "bundled".to_owned());
    let mut client = ManifestServiceClient::new(peers.get(Service::Manifest));
    let Ok(status) = client.get_registry_status(short(GetRegistryStatusRequest {})).await else {
        return root;
    };
    let status = status.into_inner();
    let mut counts: Vec<String> = status
        .by_type
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    counts.sort();
    let wrong = match status.diagnostics.len() {
        0 => String::new(),
        n => format!("; {n} remarks, see /registry/status"),
    };
    format!("{root}: {}{wrong}", counts.join(", "))
}

/// What is missing, and how to get it.
async fn missing(peers: &Peers) -> Vec<(&'static str, String)> {
    let mut missing = Vec::new();
    if let Err(how) = peers.engine().await {
        missing.push(("docker", how));
    }
    let mut providers = ProviderServiceClient::new(peers.get(Service::Llm));
    let listed = providers.list_providers(short(ListProvidersRequest::default())).await;
    let usable = |answer: tonic::Response<cortex_proto::cortex::llm::v1::ListProvidersResponse>| {
        answer.into_inner().providers.iter().any(|p| p.available && p.dialect != "rehearsal")
    };
    if !listed.is_ok_and(usable) {
        let how = "no provider: the built-in rehearsal model answers. Set OPENAI_API_KEY or \
                   GROQ_API_KEY, or start Ollama";
        missing.push(("model", how.to_owned()));
    }
    missing
}

/// An agent to try: `assistant` if it is there, else the first by name.
async fn example_agent(peers: &Peers) -> String {
    let mut client = ManifestServiceClient::new(peers.get(Service::Manifest));
    let request = ListManifestsRequest { kind: "Agent".to_owned(), ..Default::default() };
    let listed = client.list_manifests(short(request)).await;
    let agents = listed.map(|answer| answer.into_inner().manifests).unwrap_or_default();
    let usual = agents.iter().find(|agent| agent.name == "assistant");
    usual.or(agents.first()).map_or_else(|| "assistant".to_owned(), |agent| agent.name.clone())
}

fn suggestions(url: &str, agent: &str) -> [String; 3] {
    let at = if url == DEFAULT_URL { String::new() } else { format!("--url {url} ") };
    [
        format!("  cortex {at}chat {agent} \"use the calculator to multiply 6 by 7\""),
        format!(
            "  curl -X POST {url}/agent/{agent}/session -H 'Content-Type: application/json' -d '{{}}'"
        ),
        format!("  cortex {at}call AgentService/ListAgents"),
    ]
}
