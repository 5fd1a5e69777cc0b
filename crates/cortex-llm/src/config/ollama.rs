//! Where Ollama is, from what OLLAMA_HOST may hold.

use url::Url;

/// Port that Ollama listens on by itself.
const OLLAMA_PORT: u16 = 11434;

/// The base URL of Ollama's OpenAI-compatible API, from what OLLAMA_HOST may hold: a host, a host
/// with a port, or a URL. Empty is this machine; an address to bind to every interface stands for this machine.
///
/// # Errors
/// What is wrong, for a person.
pub fn ollama_base_url(host: &str) -> Result<Url, String> {
    let host = if host.trim().is_empty() { "127.0.0.1" } else { host.trim() };
    let explicit = host.starts_with("http://") || host.starts_with("https://");
    let text = if explicit { host.to_owned() } else { format!("http://{host}") };
    let mut url = Url::parse(&text).map_err(|error| format!("'{host}' is no host: {error}"))?;
    if url.port().is_none() && !explicit {
        url.set_port(Some(OLLAMA_PORT)).map_err(|()| format!("'{host}' is no host"))?;
    }
    if matches!(url.host_str(), Some("0.0.0.0" | "[::]")) {
        url.set_host(Some("127.0.0.1")).map_err(|error| format!("'{host}': {error}"))?;
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with("/v1") {
        url.set_path(&format!("{path}/v1"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ollama_hosts_are_read_as_ollama_reads_them() {
        for (host, url) in [
            ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
            ("", "http://127.0.0.1:11434/v1"),
            ("ollama", "http://ollama:11434/v1"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000/v1"),
            ("http://ollama:11434/", "http://ollama:11434/v1"),
            ("https://models.example/ollama", "https://models.example/ollama/v1"),
            ("http://models.example:8080/v1", "http://models.example:8080/v1"),
        ] {
            assert_eq!(ollama_base_url(host).map(String::from), Ok(url.to_owned()), "{host}");
        }
        assert!(ollama_base_url("http://").is_err());
    }
}
