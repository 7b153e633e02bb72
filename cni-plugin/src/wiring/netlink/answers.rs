//! The answers to one request, gathered from datagrams.

use std::io;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

/// What has come so far.
pub(super) struct Answers {
    sequence: u32,
    flags: u16,
    messages: Vec<RouteNetlinkMessage>,
    /// Something changed while the list was made: what it lacks may be there.
    interrupted: bool,
}

impl Answers {
    /// To the request of this number and these flags.
    pub(super) const fn to(sequence: u32, flags: u16) -> Self {
        Self {
            sequence,
            flags,
            messages: Vec::new(),
            interrupted: false,
        }
    }

    /// Takes a datagram in. True: that was all.
    pub(super) fn take(&mut self, datagram: &[u8]) -> io::Result<bool> {
        let mut rest = datagram;
        while rest.len() >= 16 {
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            let length = (answer.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            // Others are left over from a request that was given up.
            if answer.header.sequence_number == self.sequence && self.take_one(answer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_one(&mut self, answer: NetlinkMessage<RouteNetlinkMessage>) -> io::Result<bool> {
        self.interrupted |= answer.header.flags & NLM_F_DUMP_INTR != 0;
        match answer.payload {
            NetlinkPayload::Done(_) if self.interrupted => {
                Err(io::Error::from_raw_os_error(libc::EINTR))
            }
            NetlinkPayload::Done(_) => Ok(true),
            NetlinkPayload::Error(e) => match e.code {
                Some(_) => Err(e.to_io()),
                None => Ok(true),
            },
            NetlinkPayload::InnerMessage(inner) => {
                self.messages.push(inner);
                Ok(self.flags & (NLM_F_ACK | NLM_F_DUMP) == 0)
            }
            _ => Ok(false),
        }
    }

    /// All of them.
    pub(super) fn into_messages(self) -> Vec<RouteNetlinkMessage> {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{DoneMessage, NetlinkHeader};
    use netlink_packet_route::link::LinkMessage;

    use super::*;

    /// A list of two links in two datagrams, with these flags of the first, second and last message.
    fn list(flags: [u16; 3]) -> io::Result<Vec<RouteNetlinkMessage>> {
        let message = |flags: u16, payload| {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            header.sequence_number = 7;
            let mut message = NetlinkMessage::new(header, payload);
            message.finalize();
            let mut wire = vec![0; message.buffer_len().next_multiple_of(4)];
            message.serialize(&mut wire);
            wire
        };
        let link = || {
            let link = RouteNetlinkMessage::NewLink(LinkMessage::default());
            NetlinkPayload::InnerMessage(link)
        };
        let done = NetlinkPayload::Done(DoneMessage::default());
        let first = message(flags[0], link());
        let second = [message(flags[1], link()), message(flags[2], done)].concat();
        let mut answers = Answers::to(7, NLM_F_DUMP);
        assert!(!answers.take(&first)?);
        assert!(answers.take(&second)?);
        Ok(answers.into_messages())
    }

    #[test]
    fn an_interrupted_list_is_to_be_asked_for_again() {
        assert_eq!(list([2, 2, 2]).unwrap().len(), 2);
        for at in 0..3 {
            let mut flags = [2; 3];
            flags[at] |= NLM_F_DUMP_INTR;
            let error = list(flags).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EINTR), "message {at}");
        }
    }
}
