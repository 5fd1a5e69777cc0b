//! `web_search`: asks an endpoint that speaks the JSON API of SearxNG
//! (<https://docs.searxng.org/dev/search_api.html>).

use serde::{Deserialize, Serialize};

use crate::{
    contract::{self, Answer, ToolError},
    http,
};

/// Hits when the caller does not say.
const DEFAULT_LIMIT: usize = 5;
/// Hits at most.
const MAX_LIMIT: usize = 20;

#[derive(Deserialize)]
struct Parameters {
    query: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct Response {
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    title: String,
    url: String,
    #[serde(default)]
    content: Option<String>,
}

#[derive(Serialize)]
struct Hit {
    title: String,
    url: String,
    snippet: String,
}

/// Searches at the endpoint that SEARCH_ENDPOINT names.
pub(crate) fn run(parameters: &str) -> Result<Answer, ToolError> {
    search(parameters, std::env::var("SEARCH_ENDPOINT").ok().as_deref())
}

fn search(parameters: &str, endpoint: Option<&str>) -> Result<Answer, ToolError> {
    let parameters: Parameters = contract::parse(parameters)?;
    let query = parameters.query.trim();
    if query.is_empty() {
        return Err(ToolError::new("'query' is empty"));
    }
    let limit = parameters.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ToolError(format!("'limit' is {limit}; it must be 1 to {MAX_LIMIT}")));
    }
    let endpoint = endpoint.map(str::trim).filter(|url| !url.is_empty()).ok_or_else(|| {
        ToolError::new(
            "web search is not configured: set SEARCH_ENDPOINT to the search URL of a SearxNG \
             instance over plain HTTP, for example http://searxng:8080/search, in the tool's \
             environment, and allow the tool a network",
        )
    })?;
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    let body = http::get(&format!("{endpoint}{separator}q={}&format=json", http::encode(query)))?;
    let response: Response = serde_json::from_slice(&body).map_err(|error| {
        ToolError(format!("the endpoint's answer is no search result in JSON: {error}"))
    })?;
    Ok(Answer::new(response.results.into_iter().take(limit).map(hit).collect::<Vec<_>>()))
}

fn hit(found: Found) -> Hit {
    Hit { title: found.title, url: found.url, snippet: found.content.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// Answers one request with `response` and returns what was asked.
    fn endpoint(response: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/search", listener.local_addr().unwrap());
        let served = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap();
            stream.write_all(response.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        (url, served)
    }

    #[test]
    fn hits_are_returned_up_to_the_limit() {
        let (url, served) = endpoint(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"query\":\"x\",\"results\":[\
             {\"title\":\"A\",\"url\":\"http://a\",\"content\":\"first\"},\
             {\"title\":\"B\",\"url\":\"http://b\",\"content\":null},\
             {\"title\":\"C\",\"url\":\"http://c\"}]}",
        );
        let answer = search(r#"{"query":"quantum computing","limit":2}"#, Some(&url)).unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            r#"{"success":true,"result":[{"title":"A","url":"http://a","snippet":"first"},{"title":"B","url":"http://b","snippet":""}]}"#
        );
        let request = served.join().unwrap();
        assert!(request.starts_with("GET /search?q=quantum%20computing&format=json HTTP/1.1\r\n"));
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let error = |endpoint: Option<&str>| search(r#"{"query":"x"}"#, endpoint).unwrap_err().0;
        assert!(error(None).contains("set SEARCH_ENDPOINT"));
        assert!(error(Some(" ")).contains("set SEARCH_ENDPOINT"));
        assert!(error(Some("https://x/")).contains("no TLS"));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(error(Some(&format!("http://{closed}/"))).contains("connecting to"));
        let (url, served) = endpoint("HTTP/1.1 200 OK\r\n\r\n<html>");
        assert!(error(Some(&url)).contains("no search result in JSON"));
        served.join().unwrap();
        assert!(search(r#"{"query":"x","limit":0}"#, None).unwrap_err().0.contains("limit"));
    }
}
