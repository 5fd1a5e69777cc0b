//! JSON of every kind of field: what is written, what is read, and that the two agree.

use std::collections::HashMap;

use proptest::{prelude::*, strategy::Union};
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, Value};

use super::{Reader, Writer};
use crate::testing::{pool, schema};

fn read(message: &str, text: &str) -> Result<DynamicMessage, String> {
    let reader = Reader::new(schema(), 16);
    let index = schema().find(message).expect("a message of the test contract");
    let message = reader.message(index, text).map_err(|error| error.to_string())?;
    reader.finish().map_err(|problem| problem.message)?;
    Ok(message)
}

fn write(message: &DynamicMessage) -> String {
    use prost_reflect::ReflectMessage;
    let index = schema().index_of(&message.descriptor());
    let mut out = Vec::new();
    Writer::new(schema()).message(&mut out, index, message).expect("a valid message");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// What is left of `text` once it was a message of that type.
fn through(message: &str, text: &str) -> String {
    write(&read(message, text).expect(text))
}

/// What becomes of the one field of `{"field": value}`.
fn field(name: &str, value: &str) -> Result<String, String> {
    let message = read("test.v1.Everything", &format!("{{\"{name}\": {value}}}"))?;
    let written: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&write(&message)).expect("what is written is JSON");
    Ok(written.get(name).map_or_else(|| "absent".to_owned(), ToString::to_string))
}

#[test]
fn a_message_that_says_nothing_shows_what_it_could() {
    assert_eq!(
        through("test.v1.Book", "{}"),
        r#"{"book_id":"","title":"","status":"unspecified","page_count":0,"tags":[]}"#
    );
}

#[test]
fn json_fields_survive_byte_by_byte() {
    let payload = r#"{"a":6,"b":9007199254740993,"z":1.0,"a2":1e400, "ä":"\u00e4\ud800" ,"a":[ ]}"#;
    let text = format!(
        r#"{{"json":{payload},"jsons":[{payload},null,1.10],"json_by_name":{{"k":{payload}}}}}"#
    );
    let message = read("test.v1.Everything", &text).expect("valid");
    let json = message.get_field_by_name("json").expect("a field");
    assert_eq!(json.as_str(), Some(payload));
    let written = write(&message);
    assert!(written.contains(&format!(r#""json":{payload},"#)), "{written}");
    assert!(written.contains(&format!(r#""jsons":[{payload},null,1.10]"#)), "{written}");
    assert!(written.contains(&format!(r#""json_by_name":{{"k":{payload}}}"#)), "{written}");
}

#[test]
fn an_empty_json_field_is_absent_and_so_is_null() {
    assert_eq!(field("json", "null"), Ok("absent".to_owned()));
    assert_eq!(field("json", "{}"), Ok("{}".to_owned()));
    assert_eq!(field("json", "\"\""), Ok("\"\"".to_owned()));
}

#[test]
fn a_json_field_that_is_no_json_is_the_services_fault() {
    let mut message = DynamicMessage::new(pool().get_message_by_name("test.v1.Book").expect("it"));
    message.set_field_by_name("metadata", Value::String("{".to_owned()));
    let index = schema().find("test.v1.Book").expect("it");
    let error =
        Writer::new(schema()).message(&mut Vec::new(), index, &message).expect_err("no JSON");
    let told = error.to_string();
    assert!(told.starts_with("test.v1.Book.metadata does not hold JSON: EOF"), "{told}");
}

#[test]
fn every_spelling_of_a_scalar_is_read_and_one_is_written() {
    for (name, spellings, written) in [
        ("i64", &["-9007199254740993", "\"-9007199254740993\""][..], "-9007199254740993"),
        ("u64", &["18446744073709551615", "\"18446744073709551615\""], "18446744073709551615"),
        ("i32", &["7", "7.0", "\"7\"", "0.7e1", "\"7.0\""], "7"),
        ("single", &["0.1", "\"0.1\"", "1e-1"], "0.1"),
        ("double", &["6", "6.0", "\"6\""], "6.0"),
        ("double", &["\"NaN\""], "\"NaN\""),
        ("single", &["\"-Infinity\""], "\"-Infinity\""),
        ("status", &["\"lent\"", "\"BOOK_STATUS_LENT\"", "2"], "\"lent\""),
        ("states", &["[\"on_shelf\",0]"], "[\"on_shelf\",\"unspecified\"]"),
        ("data", &["\"-_8=\"", "\"+/8\"", "\"+/8=\""], "\"+/8=\""),
        ("text", &["\"\\ud83d\\ude00\\n\""], "\"😀\\n\""),
        ("flag", &["true"], "true"),
        ("counts", &["{\"b\":2,\"a\":\"1\"}"], "{\"a\":1,\"b\":2}"),
        ("by_flag", &["{\"true\":\"x\"}"], "{\"true\":\"x\"}"),
        ("time", &["\"2026-01-31T13:00:00.5+01:00\""], "\"2026-01-31T12:00:00.500Z\""),
        ("span", &["\"1.5s\"", "\"1.500s\""], "\"1.5s\""),
        ("mask", &["\"bookId,a.b_c\"", "\"book_id , a.b_c\""], "\"bookId,a.bC\""),
        ("struct", &["{\"b\":[1,2.5,null],\"a\":{}}"], "{\"a\":{},\"b\":[1,2.5,null]}"),
        ("value", &["null"], "null"),
        ("list", &["[true,\"x\"]"], "[true,\"x\"]"),
        ("wrapped_i64", &["0", "\"0\""], "0"),
        ("wrapped_text", &["\"\""], "\"\""),
        ("wrapped_bool", &["null"], "absent"),
        ("maybe", &["0"], "0"),
        ("maybe", &["null"], "absent"),
        ("nothing", &["null"], "null"),
        ("choice_status", &["\"unspecified\""], "\"unspecified\""),
        ("numbers", &["null", "[]"], "[]"),
    ] {
        for spelling in spellings {
            let written: serde_json::Value =
                serde_json::from_str(written).unwrap_or_else(|_| written.into());
            let found = field(name, spelling).expect(spelling);
            let found: serde_json::Value =
                serde_json::from_str(&found).unwrap_or_else(|_| found.into());
            assert_eq!(written, found, "{name} {spelling}");
        }
    }
    assert_eq!(field("camelCaseName", "\"x\""), Ok("absent".to_owned()));
    let camel = read("test.v1.Everything", r#"{"camelCaseName":"x"}"#).expect("canonical JSON");
    assert!(write(&camel).contains(r#""camel_case_name":"x""#));
}

#[test]
fn an_any_shows_what_it_holds() {
    let book = r#"{"@type":"type.googleapis.com/test.v1.Book","book_id":"","title":"T","status":"lent","page_count":0,"tags":[]}"#;
    assert!(through("test.v1.Everything", &format!("{{\"any\":{book}}}")).contains(book));
    let span = r#"{"@type":"type.googleapis.com/google.protobuf.Duration","value":"3s"}"#;
    assert!(through("test.v1.Everything", &format!("{{\"any\":{span}}}")).contains(span));
    let wrong = [
        (r#"{"any":{}}"#, "any: expected an object with one \"@type\", a string"),
        (r#"{"any":3}"#, "any: expected an object with one \"@type\", a string"),
        (r#"{"any":{"@type":"a/b.C"}}"#, "any: \"@type\" names \"a/b.C\", which is not known here"),
        (
            r#"{"any":{"titel":1,"@type":"x/test.v1.Book"}}"#,
            "any.titel: is not a field of this request; known fields: book_id, title, status, \
             page_count, metadata, tags, created_at, subtitle",
        ),
    ];
    for (text, message) in wrong {
        assert_eq!(read("test.v1.Everything", text).expect_err(text), message);
    }
}

#[test]
fn what_is_wrong_says_where_and_what_would_be_right() {
    for (text, message) in [
        (r#"{"i32":2147483648}"#, "i32: expected a 32-bit integer, got 2147483648"),
        (r#"{"i32":"x"}"#, "i32: expected a 32-bit integer, got \"x\""),
        (r#"{"i32":1.5}"#, "i32: expected a 32-bit integer, got 1.5"),
        (r#"{"i32":"+1"}"#, "i32: expected a 32-bit integer, got \"+1\""),
        (r#"{"u64":-1}"#, "u64: expected an unsigned 64-bit integer, got -1"),
        (r#"{"single":1e300}"#, "single: expected a 32-bit number, got 1000000000000"),
        (r#"{"flag":"true"}"#, "flag: expected true or false, got \"true\""),
        (r#"{"text":5}"#, "text: expected a string, got 5"),
        (r#"{"data":"?"}"#, "data: expected bytes in base64, got \"?\""),
        (r#"{"status":"sold"}"#, "status: expected one of \"on_shelf\", \"lent\", got \"sold\""),
        (r#"{"status":9}"#, "status: expected one of \"on_shelf\", \"lent\", got 9"),
        (r#"{"nested":[]}"#, "nested: expected an object, got an array"),
        (r#"{"books":{"a":[1]}}"#, "books: expected an array, got an object"),
        (r#"{"books":[{},{"title":3}]}"#, "books[1].title: expected a string, got 3"),
        (r#"{"books":[null]}"#, "books[0]: an element cannot be null"),
        (r#"{"counts":{"a b":"x"}}"#, "counts[\"a b\"]: expected a 64-bit integer, got \"x\""),
        (
            r#"{"by_number":{"x":{}}}"#,
            "by_number[\"x\"]: as a key: expected a 32-bit integer, got \"x\"",
        ),
        (r#"{"by_flag":{"true":"a","true":"b"}}"#, "by_flag[\"true\"]: is given twice"),
        (r#"{"text":"a","text":"b"}"#, "text: is given twice"),
        (r#"{"camel_case_name":"a","camelCaseName":"b"}"#, "camel_case_name: is given twice"),
        (
            r#"{"choice_text":"a","choice_book":{}}"#,
            "choice_book: cannot be given together with choice_text",
        ),
        (
            r#"{"time":"yesterday"}"#,
            "time: expected a date and time as in \"2026-01-31T12:00:00Z\", got \"yesterday\"",
        ),
        (r#"{"span":"5"}"#, "span: expected seconds as in \"1.5s\", got \"5\""),
        (r#"{"struct":[]}"#, "struct: expected an object"),
        (r#"[]"#, "the body: expected an object, got an array"),
        ("{\n  \"text\": \"a\",\n}", "trailing comma at line 3, column 1"),
        (r#"{"text":"a"} x"#, "trailing characters at line 1, column 14"),
        (r#"{"json":{"a":}}"#, "expected value at line 1, column 14"),
    ] {
        let found = read("test.v1.Everything", text).expect_err(text);
        assert!(found.starts_with(message), "{text}: {found}");
    }
    let unknown = read("test.v1.Book", r#"{"titel":"x","pages":[{}]}"#).expect_err("unknown");
    assert_eq!(
        unknown,
        "titel: is not a field of this request; known fields: book_id, title, status, page_count, \
         metadata, tags, created_at, subtitle (and 1 more)"
    );
}

/// Any value of a field, nested at most `depth` deep.
fn value(kind: &Kind, json: bool, depth: u32) -> BoxedStrategy<Value> {
    match kind {
        Kind::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => any::<i32>().prop_map(Value::I32).boxed(),
        Kind::Uint32 | Kind::Fixed32 => any::<u32>().prop_map(Value::U32).boxed(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => any::<i64>().prop_map(Value::I64).boxed(),
        Kind::Uint64 | Kind::Fixed64 => any::<u64>().prop_map(Value::U64).boxed(),
        Kind::Float => any::<f32>().prop_map(Value::F32).boxed(),
        Kind::Double => any::<f64>().prop_map(Value::F64).boxed(),
        Kind::String if json => {
            const TEXTS: [&str; 5] =
                ["{\"b\":1.10, \"a\":[null,1e999]}", "0", "\"x\\n\"", "[ ]", "true"];
            proptest::sample::select(&TEXTS[..]).prop_map(|it| Value::String(it.to_owned())).boxed()
        }
        Kind::String => any::<String>().prop_map(Value::String).boxed(),
        Kind::Bytes => any::<Vec<u8>>().prop_map(|it| Value::Bytes(it.into())).boxed(),
        Kind::Enum(descriptor) => {
            let numbers: Vec<_> = descriptor.values().map(|value| value.number()).collect();
            proptest::sample::select(numbers).prop_map(Value::EnumNumber).boxed()
        }
        Kind::Message(descriptor) => message(descriptor, depth).prop_map(Value::Message).boxed(),
    }
}

/// Any message, with a few of its fields set.
fn message(descriptor: &MessageDescriptor, depth: u32) -> BoxedStrategy<DynamicMessage> {
    let descriptor = descriptor.clone();
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            return parts(descriptor, -62_135_596_800..=253_402_300_799, 0..=999_999_999);
        }
        "google.protobuf.Duration" => {
            return parts(descriptor, 0..=315_575_999_999, 0..=999_999_999);
        }
        "google.protobuf.FieldMask" => {
            let path = "[a-z]{1,4}(_[a-z]{1,3}){0,2}(\\.[a-z]{1,3}){0,2}".prop_map(Value::String);
            let paths = proptest::collection::vec(path, 0..3).prop_map(Value::List);
            return set(descriptor, vec![(1, paths.boxed())]);
        }
        "google.protobuf.Value" => return dynamic_value(descriptor, depth),
        "google.protobuf.Any" => {
            return message(&pool().get_message_by_name("test.v1.Book").expect("it"), 0)
                .prop_map(move |book| {
                    use prost::Message as _;
                    let mut any = DynamicMessage::new(descriptor.clone());
                    let url = "type.googleapis.com/test.v1.Book".to_owned();
                    any.set_field_by_number(1, Value::String(url));
                    any.set_field_by_number(2, Value::Bytes(book.encode_to_vec().into()));
                    any
                })
                .boxed();
        }
        _ => {}
    }
    let fields: Vec<_> = descriptor
        .fields()
        .filter(|field| depth > 0 || !matches!(field.kind(), Kind::Message(_)))
        .map(|field| (field.number(), field_value(&field, depth.saturating_sub(1))))
        .collect();
    // Wrappers and the like are their one field; of others a few are set.
    let most = if descriptor.full_name().starts_with("google.") { 1 } else { 6 };
    let count = fields.len();
    proptest::sample::subsequence(fields, 0..=count.min(most))
        .prop_flat_map(move |fields| set(descriptor.clone(), fields))
        .boxed()
}

fn field_value(field: &prost_reflect::FieldDescriptor, depth: u32) -> BoxedStrategy<Value> {
    let json = crate::options::is_json(field);
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = value(&entry.map_entry_key_field().kind(), false, 0);
            let value = value(&entry.map_entry_value_field().kind(), json, depth);
            let key = key.prop_filter_map("a key", Value::into_map_key);
            proptest::collection::hash_map(key, value, 0..3)
                .prop_map(|map: HashMap<MapKey, Value>| Value::Map(map))
                .boxed()
        }
        kind if field.is_list() => {
            let element = value(&kind, json, depth);
            proptest::collection::vec(element, 0..3).prop_map(Value::List).boxed()
        }
        kind => value(&kind, json, depth),
    }
}

fn set(
    descriptor: MessageDescriptor,
    fields: Vec<(u32, BoxedStrategy<Value>)>,
) -> BoxedStrategy<DynamicMessage> {
    let (numbers, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    values
        .prop_map(move |values| {
            let mut message = DynamicMessage::new(descriptor.clone());
            for (number, value) in numbers.iter().zip(values) {
                message.set_field_by_number(*number, value);
            }
            message
        })
        .boxed()
}

fn parts(
    descriptor: MessageDescriptor,
    seconds: std::ops::RangeInclusive<i64>,
    nanos: std::ops::RangeInclusive<i32>,
) -> BoxedStrategy<DynamicMessage> {
    let fields =
        vec![(1, seconds.prop_map(Value::I64).boxed()), (2, nanos.prop_map(Value::I32).boxed())];
    set(descriptor, fields)
}

fn dynamic_value(descriptor: MessageDescriptor, depth: u32) -> BoxedStrategy<DynamicMessage> {
    let kinds = [1_u32, 2, 3, 4, 5, 6].into_iter().filter(|number| depth > 0 || *number < 5);
    let arms: Vec<_> = kinds
        .map(|number| {
            let field = descriptor.get_field(number).expect("an arm of Value");
            let value = match field.kind() {
                Kind::Double => (-1e9..1e9_f64).prop_map(Value::F64).boxed(),
                kind => value(&kind, false, depth.saturating_sub(1)),
            };
            set(descriptor.clone(), vec![(number, value)])
        })
        .collect();
    Union::new(arms).boxed()
}

/// A message that a failed test can print: descriptors of recursive messages print for ever.
struct Shown(DynamicMessage);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&canonical(&self.0))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_as_the_same_message(
        Shown(message) in message(&pool().get_message_by_name("test.v1.Everything").expect("it"), 2)
            .prop_map(Shown),
    ) {
        let text = write(&message);
        prop_assert!(serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok(), "{text}");
        let again = read("test.v1.Everything", &text).map_err(|error| {
            TestCaseError::fail(format!("{error} in {text}"))
        })?;
        // By the wire, where a value that is not a number equals itself.
        prop_assert_eq!(write(&again), text);
        let (sent, got) = (canonical(&message), canonical(&again));
        prop_assert_eq!(sent, got);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}|[\\[\\]{}:,\"a-c0-9 .e-]{0,60}") {
        let _ = read("test.v1.Everything", &text);
        let _ = read("test.v1.Everything", &format!("{{\"text\":{text}}}"));
        let _ = read("test.v1.Everything", &format!("{{\"value\":{text},\"any\":{text}}}"));
    }
}

/// A form in which equal messages are equal: fields that are set to their default are not set.
fn canonical(message: &DynamicMessage) -> String {
    let shown: Vec<_> = message.fields().map(|(field, value)| show(field.name(), value)).collect();
    format!("{{{}}}", shown.join(","))
}

fn show(name: &str, value: &Value) -> String {
    let value = match value {
        Value::Message(message) => canonical(message),
        Value::List(values) => {
            values.iter().map(|value| show("", value)).collect::<Vec<_>>().join(",")
        }
        Value::Map(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let shown = entries.iter().map(|(key, value)| show(&format!("{key:?}"), value));
            shown.collect::<Vec<_>>().join(",")
        }
        value => format!("{value:?}"),
    };
    format!("{name}={value}")
}
