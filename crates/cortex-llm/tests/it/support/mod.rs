//! What the tests share: an upstream that plays scripts, and the service as its callers have it.

pub(crate) mod aimock;
pub(crate) mod upstream;

use std::time::Duration;

use cortex_llm::{EndpointConfig, Llm, LlmConfig};
use cortex_proto::cortex::llm::v1::{
    CompleteRequest, CompleteResponse, Message, Role, Tool, complete_response::Event,
    completion_service_client::CompletionServiceClient,
    provider_service_client::ProviderServiceClient,
};
use cortex_rpc::{Server, Transport};
use tonic::Status;

use self::upstream::Upstream;

/// How long a test waits for anything before it is a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The service with every layer of the mesh, in this process.
pub(crate) fn transport(config: &LlmConfig) -> Transport {
    let llm = Llm::new(config).expect("a valid configuration");
    llm.install(Server::builder("llm")).build().transport()
}

/// A configuration in which nothing of the machine that runs the tests is found.
pub(crate) fn isolated() -> LlmConfig {
    let mut config = LlmConfig::default();
    config.ollama.enabled = false;
    config
}

/// A configuration with `openai` at a base URL.
pub(crate) fn with_openai(base_url: &str) -> LlmConfig {
    let mut config = isolated();
    config.openai.base_url = Some(base_url.to_owned());
    config.openai.api_key = Some(cortex_config::SecretString::new("sk-test-secret"));
    config.retry.backoff = cortex_config::Duration::from_millis(10);
    config
}

/// A model of `openai`.
pub(crate) const MODEL: &str = "openai/gpt-4o";

pub(crate) fn millis(millis: u64) -> cortex_config::Duration {
    cortex_config::Duration::from_millis(millis)
}

/// `openai` at the first, and `spare` at the second upstream.
pub(crate) fn with_spare(primary: &Upstream, spare: &Upstream) -> LlmConfig {
    let mut config = with_openai(&primary.base_url());
    config.endpoints.push(endpoint("spare", &spare.base_url()));
    config
}

/// A question to `openai`, else to `spare`.
pub(crate) fn ask_with_spare() -> CompleteRequest {
    let mut request = ask(MODEL, "hi");
    request.fallback_models = vec!["spare/backup".to_owned()];
    request
}

/// Another endpoint.
pub(crate) fn endpoint(name: &str, base_url: &str) -> EndpointConfig {
    EndpointConfig {
        name: name.to_owned(),
        base_url: base_url.to_owned(),
        ..EndpointConfig::default()
    }
}

pub(crate) type CompletionClient = CompletionServiceClient<Transport>;
pub(crate) type ProviderClient = ProviderServiceClient<Transport>;

pub(crate) fn completions(config: &LlmConfig) -> CompletionServiceClient<Transport> {
    CompletionServiceClient::new(transport(config))
}

pub(crate) fn providers(config: &LlmConfig) -> ProviderServiceClient<Transport> {
    ProviderServiceClient::new(transport(config))
}

pub(crate) fn user(content: &str) -> Message {
    Message { role: Role::User.into(), content: content.to_owned(), ..Message::default() }
}

pub(crate) fn ask(model: &str, content: &str) -> CompleteRequest {
    CompleteRequest {
        model: model.to_owned(),
        messages: vec![user(content)],
        ..CompleteRequest::default()
    }
}

pub(crate) fn calculator() -> Tool {
    Tool {
        name: "calculator".to_owned(),
        description: "Computes.".to_owned(),
        parameters: r#"{"type":"object","properties":{"operation":{"type":"string","enum":["add","multiply"]},"a":{"type":"number"},"b":{"type":"number"}},"required":["operation","a","b"]}"#.to_owned(),
    }
}

/// What came of a completion.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    /// What it ended with.
    pub(crate) result: Result<(), Status>,
}

impl Outcome {
    /// The text of the last attempt.
    pub(crate) fn text(&self) -> String {
        let begun = |event: &Event| matches!(event, Event::Started(_));
        let last = self.events.iter().rposition(begun).unwrap_or(0);
        let text = |event: &Event| match event {
            Event::ContentDelta(delta) => Some(delta.text.clone()),
            _ => None,
        };
        self.events[last..].iter().filter_map(text).collect()
    }

    /// Name and arguments of the complete tool calls.
    pub(crate) fn calls(&self) -> Vec<(&str, &str)> {
        fn call(event: &Event) -> Option<(&str, &str)> {
            let Event::ToolCall(call) = event else { return None };
            Some((&call.name, &call.arguments))
        }
        self.events.iter().filter_map(call).collect()
    }

    /// The kinds of the events, in order, each run of the same kind once.
    pub(crate) fn shape(&self) -> Vec<&'static str> {
        let mut shape: Vec<&str> = self.events.iter().map(kind).collect();
        shape.dedup();
        shape
    }

    pub(crate) fn reason(&self) -> String {
        let status = self.result.as_ref().expect_err("the completion must fail");
        cortex_rpc::reason(status).unwrap_or_else(|| format!("no reason in {status:?}"))
    }

    pub(crate) fn code(&self) -> tonic::Code {
        self.result.as_ref().expect_err("the completion must fail").code()
    }

    /// Panics unless it is a whole answer.
    #[track_caller]
    pub(crate) fn assert_whole(&self) {
        assert!(self.result.is_ok(), "{:?}", self.result);
        assert!(matches!(self.events.last(), Some(Event::Finished(_))), "{:?}", self.events);
    }

    /// Panics unless it is a clean failure.
    #[track_caller]
    pub(crate) fn assert_failed(&self, code: tonic::Code, reason: &str) {
        assert_eq!((self.code(), self.reason().as_str()), (code, reason), "{:?}", self.result);
        let finished = self.events.iter().any(|event| matches!(event, Event::Finished(_)));
        assert!(!finished, "a failure looks like a whole answer: {:?}", self.events);
    }
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Started(_) => "started",
        Event::ContentDelta(_) => "content",
        Event::ThinkingDelta(_) => "thinking",
        Event::ToolCallDelta(_) => "call_delta",
        Event::ToolCall(_) => "call",
        Event::Usage(_) => "usage",
        Event::AttemptReset(_) => "reset",
        Event::Finished(_) => "finished",
    }
}

/// Runs a completion to its end.
pub(crate) async fn complete(config: &LlmConfig, request: CompleteRequest) -> Outcome {
    complete_with(&mut completions(config), request).await
}

/// Runs a completion to its end, with a client that was there before.
pub(crate) async fn complete_with(
    client: &mut CompletionServiceClient<Transport>,
    request: CompleteRequest,
) -> Outcome {
    let run = async {
        let mut events = Vec::new();
        let mut stream = match client.complete(request).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Outcome { events, result: Err(status) },
        };
        loop {
            match stream.message().await {
                Ok(Some(CompleteResponse { event })) => events.extend(event),
                Ok(None) => return Outcome { events, result: Ok(()) },
                Err(status) => return Outcome { events, result: Err(status) },
            }
        }
    };
    tokio::time::timeout(PATIENCE, run).await.expect("a completion must end")
}
