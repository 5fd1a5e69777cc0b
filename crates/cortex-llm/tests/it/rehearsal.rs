//! The service without any provider: the built-in model, names of models, and what providers there
//! are.

use crate::support::{
    ask, calculator, complete, completions, endpoint, isolated, providers,
    upstream::{Step, Upstream, saying},
    user, with_openai,
};
use cortex_llm::LlmConfig;
use cortex_proto::cortex::llm::v1::{
    CompleteRequest, EmbedRequest, FinishReason, GenerateRequest, GetProviderRequest,
    ListModelsRequest, ListProvidersRequest, ListUsageRequest, Message, ResetProviderRequest, Role,
    ToolCall, complete_response::Event,
};
use tonic::Code;

#[tokio::test]
async fn a_tool_is_called_and_its_result_told() {
    let config = isolated();
    let mut request = ask("auto", "use the calculator to multiply 6 by 7");
    request.tools = vec![calculator()];
    let outcome = complete(&config, request.clone()).await;
    outcome.assert_whole();
    let arguments = r#"{"operation":"multiply","a":6,"b":7}"#;
    assert_eq!(outcome.calls(), [("calculator", arguments)]);
    let Event::Started(started) = &outcome.events[0] else { panic!("{:?}", outcome.events) };
    assert_eq!((started.provider.as_str(), started.model.as_str()), ("rehearsal", "rehearsal"));
    let Some(Event::Finished(finished)) = outcome.events.last() else { panic!("no end") };
    assert_eq!(finished.finish_reason(), FinishReason::ToolCalls);

    let call = ToolCall {
        call_id: "call_0123456789abcdef".to_owned(),
        name: "calculator".to_owned(),
        arguments: arguments.to_owned(),
        ..ToolCall::default()
    };
    request.messages.push(Message {
        role: Role::Assistant.into(),
        tool_calls: vec![call.clone()],
        ..Message::default()
    });
    request.messages.push(Message {
        role: Role::Tool.into(),
        call_id: call.call_id,
        content: r#"{"result":42}"#.to_owned(),
        ..Message::default()
    });
    let outcome = complete(&config, request).await;
    outcome.assert_whole();
    let text = outcome.text();
    assert!(text.contains("The calculator says 42."), "{text}");
    assert!(text.contains("rehearsal") && text.contains("OPENAI_API_KEY"), "{text}");
}

#[tokio::test]
async fn it_can_be_asked_in_one_piece_and_by_its_name() {
    for model in ["", "auto", "rehearsal", "rehearsal/rehearsal"] {
        let request = GenerateRequest {
            model: model.to_owned(),
            messages: vec![user("hello")],
            ..GenerateRequest::default()
        };
        let answer = completions(&isolated()).generate(request).await.expect("an answer");
        let answer = answer.into_inner();
        assert!(answer.content.contains("rehearsal"), "{model}: {}", answer.content);
        assert_eq!(answer.finish_reason(), FinishReason::Stop);
        let usage = answer.usage.expect("usage");
        assert!(usage.estimated && usage.total_tokens > 0, "{usage:?}");
    }
}

#[tokio::test]
async fn it_never_stands_in_for_somebody_who_was_named() {
    let config = isolated();
    for (provider, model, code, reason) in [
        ("openai", "", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("", "openai/gpt-4o", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("", "gpt-4o", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("google", "gemini-2.0-flash", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("", "claude-sonnet-4", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("ollama", "", Code::FailedPrecondition, "PROVIDER_NOT_CONFIGURED"),
        ("nobody", "x", Code::NotFound, "PROVIDER_NOT_FOUND"),
        ("", "nobody/x", Code::NotFound, "PROVIDER_NOT_FOUND"),
        ("", "some-model", Code::NotFound, "MODEL_NOT_FOUND"),
        ("", "rehearsal/other", Code::NotFound, "MODEL_NOT_FOUND"),
    ] {
        let mut request = ask(model, "hi");
        request.provider = provider.to_owned();
        let what = format!("{provider}:{model}");
        let outcome = complete(&config, request.clone()).await;
        assert_eq!((outcome.code(), outcome.reason().as_str()), (code, reason), "{what}");
        // Not even as the fallback `auto`.
        request.fallback_models = vec!["auto".to_owned()];
        let outcome = complete(&config, request).await;
        assert_eq!((outcome.code(), outcome.reason().as_str()), (code, reason), "{what}");
    }
    let mut request = ask("gpt-4o", "hi");
    request.fallback_models = vec!["rehearsal".to_owned()];
    complete(&config, request).await.assert_whole();
}

#[tokio::test]
async fn a_provider_whose_adapter_comes_later_says_so() {
    let mut config = isolated();
    config.gemini.api_key = Some(cortex_config::SecretString::new("key"));
    for model in ["auto", "gemini-2.0-flash", "google/gemini-2.0-flash"] {
        let outcome = complete(&config, ask(model, "hi")).await;
        assert_eq!(outcome.code(), Code::Unimplemented, "{model}");
        assert_eq!(outcome.reason(), "PROVIDER_NOT_CONFIGURED");
        let message = outcome.result.expect_err("failed").message().to_owned();
        assert!(message.contains("gemini") && message.contains("llm.endpoints"), "{message}");
    }
}

#[tokio::test]
async fn a_wrong_request_names_its_field() {
    let outcome = complete(&isolated(), CompleteRequest::default()).await;
    assert_eq!(
        (outcome.code(), outcome.reason().as_str()),
        (Code::InvalidArgument, "INVALID_FIELD")
    );
    let fault = cortex_rpc::fault(&outcome.result.expect_err("failed"));
    assert_eq!(fault.violations[0].field, "messages");
}

async fn ollama(upstream: &Upstream) -> LlmConfig {
    let mut config = isolated();
    config.ollama.enabled = true;
    config.ollama.host = upstream.base_url().trim_end_matches("/v1").to_owned();
    config
}

#[tokio::test]
async fn auto_is_an_ollama_that_answers() {
    let upstream = Upstream::playing(saying("from ollama")).await;
    let config = ollama(&upstream).await;
    for model in ["auto", "ollama/auto", "listed", "ollama/listed"] {
        let outcome = complete(&config, ask(model, "hi")).await;
        outcome.assert_whole();
        assert_eq!(outcome.text(), "from ollama", "{model}");
        assert!(upstream.requests().last().expect("asked").body.contains(r#""model":"listed""#));
    }
}

#[tokio::test]
async fn auto_is_the_rehearsal_when_ollama_does_not_answer() {
    let silent = Upstream::playing(vec![Step::Hang]).await;
    let mut config = ollama(&silent).await;
    config.ollama.host = "127.0.0.1:9".to_owned();
    let outcome = complete(&config, ask("auto", "hi")).await;
    outcome.assert_whole();
    assert!(outcome.text().contains("rehearsal"));
    let outcome = complete(&config, ask("ollama/llama3", "hi")).await;
    outcome.assert_failed(Code::Unavailable, "PROVIDER_UNAVAILABLE");
}

#[tokio::test]
async fn models_are_found_by_lists_and_names() {
    let (a, b) = (Upstream::playing(saying("a")).await, Upstream::playing(saying("b")).await);
    let mut config = with_openai(&a.base_url());
    let mut other = endpoint("other", &b.base_url());
    other.models = vec!["meta-llama/llama-3".to_owned(), "shared".to_owned()];
    config.endpoints.push(other);
    config.openai.models = vec!["shared".to_owned()];
    for (model, text) in [
        ("auto", "a"),
        ("gpt-4.1", "a"),
        ("openai/anything", "a"),
        ("meta-llama/llama-3", "b"),
        ("other/meta-llama/llama-3", "b"),
        ("other/auto", "b"),
        ("Other/x", "b"),
    ] {
        let outcome = complete(&config, ask(model, "hi")).await;
        outcome.assert_whole();
        assert_eq!(outcome.text(), text, "{model}");
    }
    let outcome = complete(&config, ask("shared", "hi")).await;
    assert_eq!(outcome.reason(), "INVALID_FIELD");
    let message = outcome.result.expect_err("failed").message().to_owned();
    assert!(message.contains("openai/shared or other/shared"), "{message}");
    config.default_model = Some("other/x".to_owned());
    assert_eq!(complete(&config, ask("auto", "hi")).await.text(), "b");
}

#[tokio::test]
async fn providers_are_listed_with_what_is_missing() {
    let upstream = Upstream::playing(saying("hi")).await;
    let config = with_openai(&upstream.base_url());
    let mut client = providers(&config);
    let all = client.list_providers(ListProvidersRequest::default()).await.expect("a list");
    let all = all.into_inner().providers;
    let states: Vec<(&str, bool)> = all.iter().map(|p| (p.name.as_str(), p.available)).collect();
    assert_eq!(
        states,
        [
            ("anthropic", false),
            ("gemini", false),
            ("groq", false),
            ("ollama", false),
            ("openai", true),
            ("rehearsal", true),
        ]
    );
    let groq = all.iter().find(|provider| provider.name == "groq").expect("groq");
    assert!(groq.problem.contains("GROQ_API_KEY"), "{}", groq.problem);

    let request = GetProviderRequest { name: "google".to_owned() };
    let gemini = client.get_provider(request).await.expect("known").into_inner().provider;
    assert_eq!(gemini.expect("a provider").dialect, "gemini");
    let request = GetProviderRequest { name: "nobody".to_owned() };
    assert_eq!(client.get_provider(request).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn a_provider_shows_how_it_does() {
    let upstream = Upstream::start(vec![saying("hi"), vec![Step::Stream, Step::Close]]).await;
    let transport = crate::support::transport(&with_openai(&upstream.base_url()));
    let mut calls = crate::support::CompletionClient::new(transport.clone());
    let mut client = crate::support::ProviderClient::new(transport);
    let mut state = async || {
        let request = GetProviderRequest { name: "openai".to_owned() };
        client.get_provider(request).await.expect("known").into_inner().provider.expect("openai")
    };
    assert!(state().await.last_success_at.is_none());
    crate::support::complete_with(&mut calls, ask("gpt-4o", "hi")).await.assert_whole();
    let after = state().await;
    assert!(after.last_success_at.is_some() && after.last_error.is_empty(), "{after:?}");
    let failed = crate::support::complete_with(&mut calls, ask("gpt-4o", "hi")).await;
    failed.assert_failed(Code::Unavailable, "STREAM_CUT");
    let after = state().await;
    assert!(after.last_error.starts_with("STREAM_CUT"), "{after:?}");
    assert_eq!(after.active_calls, 0);
}

#[tokio::test]
async fn pages_of_models_join_to_the_whole() {
    let upstream = Upstream::playing(saying("hi")).await;
    let mut config = with_openai(&upstream.base_url());
    config.openai.models = (0..5).map(|n| format!("model-{n}")).collect();
    let mut client = providers(&config);
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = ListModelsRequest { page_size: 2, page_token: token, ..Default::default() };
        let page = client.list_models(request).await.expect("a page").into_inner();
        assert!(page.models.len() <= 2);
        names.extend(page.models.into_iter().map(|model| model.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let mut expected: Vec<String> = (0..5).map(|n| format!("openai/model-{n}")).collect();
    expected
        .extend(["openai/gpt-4o-mini", "openai/listed", "rehearsal/rehearsal"].map(String::from));
    expected.sort();
    assert_eq!(names, expected);
    let request = ListModelsRequest { page_token: "nonsense".to_owned(), ..Default::default() };
    assert_eq!(
        client.list_models(request).await.expect_err("refused").code(),
        Code::InvalidArgument
    );
    let request = ListModelsRequest { provider: "groq".to_owned(), ..Default::default() };
    let status = client.list_models(request).await.expect_err("not configured");
    assert_eq!(status.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn what_comes_later_says_so() {
    let mut client = providers(&isolated());
    let statuses = [
        client.list_usage(ListUsageRequest::default()).await.map(drop),
        client.reset_provider(ResetProviderRequest { name: "openai".into() }).await.map(drop),
        completions(&isolated()).embed(EmbedRequest::default()).await.map(drop),
    ];
    for status in statuses {
        let status = status.expect_err("not offered");
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(cortex_rpc::reason(&status).as_deref(), Some("NOT_OFFERED"));
    }
}
