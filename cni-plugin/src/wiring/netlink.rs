//! A route netlink socket: one request, its answers. It stays in the namespace in which it was opened.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Make it, or fail if it is there.
pub const CREATE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
/// Make it, or put it in the place of what is there.
pub const REPLACE: u16 = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
/// Change or remove it.
pub const CHANGE: u16 = NLM_F_ACK;
/// Show one. The echo is for what answers such a question by a notification (queueing disciplines), and the
/// acknowledgement ends the answer also where there is none.
pub const SHOW: u16 = NLM_F_ACK | NLM_F_ECHO;
/// List all.
pub const DUMP: u16 = NLM_F_DUMP;

/// How often a request that the kernel asks to repeat is repeated.
const TRIES: u32 = 10;

/// A request that is answered by no more than an acknowledgement, to be sent with others.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is asked for, for the error.
    pub what: String,
    /// The message.
    pub message: RouteNetlinkMessage,
    /// [`CREATE`], [`REPLACE`] or [`CHANGE`].
    pub flags: u16,
}

/// A family, as requests name it.
pub const fn family(ipv4: bool) -> AddressFamily {
    if ipv4 {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

/// A socket.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens one in the calling thread's namespace.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Filters of dumps are applied by the kernel; without it (before 4.20) they would be ignored.
        drop(socket.set_netlink_get_strict_chk(true));
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request and gives its answers. `EINTR` and `EBUSY` (a change at the same time) are repeated.
    pub fn request(
        &mut self,
        message: &RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut tries = 0;
        loop {
            match self.request_once(message.clone(), flags) {
                Err(e)
                    if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EBUSY))
                        && tries < TRIES =>
                {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    /// Sends requests in one go and gives the answer to each, in their order. The kernel carries out all of
    /// them, also after one that fails.
    pub fn batch(&mut self, requests: Vec<Request>) -> io::Result<Vec<io::Result<()>>> {
        let first = self.sequence + 1;
        let mut wire = Vec::new();
        for request in requests {
            self.sequence += 1;
            wire.extend(packet(request.message, request.flags, self.sequence));
        }
        self.socket.send(&wire, 0)?;
        Ok((first..=self.sequence)
            .map(|sequence| self.answers(NLM_F_ACK, sequence).map(drop))
            .collect())
    }

    /// As [`Self::batch`], for requests that must all succeed: the error is that of the first that did not.
    pub fn carry_out(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let names: Vec<String> = requests.iter().map(|r| r.what.clone()).collect();
        for (what, answer) in names.iter().zip(self.batch(requests)?) {
            answer.map_err(|e| io::Error::new(e.kind(), format!("{what}: {e}")))?;
        }
        Ok(())
    }

    fn request_once(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        self.socket
            .send(&packet(message, flags, self.sequence), 0)?;
        self.answers(flags, self.sequence)
    }

    fn answers(&self, flags: u16, sequence: u32) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while rest.len() >= 16 {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
                let length = (answer.header.length as usize).next_multiple_of(4);
                rest = rest.get(length..).unwrap_or_default();
                // Left over from a request that was given up.
                if answer.header.sequence_number != sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(e) => match e.code {
                        Some(_) => return Err(e.to_io()),
                        None => return Ok(answers),
                    },
                    NetlinkPayload::InnerMessage(inner) => {
                        answers.push(inner);
                        if flags & (NLM_F_ACK | NLM_F_DUMP) == 0 {
                            return Ok(answers);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn packet(message: RouteNetlinkMessage, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    // The kernel looks for the next request at a multiple of four.
    let mut wire = vec![0; packet.buffer_len().next_multiple_of(4)];
    packet.serialize(&mut wire);
    wire
}
