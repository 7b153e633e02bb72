//! HTTP GETs from a place.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use super::{place::Place, server::ANSWER_LIMIT};

/// Status code, and the whole answer with its headers.
pub fn http_get(place: &Place, address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let stream = place.connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    http_get_over(stream, &address.to_string(), path)
}

/// As [`http_get`], over a connection that is there, be it encrypted.
pub fn http_get_over(
    mut stream: impl Read + Write,
    host: &str,
    path: &str,
) -> io::Result<(u16, String)> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let code = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text.clone()))?;
    Ok((code, text))
}
