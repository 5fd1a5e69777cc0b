//! A small HTTP/1.1 client (RFC 9112) on a plain socket: one GET, bounded in time and size. No TLS.

use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use crate::contract::ToolError;

/// From the first byte sent to the last one read.
const DEADLINE: Duration = Duration::from_secs(15);
/// For one address to accept the connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest response, head and body, in bytes.
const MAX_RESPONSE: usize = 4 << 20;

/// Where a request goes.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Self, ToolError> {
        let wrong = |why: &str| ToolError(format!("'{url}' cannot be used: {why}"));
        if url.starts_with("https://") {
            return Err(wrong("this client has no TLS; put a plain http:// endpoint before it"));
        }
        let rest =
            url.strip_prefix("http://").ok_or_else(|| wrong("it must start with http://"))?;
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(split);
        if authority.is_empty() || authority.contains('@') {
            return Err(wrong("it must name a host, without a user"));
        }
        if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return Err(wrong("it contains blanks"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| wrong("its port is no number up to 65535"))?)
            }
            _ => (authority, 80),
        };
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { host: host.to_owned(), port, path })
    }
}

/// The body of the answer to a GET of `url`.
pub(crate) fn get(url: &str) -> Result<Vec<u8>, ToolError> {
    let target = Target::parse(url)?;
    let deadline = Instant::now() + DEADLINE;
    let (host, port) = (&target.host, target.port);
    let failed = |what: &str, error: &io::Error| {
        ToolError(format!("{what} http://{host}:{port} failed: {error}"))
    };
    let mut stream = connect(&target).map_err(|error| failed("connecting to", &error))?;
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: cortex-toolbox/{}\r\n\
         Accept: application/json\r\nConnection: close\r\n\r\n",
        target.path,
        env!("CARGO_PKG_VERSION"),
    );
    stream
        .set_write_timeout(Some(CONNECT))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(|error| failed("asking", &error))?;
    let response =
        read(&mut stream, deadline).map_err(|error| failed("reading the answer of", &error))?;
    body(&response)
}

fn connect(target: &Target) -> io::Result<TcpStream> {
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read(stream: &mut TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut response = Vec::new();
    let mut piece = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long"));
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut piece)?;
        if count == 0 {
            return Ok(response);
        }
        response.extend_from_slice(&piece[..count]);
        if response.len() > MAX_RESPONSE {
            let message = format!("it is longer than {MAX_RESPONSE} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
    }
}

/// The body of a whole response: status 200, by chunks or up to its end.
fn body(response: &[u8]) -> Result<Vec<u8>, ToolError> {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .ok_or_else(|| ToolError::new("the answer is no HTTP response"))?;
    let head = String::from_utf8_lossy(&response[..end]);
    let rest = &response[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(ToolError(format!("the endpoint answered '{status}'")));
    }
    let header = |name: &str| {
        head.split("\r\n").skip(1).filter_map(|line| line.split_once(':')).find_map(
            |(key, value)| key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned()),
        )
    };
    if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return chunks(rest).ok_or_else(|| ToolError::new("the answer was cut short"));
    }
    match header("content-length").map(|length| length.parse::<usize>()) {
        Some(Ok(length)) if rest.len() >= length => Ok(rest[..length].to_vec()),
        Some(_) => Err(ToolError::new("the answer was cut short")),
        None => Ok(rest.to_vec()),
    }
}

/// Joins the chunks of RFC 9112, section 7.1. `None`: they are cut or malformed.
fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size.checked_add(2)?..)?;
    }
}

/// Encodes a value for a query: everything but the unreserved characters of RFC 3986.
pub(crate) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read() {
        let target = |url| Target::parse(url).unwrap();
        assert_eq!(
            target("http://searx:8888/search?q=1"),
            Target { host: "searx".into(), port: 8888, path: "/search?q=1".into() }
        );
        assert_eq!(target("http://[::1]/").host, "[::1]");
        assert_eq!(target("http://host?q=1").path, "/?q=1");
        for url in
            ["https://x/", "ftp://x", "http://", "http://u@h/", "http://h:99999/", "http://h/a b"]
        {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn bodies_are_joined_and_cuts_are_noticed() {
        let head = "HTTP/1.1 200 OK\r\n";
        let whole = |rest: &str| body(format!("{head}{rest}").as_bytes());
        assert_eq!(whole("Content-Length: 2\r\n\r\nokXX").unwrap(), b"ok");
        assert_eq!(whole("transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").unwrap(), b"ok");
        assert_eq!(whole("X: y\r\n\r\nall").unwrap(), b"all");
        assert!(whole("Content-Length: 9\r\n\r\nok").is_err());
        assert!(whole("Transfer-Encoding: chunked\r\n\r\n5\r\nok\r\n").is_err());
        assert!(whole("Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nok\r\n").is_err());
        assert!(body(b"HTTP/1.1 503 Busy\r\n\r\n").unwrap_err().0.contains("503 Busy"));
        assert!(body(b"junk").is_err());
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("a b&c=ü"), "a%20b%26c%3D%C3%BC");
    }
}
