use proptest::prelude::*;

use super::*;

fn variables() -> Variables {
    let environment = [("ALLOWED", "yes"), ("GEMINI_API_KEY", "hunter2"), ("EMPTY", "")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Variables::new(environment, &["ALLOWED".into(), "EMPTY".into(), "MISSING".into()]).for_manifest(
        ManifestKind::Agent,
        "scout",
        "1.2",
    )
}

fn resolve(text: &str) -> (String, Vec<String>) {
    let mut unknown = Vec::new();
    let resolved = variables().resolve(text, &mut |name| unknown.push(name.to_owned()));
    (resolved, unknown)
}

#[test]
fn every_way_to_write_a_variable() {
    for (text, expected) in [
        ("$HOME/agents/$AGENT_NAME", "/home/cortex/agents/scout"),
        ("${AGENT_ID}-${AGENT_VERSION}", "scout-1.2"),
        ("$(AGENT_NAME) ${{ AGENT_NAME }} ${{AGENT_NAME}}", "scout scout scout"),
        ("${URL:-http://localhost:8004}", "http://localhost:8004"),
        ("${ALLOWED:-no} ${MISSING:-default} [${EMPTY:-x}]", "yes default []"),
        ("${A:-${B:-${USER}}}", "cortex"),
        ("${A:-{\"json\": {}}}", "{\"json\": {}}"),
        ("${A:-}", ""),
    ] {
        assert_eq!(resolve(text), (expected.to_owned(), Vec::new()), "{text}");
    }
}

#[test]
fn what_is_no_reference_stays() {
    for text in [
        "costs $5",
        "$1A",
        "$setx ${setx}",
        "${HOME",
        "$(HOME",
        "a$",
        "$",
        "$_",
        "${}",
        "$()",
        "${agent.metadata.x}",
        "{{user_name}}",
        "$(ls -l)",
        "$(date +%s)",
    ] {
        assert_eq!(resolve(text).0, text);
    }
    assert_eq!(resolve("$HOME}").0, "/home/cortex}");
}

#[test]
fn the_run_time_is_left_for_the_run_time() {
    for text in [
        "entry:$TIMESTAMP:$(trigger.user_id)",
        "$(steps.analyze.sentiment)",
        "${SESSION_ID} ${SESSION_ID:-none} $(USER_ID) ${{TASK_ID}}",
        "$WORKFLOW_ID",
        "$$TIMESTAMP and $$(steps.a.b)",
    ] {
        assert_eq!(resolve(text), (text.to_owned(), Vec::new()));
    }
}

#[test]
fn a_doubled_dollar_is_one() {
    assert_eq!(resolve("$$HOME costs $$5, $$$USER").0, "$HOME costs $5, $cortex");
}

#[test]
fn the_environment_is_closed() {
    assert_eq!(
        resolve("$GEMINI_API_KEY"),
        ("$GEMINI_API_KEY".into(), vec!["GEMINI_API_KEY".into()])
    );
    assert_eq!(resolve("${GEMINI_API_KEY:-none}").0, "none");
    assert_eq!(resolve("$(GEMINI_API_KEY)${{GEMINI_API_KEY}}").1.len(), 2);
}

#[test]
fn prose_resolves_only_double_braces() {
    let text = "I am ${{AGENT_NAME}}; run `echo $HOME` in ${{NOWHERE}} ${{";
    assert_eq!(variables().resolve_prose(text), "I am scout; run `echo $HOME` in ${{NOWHERE}} ${{");
}

#[test]
fn a_manifest_is_resolved_in_its_values_only() {
    let mut node = cortex_config::yaml::parse("$HOME: [$HOME, 1, {a: $SECRET}]").expect("YAML");
    let report = Report::new("a.yml");
    variables().resolve_node(&mut node, &KeyPath::root(), &report);
    assert_eq!(node.to_json().to_string(), r#"{"$HOME":["/home/cortex",1,{"a":"$SECRET"}]}"#);
    let found = report.finish();
    assert_eq!((found.len(), found[0].field.as_str()), (1, "$HOME[2].a"));
}

proptest! {
    #[test]
    fn any_text_resolves(text in "[$(){}:A-Za-z_0-9.\\- é]{0,80}") {
        let (resolved, _) = resolve(&text);
        prop_assert!(!resolved.contains("hunter2"));
        let _ = variables().resolve_prose(&text);
    }

    #[test]
    fn text_without_dollars_is_itself(text in "[^$]{0,80}") {
        prop_assert_eq!(resolve(&text), (text, vec![]));
    }

    #[test]
    fn resolving_twice_changes_nothing_more(text in "[${}() A-Z_:-]{0,40}") {
        // What the first pass leaves, apart from escapes, is for the run time.
        prop_assume!(!text.contains("$$"));
        let once = resolve(&text).0;
        prop_assume!(!once.contains("$$"));
        prop_assert_eq!(resolve(&once).0, once);
    }
}
