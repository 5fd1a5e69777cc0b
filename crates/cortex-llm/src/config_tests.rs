use super::*;

fn read(json: &str) -> LlmConfig {
    serde_json::from_str(json).expect("valid configuration")
}

fn problems(config: &LlmConfig) -> String {
    let mut problems = Problems::default();
    config.validate(&mut problems, &KeyPath::dotted("llm"));
    problems.to_string()
}

#[test]
fn the_default_has_no_problem_and_no_key() {
    let config = LlmConfig::default();
    assert_eq!(problems(&config), "");
    assert!(!config.openai.is_on());
    assert_eq!(read("{}"), config);
}

#[test]
fn all_problems_are_reported_at_once() {
    let config = read(
        r#"{"openai":{"base_url":"nonsense"},"ollama":{"host":"http://"},
            "endpoints":[{"name":"OpenAI","base_url":"ftp://x"},{"name":"a b","base_url":"http://x"},
                         {"name":"v","base_url":"http://x"},{"name":"v","base_url":"http://x"}],
            "timeouts":{"idle":"0s"},"limits":{"frame_bytes":"1"},"rehearsal":{"token_delay":"1m"}}"#,
    );
    let problems = problems(&config);
    for path in [
        "openai.base_url",
        "ollama.host",
        "endpoints[0].base_url",
        "endpoints[0].name",
        "endpoints[1].name",
        "endpoints[3].name",
        "timeouts.idle",
        "limits.frame_bytes",
        "rehearsal.token_delay",
    ] {
        assert!(problems.contains(&format!("llm.{path}: ")), "{path} is missing in\n{problems}");
    }
}

#[test]
fn a_key_is_never_written() {
    let config = read(r#"{"openai":{"api_key":"sk-very-secret"}}"#);
    assert!(config.openai.is_on());
    let written = serde_json::to_string(&config).expect("serialises");
    assert!(written.contains("[redacted]") && !written.contains("very-secret"), "{written}");
    assert!(!format!("{config:?}").contains("very-secret"));
}

#[test]
fn what_is_written_is_read_again() {
    let config = read(r#"{"timeouts":{"connect":"1500ms","idle":"7s"},"default_model":"groq/x"}"#);
    assert_eq!(config.timeouts.idle, Duration::from_secs(7));
    assert_eq!(read(&serde_json::to_string(&config).expect("serialises")), config);
}

#[test]
fn what_is_empty_is_absent() {
    let empty = read(r#"{"openai":{"base_url":"","default_model":""},"ollama":{"host":""}}"#);
    assert_eq!(problems(&empty), "");
    assert!(!empty.openai.is_on());
    assert!(!read(r#"{"groq":{"api_key":"  "}}"#).groq.is_on());
    assert!(!read(r#"{"groq":{"api_key":"k","enabled":false}}"#).groq.is_on());
}
