//! A plain HTTP GET from a place.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use super::{place::Place, server::ANSWER_LIMIT};

/// Status code, and the whole answer with its headers.
pub fn http_get(place: &Place, address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = place.connect(address)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let code = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, text.clone()))?;
    Ok((code, text))
}
