//! One JSON document per line.

use std::io::{self, BufRead, Read as _, Write};

use serde::{Serialize, de::DeserializeOwned};

/// Longest line that is read, in bytes: a request with hundreds of ports fits many times.
pub const MAX_LINE: u64 = 1 << 20;

/// Writes one document and its newline in one write.
pub fn write_line<T: Serialize>(to: &mut impl Write, document: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Reads one document. An end of stream in front of it is an error.
pub fn read_line<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "closed without an answer",
        ));
    }
    Ok(serde_json::from_slice(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::{Add, Call, Key, PortMapping, Refusal, Reply, Request, Response};

    #[test]
    fn a_request_survives_the_wire_and_is_one_line() {
        let request = Request::new(Call::Add(Box::new(Add {
            key: Key {
                container_id: "abc".into(),
                ifname: "eth0".into(),
            },
            ips: vec!["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
            ..Add::default()
        })));
        let mut wire = Vec::new();
        write_line(&mut wire, &request).unwrap();
        assert_eq!(wire.iter().position(|&b| b == b'\n'), Some(wire.len() - 1));
        assert_eq!(read_line::<Request>(&mut wire.as_slice()).unwrap(), request);
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let del = Request::new(Call::Del(Key {
            container_id: "abc".into(),
            ifname: "eth0".into(),
        }));
        assert_eq!(
            serde_json::to_string(&del).unwrap(),
            r#"{"version":1,"op":"del","containerId":"abc","ifname":"eth0"}"#
        );
        let ok = Response::Ok(Reply {
            endpoint: 7,
            ..Reply::default()
        });
        assert_eq!(
            serde_json::to_string(&ok).unwrap(),
            r#"{"status":"ok","endpoint":7}"#
        );
        let refusal = Response::Error(Refusal {
            code: 11,
            msg: "m".into(),
            details: "d".into(),
        });
        assert_eq!(
            serde_json::to_string(&refusal).unwrap(),
            r#"{"status":"error","code":11,"msg":"m","details":"d"}"#
        );
    }

    #[test]
    fn both_spellings_of_a_port_mapping_are_read() {
        let pascal =
            r#"{"HostPort":8080,"ContainerPort":80,"Protocol":"tcp","HostIP":"192.0.2.1"}"#;
        let camel = r#"{"hostPort":8080,"containerPort":80,"protocol":"tcp","hostIP":"192.0.2.1"}"#;
        let pascal: PortMapping = serde_json::from_str(pascal).unwrap();
        let camel: PortMapping = serde_json::from_str(camel).unwrap();
        assert_eq!(pascal, camel);
        assert_eq!(pascal.host_ip, "192.0.2.1");
    }

    #[test]
    fn an_empty_stream_is_an_error() {
        let error = read_line::<Response>(&mut [].as_slice()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
