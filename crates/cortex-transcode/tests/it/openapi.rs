//! The OpenAPI document: what it says, and that a third party finds it valid.

use std::{path::Path, process::Command};

use cortex_transcode::{OpenApiInfo, openapi};
use prost_reflect::ServiceDescriptor;
use serde_json::{Value, json};

use crate::server::{LIBRARY, pool};

fn info() -> OpenApiInfo {
    OpenApiInfo {
        title: "Library".to_owned(),
        version: "1.0.0".to_owned(),
        description: "Books.".to_owned(),
        servers: vec!["http://localhost:8080".to_owned()],
    }
}

fn library() -> Value {
    openapi(pool(), &[LIBRARY], &info()).expect("the annotations fit")
}

#[test]
fn the_document_is_the_golden_one() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/openapi.json");
    let document = serde_json::to_string_pretty(&library()).expect("a document is JSON") + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &document).expect("the golden file is writable");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(document, expected, "run with UPDATE_GOLDEN=1 and read the difference");
}

#[test]
fn every_binding_is_an_operation_with_an_id_of_its_own() {
    let document = library();
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.values().flat_map(|item| item.as_object().expect("an item").values());
    let mut ids: Vec<_> = operations.map(|it| it["operationId"].as_str().expect("an id")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert_eq!(count, crate::server::asked().routes().count());
    assert!(ids.contains(&"LibraryService_GetBook_2"));
}

#[test]
fn what_a_reader_needs_is_said() {
    let document = library();
    let get = &document["paths"]["/v1/shelves/{name.1}/books/{name.2}"]["get"];
    assert_eq!(get["summary"], "One book, by its name");
    let list = &document["paths"]["/v1/books"]["get"];
    let names: Vec<_> = list["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .map(|parameter| parameter["name"].as_str().expect("a name"))
        .collect();
    assert!(names.contains(&"filter.status") && names.contains(&"tags"), "{names:?}");
    assert!(!names.contains(&"labels"), "a map is no query parameter");
    assert!(list["responses"]["200"]["headers"]["x-next-page-token"].is_object());

    let ask = &document["paths"]["/v1/books/{book_id}/ask"]["post"];
    let content = ask["responses"]["200"]["content"].as_object().expect("content");
    let types: Vec<_> = content.keys().map(String::as_str).collect();
    assert_eq!(types, ["text/event-stream", "application/x-ndjson", "application/json"]);
    assert!(content["text/event-stream"]["x-events"]["text_delta"].is_object());

    let schemas = &document["components"]["schemas"];
    let book = &schemas["test.v1.Book"];
    assert_eq!(book["description"], "A book.");
    assert_eq!(book["required"], json!(["title"]));
    assert_eq!(book["properties"]["metadata"], json!({"description": "What is known about it."}));
    assert_eq!(schemas["test.v1.BookStatus"]["enum"], json!(["unspecified", "on_shelf", "lent"]));
}

/// openapi-spec-validator, from PyPI, in a virtual environment under the target directory.
fn validate(document: &Value, name: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, document.to_string()).expect("the target directory is writable");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate_openapi.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg(env!("CARGO_TARGET_TMPDIR"))
        .arg(&file)
        .output()
        .expect("bash is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}{}",
        file.display(),
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn a_third_party_finds_the_documents_valid() {
    validate(&library(), "library.openapi.json");
    let contracts = cortex_proto::descriptor_pool();
    let services: Vec<_> = contracts.services().collect();
    let names: Vec<_> = services.iter().map(ServiceDescriptor::full_name).collect();
    let document = openapi(contracts, &names, &info()).expect("the annotations fit");
    validate(&document, "cortex.openapi.json");
    // And that the validator would have noticed.
    let mut broken = library();
    broken["paths"]["/v1/books/{book_id}"]["delete"]["parameters"] = json!([]);
    let found = std::panic::catch_unwind(|| validate(&broken, "broken.openapi.json"));
    assert!(found.is_err(), "a path variable without a parameter is not valid");
}
