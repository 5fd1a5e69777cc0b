use serde_json::json;

use super::*;

fn json_of(text: &str) -> Value {
    parse(text).expect("valid YAML").to_json()
}

fn place(line: u32, column: u32) -> Position {
    Position { line, column }
}

#[test]
fn values_know_where_they_stand() {
    let root = parse("a: 1\nb:\n  - x\n  - key: two\n").expect("valid YAML");
    let at = |steps: &[Step]| root.find(steps).expect("it is there").at;
    let (a, b) = (Step::Key("a".into()), Step::Key("b".into()));
    assert_eq!(at(std::slice::from_ref(&a)), place(1, 4));
    assert_eq!(at(&[b.clone(), Step::Index(0)]), place(3, 5));
    assert_eq!(at(&[b, Step::Index(1), Step::Key("key".into())]), place(4, 10));
    assert_eq!(root.entry("b").expect("b").key_at, place(2, 1));
}

#[test]
fn numbers_survive() {
    let text = "[6, 9007199254740993, 18446744073709551615, -9223372036854775808, 1.5, 1e3]";
    assert_eq!(
        json_of(text).to_string(),
        "[6,9007199254740993,18446744073709551615,-9223372036854775808,1.5,1000.0]"
    );
    let spelled = parse("v: 1.10").expect("valid YAML");
    assert!(matches!(&spelled.get("v").expect("v").content,
        Content::Number { text, .. } if text == "1.10"));
}

#[test]
fn a_number_that_would_lose_digits_is_refused() {
    let error = parse("a: 1\nb: 18446744073709551616").expect_err("too large");
    assert_eq!(error.at, place(2, 4));
    assert!(error.message.contains("write it in quotes"), "{error}");
}

#[test]
fn text_that_only_looks_like_something_else_stays_text() {
    assert_eq!(
        json_of("[yes, no, y, n, on, off, 0755, 1_000, 2024-01-01, 12:30, .inf, '6', \"true\"]"),
        json!([
            "yes",
            "no",
            "y",
            "n",
            "on",
            "off",
            "0755",
            "1_000",
            "2024-01-01",
            "12:30",
            ".inf",
            "6",
            "true"
        ])
    );
    assert_eq!(json_of("[true, False, null, ~, ]"), json!([true, false, null, null]));
}

#[test]
fn keys_keep_their_order_and_become_text() {
    assert_eq!(
        json_of("z: 1\na: 2\n8080: 3\ntrue: 4").to_string(),
        r#"{"z":1,"a":2,"8080":3,"true":4}"#
    );
}

#[test]
fn anchors_and_merge_keys_work() {
    assert_eq!(
        json_of("base: &b {a: 1, c: 2}\nuse:\n  <<: *b\n  a: 3"),
        json!({"base": {"a": 1, "c": 2}, "use": {"a": 3, "c": 2}})
    );
}

#[test]
fn syntax_errors_say_where() {
    let error = parse("a: 1\na: 2\n").expect_err("a key is repeated");
    assert_eq!(error.at.line, 2, "{error:?}");
    let error = parse("a: [1, 2\nb: 3\n").expect_err("a list is not closed");
    assert!(error.at.line >= 1, "{error:?}");
    assert!(!error.message.contains("at line"), "{error:?}");
}

#[test]
fn documents_are_separate_and_empty_ones_do_not_count() {
    let documents =
        parse_documents("---\n---\na: 1\n---\nb: 2\n", Limits::default()).expect("valid");
    assert_eq!(documents.len(), 2);
    assert!(parse("a: 1\n---\nb: 2\n").is_err());
    assert_eq!(parse("").expect("empty is null").content, Content::Null);
}

#[test]
fn bombs_are_refused() {
    let deep = "[".repeat(200);
    assert!(parse(&deep).is_err());
    let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in ["b", "c", "d", "e", "f", "g", "h"].iter().zip("abcdefg".chars()) {
        laughs.push_str(&format!("{name}: &{name} [{}]\n", vec![format!("*{of}"); 10].join(",")));
    }
    assert!(parse(&laughs).is_err());
    let mut echo = format!("big: &b '{}'\n", "x".repeat(100_000));
    for n in 0..50 {
        echo.push_str(&format!("small{n}: &s{n} x\n"));
    }
    echo.push_str(&format!("all: [{}]\n", vec!["*b"; 400].join(",")));
    let error = parse(&echo).expect_err("40 MB of text");
    assert!(error.message.contains("aliases repeat"), "{error}");
    let wide: String = (0..900).map(|n| format!("k{n}: {n}, ")).collect();
    let wide = format!("wide: &w {{{wide}}}\nall: [{}]\n", vec!["*w"; 1000].join(","));
    assert!(parse(&wide).is_err(), "900,000 values");
    let limits = Limits { bytes: 10, ..Limits::default() };
    assert!(parse_documents("a: 123456789", limits).is_err());
}

#[test]
fn what_is_written_is_read_again() {
    let value =
        json!({"a": "yes", "b": ["1", 1, null, ""], "c": {"d": "x: y", "e": "line\nline\n"}});
    assert_eq!(json_of(&to_text(&value)), value);
}
