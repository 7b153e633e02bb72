//! What came of a packet, beside what should.

use std::net::{IpAddr, SocketAddr};

use weir_tests::flow_table::Tuple;

use super::{
    machine::{Fate, Form},
    model::Judged,
    packet::{Kind, Packet},
};

/// How a packet may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Left,
    Redirected,
}

pub(crate) fn dropped(fate: &Fate) -> Judged {
    match fate {
        Fate::Dropped(_) => Ok(()),
        other => Err(format!("expected a drop, not {other:?}")),
    }
}

/// Kept back.
pub(crate) fn held(fate: &Fate) -> Judged {
    match fate {
        Fate::Held => Ok(()),
        other => Err(format!("expected it to be held, not {other:?}")),
    }
}

/// Told so, or dropped where too many have been told.
pub(crate) fn refused(fate: &Fate) -> Judged {
    match fate {
        Fate::Refused | Fate::Dropped(_) => Ok(()),
        other => Err(format!("expected a refusal, not {other:?}")),
    }
}

pub(crate) fn went(way: Way, fate: &Fate) -> Result<&Form, String> {
    match (way, fate) {
        (Way::Left, Fate::Left(form)) | (Way::Redirected, Fate::Redirected(form)) => Ok(form),
        _ => Err(format!("expected {way:?}, not {fate:?}")),
    }
}

pub(crate) fn unchanged(packet: &Packet, way: Way, fate: &Fate) -> Judged {
    let form = went(way, fate)?;
    if let Kind::Error(by) = packet.kind {
        return is_error_about(packet, by, packet.key(), form);
    }
    is(packet, packet.tuple, form)
}

/// Whether a packet shows this port, or none.
pub(crate) fn is_port(packet: &Packet, expected: SocketAddr, form: &Form) -> bool {
    !packet.shows_ports() || expected.port() == form.to.port()
}

pub(crate) fn is(packet: &Packet, expected: Tuple, form: &Form) -> Judged {
    let ends = (expected.from, expected.to);
    let right = if packet.shows_ports() {
        (form.from, form.to) == ends
    } else {
        form.addresses() == (ends.0.ip(), ends.1.ip())
    };
    if right && form.quoted.is_none() {
        Ok(())
    } else {
        Err(format!("expected {expected:?}, not {form:?}"))
    }
}

/// An error about a packet of a flow: it quotes that as its sender knows it, and comes from whom that asked if it comes
/// from who answers.
pub(crate) fn is_error_about(packet: &Packet, by: IpAddr, expected: Tuple, form: &Form) -> Judged {
    let from = if by == packet.key().from.ip() {
        expected.from.ip()
    } else {
        by
    };
    let (outer_from, outer_to) = form.addresses();
    let quoted = form.quoted == Some((expected.to, expected.from));
    if (outer_from, outer_to) == (from, expected.to.ip()) && quoted {
        Ok(())
    } else {
        Err(format!(
            "expected an error about {expected:?} from {from}, not {form:?}"
        ))
    }
}

/// Whether a fate is one of leaving, and the form in which it left.
pub(crate) const fn form(fate: &Fate) -> Option<&Form> {
    match fate {
        Fate::Left(form) | Fate::Redirected(form) => Some(form),
        Fate::Dropped(_) | Fate::Held | Fate::Refused => None,
    }
}
