//! A route netlink socket: one request, its answers. It stays in the namespace in which it was opened.

use std::{io, time::Duration};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

mod answers;

use answers::Answers;

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
/// How long an answer of the kernel is waited for. It is there when the request has been sent, unless it was lost.
const PATIENCE: Duration = Duration::from_secs(2);

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
        Self::patient(PATIENCE)
    }

    fn patient(patience: Duration) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let milliseconds = i64::try_from(patience.as_millis()).unwrap_or(i64::MAX);
        setsockopt(
            &socket,
            ReceiveTimeout,
            &TimeVal::milliseconds(milliseconds),
        )?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Filters of dumps are applied by the kernel; without it (before 4.20) they would be ignored.
        drop(socket.set_netlink_get_strict_chk(true));
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Sends one request and gives its answers. `EINTR` and `EBUSY` (a change at the same time) are repeated, so
    /// that what a list lacks is not there.
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
                    std::thread::sleep(Duration::from_millis(tries.into()));
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
        let mut answers = Vec::new();
        for sequence in first..=self.sequence {
            let answer = self.answers(NLM_F_ACK, sequence).map(drop);
            // What is lost is lost: the others are not waited for as long again.
            if answer.as_ref().is_err_and(is_lost) {
                return Err(answer.err().unwrap_or_else(lost));
            }
            answers.push(answer);
        }
        Ok(answers)
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
        let mut answers = Answers::to(sequence, flags);
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(|e| match e.kind() {
                io::ErrorKind::WouldBlock => lost(),
                _ => e,
            })?;
            if answers.take(&datagram)? {
                return Ok(answers.into_messages());
            }
        }
    }
}

fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the kernel's answer was lost")
}

fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut || error.raw_os_error() == Some(libc::ENOBUFS)
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use netlink_packet_route::link::LinkMessage;

    use super::*;
    use crate::wiring::veth;

    #[test]
    fn an_answer_that_never_comes_is_not_waited_for() {
        let mut netlink = Netlink::patient(Duration::from_millis(50)).unwrap();
        let began = Instant::now();
        let error = netlink.answers(DUMP, 4711).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        // These are shown, but not acknowledged: the second is not waited for as long again.
        let mut link = LinkMessage::default();
        link.header.index = veth::LO;
        let unacknowledged = || Request {
            what: "nothing".to_owned(),
            message: RouteNetlinkMessage::GetLink(link.clone()),
            flags: 0,
        };
        let requests = (0..20).map(|_| unacknowledged()).collect();
        let error = netlink.batch(requests).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        assert!(began.elapsed() < Duration::from_millis(600));
    }
}
