use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::{ByteSize, Duration, SecretString};

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(default)]
struct Config {
    data_dir: String,
    storage: Storage,
    llm: Llm,
}

impl Default for Config {
    fn default() -> Self {
        Self { data_dir: "/data".into(), storage: Storage::default(), llm: Llm::default() }
    }
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
#[serde(default)]
struct Storage {
    path: String,
    port: u16,
    busy_timeout: Duration,
    page: ByteSize,
    mode: Mode,
    url: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            path: "cortex.db".into(),
            port: 8084,
            busy_timeout: Duration::from_secs(5),
            page: ByteSize::kib(4),
            mode: Mode::Wal,
            url: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Wal,
    Rollback,
}

#[derive(Debug, Default, Serialize, Deserialize, PartialEq)]
#[serde(default)]
struct Llm {
    enabled: bool,
    gemini_api_key: Option<SecretString>,
    models: Vec<String>,
    temperature: Option<f64>,
    headers: BTreeMap<String, String>,
    providers: Vec<Provider>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq)]
struct Provider {
    name: String,
    #[serde(default)]
    weight: u8,
}

impl Validate for Config {
    fn validate(&self, problems: &mut Problems, path: &KeyPath) {
        if self.storage.port < 1024 {
            problems.add(path.key("storage").key("port"), "must be 1024 or more");
        }
        for (index, provider) in self.llm.providers.iter().enumerate() {
            if provider.name.is_empty() {
                let path = path.key("llm").key("providers").index(index).key("name");
                problems.add(path, "must not be empty");
            }
        }
    }
}

const ALIASES: &[Alias] = &[
    Alias::new("DATABASE_URL", "storage.url"),
    Alias::new("DB_PATH", "storage.path"),
    Alias::new("GEMINI_API_KEY", "llm.gemini_api_key"),
    Alias::new("GOOGLE_API_KEY", "llm.gemini_api_key"),
    Alias::new("ENABLE_GEMINI", "llm.enabled"),
];

fn env(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("cortex.yaml");
    fs::write(&path, text).expect("the file is written");
    File { _dir: dir, path }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<Config>, String> {
    let file = file(text);
    Loader::new()
        .file(FileChoice::Exactly(file.path.clone()))
        .aliases(ALIASES)
        .env(env(variables))
        .load::<Config>()
        .map_err(|problems| {
            problems.to_string().replace(&file.path.display().to_string(), "cortex.yaml")
        })
}

#[test]
fn without_anything_defaults_hold() {
    let loaded = Loader::new().load::<Config>().expect("defaults are valid");
    assert_eq!(loaded.value, Config::default());
    assert_eq!(*loaded.origin("storage.port"), Origin::Default);
    assert_eq!(loaded.file(), None);
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let file = file("storage:\n  path: file.db\n  port: 2000\n  url: file\nllm:\n");
    let loaded = Loader::new()
        .file(FileChoice::FirstOf(vec!["/nowhere/cortex.yaml".into(), file.path.clone()]))
        .aliases(ALIASES)
        .env(env(&[
            ("DB_PATH", "alias.db"),
            ("CORTEX_STORAGE__PORT", "3000"),
            ("CORTEX_DATA_DIR", "/d"),
        ]))
        .flag("--port", "storage.port", "4000")
        .load::<Config>()
        .expect("valid");
    let storage = &loaded.value.storage;
    assert_eq!(
        (storage.path.as_str(), storage.port, storage.url.as_deref()),
        ("alias.db", 4000, Some("file"))
    );
    assert_eq!(loaded.value.data_dir, "/d");
    assert_eq!(loaded.origin("storage.port").to_string(), "flag --port");
    assert_eq!(loaded.origin("storage.path").to_string(), "environment DB_PATH");
    assert!(loaded.origin("storage.url").to_string().ends_with("cortex.yaml:4:8"));
    assert_eq!(loaded.file(), Some(file.path.as_path()));
}

#[test]
fn the_environment_is_read_as_its_target_asks() {
    let loaded = load(
        "",
        &[
            ("CORTEX_STORAGE__PATH", "1234"),
            ("CORTEX_STORAGE__BUSY_TIMEOUT", "1m30s"),
            ("CORTEX_STORAGE__PAGE", "64KiB"),
            ("CORTEX_STORAGE__MODE", "rollback"),
            ("CORTEX_LLM__MODELS", "a, b"),
            ("CORTEX_LLM__TEMPERATURE", "1"),
            ("CORTEX_LLM__HEADERS", "{x-a: 'true'}"),
            ("CORTEX_LLM__HEADERS__X-B", "17"),
            ("CORTEX_LLM__PROVIDERS", "[{name: one, weight: 3}]"),
            ("ENABLE_GEMINI", "true"),
            ("GEMINI_API_KEY", "0123"),
            ("DATABASE_URL", ""),
            ("CORTEX_UNRELATED", "x"),
        ],
    )
    .expect("valid");
    let Config { storage, llm, .. } = &loaded.value;
    assert_eq!(storage.path, "1234");
    assert_eq!(storage.busy_timeout, Duration::from_secs(90));
    assert_eq!(storage.page, ByteSize::kib(64));
    assert_eq!(storage.mode, Mode::Rollback);
    assert_eq!(storage.url, None);
    assert_eq!(llm.models, ["a", "b"]);
    assert_eq!(llm.temperature, Some(1.0));
    assert_eq!(llm.providers, [Provider { name: "one".into(), weight: 3 }]);
    assert!(llm.enabled);
    assert_eq!(llm.gemini_api_key.as_ref().map(SecretString::expose), Some("0123"));
    assert_eq!(llm.headers.get("x-b").map(String::as_str), Some("17"));
}

#[test]
fn an_earlier_alias_wins_and_the_full_name_wins_over_both() {
    let secret = |variables: &[(&str, &str)]| {
        let loaded = load("", variables).expect("valid");
        loaded.value.llm.gemini_api_key.expect("set").expose().to_owned()
    };
    let both = [("GEMINI_API_KEY", "gemini"), ("GOOGLE_API_KEY", "google")];
    assert_eq!(secret(&both), "gemini");
    let all = [both[0], both[1], ("CORTEX_LLM__GEMINI_API_KEY", "full")];
    assert_eq!(secret(&all), "full");
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "\
storage:
  prot: 1
  port: 70000
  busy_timeout: 5 parsecs
  mode: wall
llm:
  enabled: perhaps
  models: one
  gemini_api_key: 12345
  providers:
    - name: ''
      weight: 1
    - weight: 300
sorage: {}
";
    let problems = load(text, &[("CORTEX_STORAGE__PAGE", "huge"), ("CORTEX_LMM__X", "1")])
        .expect_err("invalid");
    insta::assert_snapshot!(problems);
}

#[test]
fn a_value_out_of_range_names_its_origin() {
    let problems = load("storage: {port: 80}", &[]).expect_err("invalid");
    assert_eq!(problems, "cortex.yaml:1:17: storage.port: must be 1024 or more");
    let problems = load("", &[("CORTEX_STORAGE__PORT", "80")]).expect_err("invalid");
    assert_eq!(problems, "environment CORTEX_STORAGE__PORT: storage.port: must be 1024 or more");
}

#[test]
fn a_file_that_cannot_be_used_is_a_problem() {
    let missing =
        Loader::new().file(FileChoice::Exactly("/nowhere/c.yaml".into())).load::<Config>();
    assert!(missing.expect_err("missing").to_string().contains("cannot be read"));
    assert!(load("- a list", &[]).expect_err("a list").contains("expected a map of sections"));
    assert!(load("storage: {port: 1", &[]).expect_err("broken").starts_with("cortex.yaml:"));
    let mixed = load("storage: {port: x", &[("CORTEX_STORAGE__PORT", "1")]).expect_err("both");
    assert_eq!(mixed.lines().count(), 2, "{mixed}");
}

#[test]
fn secrets_are_never_printed_and_the_rest_reads_back() {
    let loaded = load(
        "llm:\n  headers: {a: 'yes', b: '1', c: '# no comment'}\n",
        &[("GEMINI_API_KEY", "hunter2"), ("CORTEX_STORAGE__PATH", "a b: c")],
    )
    .expect("valid");
    let printed = loaded.print();
    insta::assert_snapshot!(printed);
    insta::assert_snapshot!(
        loaded
            .print_with_origins()
            .replace(&loaded.file().expect("a file").display().to_string(), "cortex.yaml")
    );
    assert!(!format!("{loaded:?}").contains("hunter2"), "{loaded:?}");

    let error = load(&printed, &[]).expect_err("the placeholder is noticed");
    assert!(error.contains("placeholder"), "{error}");
    let again = load(&printed, &[("GEMINI_API_KEY", "hunter2")]).expect("reads back");
    assert_eq!(again.value, loaded.value);
}

#[test]
fn the_usual_file_is_looked_for_where_users_expect_it() {
    let none = |_: &str| None;
    let home = |name: &str| (name == "HOME").then(|| "/home/u".to_owned());
    let flag = FileChoice::usual(Some("x.yaml".into()), Path::new("/w"), none);
    assert_eq!(flag, FileChoice::Exactly("x.yaml".into()));
    assert_eq!(
        FileChoice::usual(None, Path::new("/w"), home),
        FileChoice::FirstOf(vec![
            "/w/cortex.yaml".into(),
            "/home/u/.config/cortex/cortex.yaml".into()
        ])
    );
}
