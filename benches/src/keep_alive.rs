//! A client of HTTP/1.1 that costs next to nothing: requests are bytes, and of an answer only the status
//! and the length are looked at. As wrk does it.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Outcome;

/// What ends the head of an answer.
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// The field of the head that is looked for, in the case in which hyper writes it.
const LENGTH: &[u8] = b"content-length:";
/// Heads are shorter.
const MAX_HEAD: usize = 64 << 10;

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::with_capacity(4096) })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// Any status but 200, with the answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Outcome<()> {
        self.stream.write_all(request).await?;
        self.received.clear();
        loop {
            self.read().await?;
            if let Some(length) = whole(&self.received)? {
                return self.check(length);
            }
        }
    }

    async fn read(&mut self) -> Outcome<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err("the connection was closed before the answer".into()),
            _ => Ok(()),
        }
    }

    fn check(&self, length: usize) -> Outcome<()> {
        if self.received.len() != length {
            return Err("more came than one answer".into());
        }
        if !self.received.starts_with(b"HTTP/1.1 200 ") {
            return Err(String::from_utf8_lossy(&self.received).into());
        }
        Ok(())
    }
}

/// A request as bytes.
pub(crate) fn request(method: &str, path: &str, address: SocketAddr, body: &str) -> Vec<u8> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    if !body.is_empty() {
        let length = body.len();
        request += &format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    }
    request += "\r\n";
    request += body;
    request.into_bytes()
}

/// The length of the answer that `received` begins with, once all of it is there.
fn whole(received: &[u8]) -> Outcome<Option<usize>> {
    let Some(head) = received.windows(END_OF_HEAD.len()).position(|bytes| bytes == END_OF_HEAD)
    else {
        let endless = received.len() > MAX_HEAD;
        return if endless { Err("an answer's head has no end".into()) } else { Ok(None) };
    };
    let field =
        received[..head].split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(LENGTH));
    let body: usize =
        std::str::from_utf8(field.ok_or("an answer without a length")?)?.trim().parse()?;
    let length = head + END_OF_HEAD.len() + body;
    Ok((received.len() >= length).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: today\r\n\r\nhello";
        for part in 0..answer.len() {
            assert_eq!(whole(&answer[..part]).unwrap(), None, "{part}");
        }
        assert_eq!(whole(answer).unwrap(), Some(answer.len()));
        assert_eq!(whole(&[answer.as_slice(), b"HTTP"].concat()).unwrap(), Some(answer.len()));
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert!(whole(answer).is_err());
        assert!(whole(&[b'x'; MAX_HEAD + 1]).is_err());
    }

    #[test]
    fn a_request_names_its_host_and_the_length_of_its_body() {
        let address = "127.0.0.1:8084".parse().unwrap();
        let get = "GET /x HTTP/1.1\r\nhost: 127.0.0.1:8084\r\n\r\n";
        assert_eq!(request("GET", "/x", address, ""), get.as_bytes());
        let post = request("POST", "/x", address, "{}");
        assert!(post.ends_with(b"\r\ncontent-length: 2\r\n\r\n{}"));
    }
}
