//! OpenAI's `/v1` as the service serves it, over real sockets.

use crate::support::{
    ask, calculator, complete, endpoint, isolated,
    upstream::{Step, Upstream, content, data, json as response, saying},
    with_openai,
};
use axum::http::{HeaderMap, Request, StatusCode, header};
use cortex_llm::{Llm, LlmConfig};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    /// The data of the stream's frames.
    fn frames(&self) -> Vec<&str> {
        self.body.split("\n\n").filter_map(|frame| frame.strip_prefix("data: ")).collect()
    }

    fn chunks(&self) -> Vec<Value> {
        let json = |frame: &&str| serde_json::from_str(frame).ok();
        self.frames().iter().filter_map(json).collect()
    }
}

async fn send(config: &LlmConfig, request: Request<String>) -> Answered {
    let router = Llm::new(config).expect("a valid configuration").openai_router();
    let response = router.oneshot(request.map(axum::body::Body::from)).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body =
        tokio::time::timeout(crate::support::PATIENCE, body.collect()).await.expect("an end");
    let body = String::from_utf8(body.expect("a body").to_bytes().to_vec()).expect("UTF-8");
    Answered { status: parts.status, headers: parts.headers, body }
}

async fn post(config: &LlmConfig, body: &Value) -> Answered {
    let request = Request::post("/v1/chat/completions")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string())
        .expect("a request");
    send(config, request).await
}

fn tool() -> Value {
    let calculator = calculator();
    let parameters: Value = serde_json::from_str(&calculator.parameters).expect("a schema");
    json!({"type":"function","function":{"name":calculator.name,"parameters":parameters}})
}

fn chat(content: &str) -> Value {
    json!({"model":"rehearsal","messages":[{"role":"user","content":content}]})
}

#[tokio::test]
async fn an_answer_comes_in_one_piece() {
    let answered = post(&isolated(), &chat("hello")).await;
    assert_eq!(answered.status, StatusCode::OK);
    let body = answered.json();
    assert_eq!(body["object"], "chat.completion");
    assert!(body["id"].as_str().expect("an id").starts_with("chatcmpl-"));
    let choice = &body["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["role"]),
        (&json!("stop"), &json!("assistant"))
    );
    assert!(choice["message"]["content"].as_str().expect("text").contains("rehearsal"));
    assert!(body["usage"]["total_tokens"].as_u64().expect("usage") > 0);
}

#[tokio::test]
async fn an_answer_streams_and_ends_with_done() {
    let mut request = chat("hello");
    request["stream"] = json!(true);
    let answered = post(&isolated(), &request).await;
    assert_eq!(answered.headers[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(answered.frames().last(), Some(&"[DONE]"));
    let chunks = answered.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role":"assistant","content":""}));
    assert_eq!(chunks.last().expect("chunks")["choices"][0]["finish_reason"], "stop");
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "usage was not asked for");
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));

    request["stream_options"] = json!({"include_usage":true});
    let chunks = post(&isolated(), &request).await.chunks();
    assert_eq!(chunks[0]["usage"], Value::Null);
    let last = chunks.last().expect("chunks");
    assert_eq!(last["choices"], json!([]));
    assert!(last["usage"]["total_tokens"].as_u64().expect("usage") > 0);
}

#[tokio::test]
async fn calls_stream_and_come_in_one_piece_with_numbers_as_they_were() {
    let mut request = chat("use the calculator to multiply 9007199254740993 by 1.50");
    request["tools"] = json!([tool()]);
    let arguments = r#"{"operation":"multiply","a":9007199254740993,"b":1.50}"#;
    let body = post(&isolated(), &request).await.json();
    let call = &body["choices"][0]["message"]["tool_calls"][0];
    assert_eq!(call["function"], json!({"name":"calculator","arguments":arguments}));
    assert_eq!(body["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(body["choices"][0]["message"]["content"], Value::Null);

    request["stream"] = json!(true);
    let chunks = post(&isolated(), &request).await.chunks();
    let parts: Vec<&Value> =
        chunks.iter().filter_map(|c| c["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    assert_eq!(parts[0]["function"]["name"], "calculator");
    assert_eq!(parts[0]["id"], call["id"]);
    assert!(parts[1..].iter().all(|part| part.get("id").is_none() && part["index"] == 0));
    let joined: String =
        parts.iter().map(|part| part["function"]["arguments"].as_str().expect("text")).collect();
    assert_eq!(joined, arguments);
}

#[tokio::test]
async fn absent_arguments_stream_as_an_empty_object() {
    let call = crate::support::upstream::call(
        r#"{"index":0,"id":"a","function":{"name":"clock","arguments":""},"extra_content":{"google":{"thought_signature":"s"}}}"#,
    );
    let upstream = Upstream::playing(crate::support::upstream::answer(&[call])).await;
    let request =
        json!({"model":"openai/x","stream":true,"messages":[{"role":"user","content":"hi"}]});
    let chunks = post(&with_openai(&upstream.base_url()), &request).await.chunks();
    let parts: Vec<&Value> =
        chunks.iter().filter_map(|c| c["choices"][0]["delta"]["tool_calls"].get(0)).collect();
    let joined: String =
        parts.iter().map(|part| part["function"]["arguments"].as_str().expect("text")).collect();
    assert_eq!(joined, "{}");
    let signature =
        parts.iter().find_map(|part| part["extra_content"]["google"]["thought_signature"].as_str());
    assert_eq!(signature, Some("s"));
}

#[tokio::test]
async fn a_conversation_with_results_goes_on() {
    let request = json!({"model":"rehearsal","tools":[tool()],"tool_choice":"auto","stop":"x","messages":[
        {"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"use the calculator"}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function",
            "function":{"name":"calculator","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c","content":"{\"result\":42}"},
    ]});
    let body = post(&isolated(), &request).await.json();
    let text = body["choices"][0]["message"]["content"].as_str().expect("text").to_owned();
    assert!(text.starts_with("The calculator says 42."), "{text}");
}

#[tokio::test]
async fn fields_that_are_not_known_go_on_to_the_provider() {
    let upstream = Upstream::playing(saying("hi")).await;
    let mut request = chat("hi");
    request["model"] = json!("openai/gpt-4o");
    request["parallel_tool_calls"] = json!(false);
    request["response_format"] = json!({"type":"json_object"});
    request["max_completion_tokens"] = json!(5);
    post(&with_openai(&upstream.base_url()), &request).await.json();
    let sent: Value = serde_json::from_str(&upstream.requests()[0].body).expect("JSON");
    assert_eq!(sent["parallel_tool_calls"], json!(false));
    assert_eq!(sent["response_format"], json!({"type":"json_object"}));
    assert_eq!(sent["max_tokens"], json!(5));
    assert_eq!(sent["stream"], json!(true));
}

#[tokio::test]
async fn errors_have_openais_shape() {
    let wrong = |patch: Value| {
        let mut request = chat("hi");
        request.as_object_mut().expect("an object").extend(patch.as_object().expect("one").clone());
        request
    };
    for (request, status, code, param) in [
        (wrong(json!({"model":"nobody/x"})), 404, json!("model_not_found"), Value::Null),
        (wrong(json!({"model":"openai/x"})), 503, json!("provider_not_configured"), Value::Null),
        (wrong(json!({"messages":[]})), 400, Value::Null, json!("messages")),
        (
            wrong(json!({"messages":[{"role":"robot","content":"x"}]})),
            400,
            Value::Null,
            json!("messages[0].role"),
        ),
        (wrong(json!({"messages":"x"})), 400, Value::Null, json!("messages")),
        (wrong(json!({"temperature":9})), 400, Value::Null, json!("temperature")),
        (wrong(json!({"n":2})), 400, Value::Null, json!("n")),
        (wrong(json!({"tool_choice":"sometimes"})), 400, Value::Null, json!("tool_choice")),
        (
            wrong(
                json!({"messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}),
            ),
            400,
            Value::Null,
            json!("messages[0].content"),
        ),
    ] {
        let answered = post(&isolated(), &request).await;
        let error = &answered.json()["error"];
        assert_eq!(
            (answered.status.as_u16(), &error["code"], &error["param"]),
            (status, &code, &param),
            "{request}"
        );
        assert!(!error["message"].as_str().expect("a message").is_empty());
    }
    let text = Request::post("/v1/chat/completions").body("{}".to_owned()).expect("a request");
    assert_eq!(send(&isolated(), text).await.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let broken = Request::post("/v1/chat/completions")
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .body("{".to_owned())
        .expect("a request");
    assert_eq!(send(&isolated(), broken).await.status, StatusCode::BAD_REQUEST);
    let mut small = isolated();
    small.limits.request_bytes = cortex_config::ByteSize::kib(1);
    let answered = post(&small, &chat(&"x".repeat(2000))).await;
    assert_eq!(answered.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answered.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn errors_of_providers_are_told_apart() {
    for (script, status, code) in [
        (response(429, "retry-after: 9\r\n", "{}"), 429, "rate_limit_exceeded"),
        (response(401, "", "{}"), 502, "provider_auth"),
        (
            response(400, "", r#"{"error":{"message":"context window"}}"#),
            400,
            "context_length_exceeded",
        ),
        (vec![Step::Stream, Step::Close], 502, "stream_cut"),
    ] {
        for stream in [false, true] {
            let upstream = Upstream::playing(script.clone()).await;
            let mut request = chat("hi");
            request["model"] = json!("openai/x");
            request["stream"] = json!(stream);
            let answered = post(&with_openai(&upstream.base_url()), &request).await;
            assert_eq!(answered.status.as_u16(), status, "{code}");
            assert_eq!(answered.json()["error"]["code"], code);
            if status == 429 {
                assert_eq!(answered.headers[header::RETRY_AFTER], "9");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_without_done() {
    let cut = || vec![Step::Stream, data(content("half an")), Step::Close];
    let (primary, spare) = (Upstream::playing(cut()).await, Upstream::playing(saying("x")).await);
    let mut config = with_openai(&primary.base_url());
    config.endpoints.push(endpoint("spare", &spare.base_url()));
    let mut request = chat("hi");
    request["model"] = json!("openai/x");
    request["stream"] = json!(true);
    let answered = post(&config, &request).await;
    assert!(answered.body.contains("half an"));
    assert!(!answered.body.contains("[DONE]"), "a cut answer looks whole: {}", answered.body);
    let last = answered.chunks().pop().expect("chunks");
    assert_eq!(last["error"]["code"], "stream_cut");
    assert!(!answered.body.contains("finish_reason\":\"stop"));
}

#[tokio::test]
async fn models_are_listed_and_found() {
    let get = |path: &str| Request::get(path).body(String::new()).expect("a request");
    let list = send(&isolated(), get("/v1/models")).await.json();
    let ids: Vec<&str> =
        list["data"].as_array().expect("a list").iter().filter_map(|m| m["id"].as_str()).collect();
    assert_eq!(ids, ["auto", "rehearsal/rehearsal"]);
    let model = send(&isolated(), get("/v1/models/rehearsal/rehearsal")).await;
    assert_eq!(model.json()["owned_by"], "rehearsal");
    let missing = send(&isolated(), get("/v1/models/nobody/x")).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn our_api_is_a_provider_that_our_adapter_can_use() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let router = Llm::new(&isolated()).expect("valid").openai_router();
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut config = isolated();
    config.endpoints.push(endpoint("inner", &format!("http://{address}/v1")));
    let mut request = ask("inner/rehearsal", "use the calculator to multiply 6 by 7");
    request.tools = vec![calculator()];
    let outcome = complete(&config, request).await;
    outcome.assert_whole();
    assert_eq!(outcome.calls(), [("calculator", r#"{"operation":"multiply","a":6,"b":7}"#)]);
    serving.abort();
}
