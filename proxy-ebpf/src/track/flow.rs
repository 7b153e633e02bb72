//! Flows that are known.

use core::ptr::{read_volatile, write_volatile};

use proxy_common::conntrack::{
    FLOW_ASSURED, FLOW_BUSY, FLOW_ENDED, FLOW_FIN_0, FLOW_FIN_1, FLOW_REPLIED, FLOW_RST_0,
    FLOW_RST_1, Flow, FlowKey, FlowPlace, Head, Segment, Tuple,
};

use super::life;
use crate::machine::atomic::{self, swap};
use crate::machine::global::global;
use crate::machine::verdict::{CONTINUE, NEXT, Verdict};
use crate::maps::Family;
use crate::packet::description::{ACK, ERROR, FIN, Packet, RST, SYN};

/// How often a change of a flow is tried against other processors. Few of those that are at work on one flow change it, so
/// that none of them loses so often.
const TRIES: u32 = 8;

/// A live flow, as a packet found it.
#[derive(Clone, Copy)]
pub struct Found<F: Family> {
    /// Its record.
    pub record: *mut Flow<F::Address>,
    /// Where the index says that it is, and the packet's direction.
    pub place: FlowPlace,
    /// Its head, when it was read.
    pub head: Head,
}

/// The live flow of a packet that arrives with this tuple. `now` in seconds since boot.
#[inline(always)]
pub fn find<F: Family>(tuple: &Tuple<F::Address>, protocol: u8, now: u32) -> Option<Found<F>> {
    let key = FlowKey {
        tuple: *tuple,
        protocol: u32::from(protocol),
    };
    // SAFETY: eight bytes, read at once; an entry that is deleted or re-used meanwhile names a flow that the generation
    // tells from ours, or one that has this very key.
    let place = *unsafe { F::flow_index().get(key) }?;
    at(place, now)
}

/// The live flow of a packet that was turned into this tuple already.
#[inline(always)]
pub fn find_turned<F: Family>(
    tuple: &Tuple<F::Address>,
    protocol: u8,
    now: u32,
) -> Option<Found<F>> {
    let mut found = find::<F>(&tuple.reversed(), protocol, now)?;
    found.turn(1);
    Some(found)
}

/// The flow that an entry of the index names, if it lives.
#[inline(always)]
pub fn at<F: Family>(place: FlowPlace, now: u32) -> Option<Found<F>> {
    let record: *mut Flow<F::Address> = F::flows().get_ptr_mut(place.slot())?;
    // SAFETY: a record of the map; aligned words.
    let (word, expires) = unsafe {
        (
            read_volatile(&raw const (*record).head),
            read_volatile(&raw const (*record).expires),
        )
    };
    let head = Head::unpack(word);
    // One that is only being begun may yet have to give way.
    let live = u32::from(head.generation) == place.generation
        && head.flags & (FLOW_ENDED | FLOW_BUSY) == 0
        && expires >= now;
    live.then_some(Found {
        record,
        place,
        head,
    })
}

impl<F: Family> Found<F> {
    /// Turns it round, if `turned` is 1: it was found by the tuple of the other direction.
    #[inline(always)]
    pub fn turn(&mut self, turned: u32) {
        self.place.slot_and_direction ^= turned;
    }

    /// Ids of the endpoints that send and receive packets of the packet's direction.
    #[inline(always)]
    pub fn ends(&self) -> [u32; 2] {
        // SAFETY: a record of the map; aligned words.
        let [first, second] = unsafe {
            let ends = (&raw const (*self.record).endpoint).cast::<u16>();
            [read_volatile(ends), read_volatile(ends.add(1))].map(u32::from)
        };
        if self.place.direction() == 0 {
            [first, second]
        } else {
            [second, first]
        }
    }

    /// Into what packets of the packet's direction are turned, in the record.
    #[inline(always)]
    pub fn target(&self) -> *const Tuple<F::Address> {
        self.target_of(self.place.direction())
    }

    /// Into what packets of a direction are turned, in the record.
    #[inline(always)]
    pub fn target_of(&self, direction: u32) -> *const Tuple<F::Address> {
        // SAFETY: a record of the map, which has two of them.
        unsafe {
            let targets = (&raw const (*self.record).target).cast::<Tuple<F::Address>>();
            if direction == 0 {
                targets
            } else {
                targets.add(1)
            }
        }
    }

    /// The epoch under which policy allowed it, in a direction (0 egress of its beginner, 1 ingress of its receiver).
    #[inline(always)]
    pub fn epoch(&self, side: usize) -> u32 {
        // SAFETY: a record of the map, `side` is 0 or 1; one aligned word.
        unsafe {
            read_volatile(
                (&raw const (*self.record).epoch)
                    .cast::<u32>()
                    .add(side & 1),
            )
        }
    }

    /// Whether the record is still that of this flow: asked after its fields were read.
    #[inline(always)]
    pub fn is_same(&self) -> bool {
        // SAFETY: as above.
        let word = unsafe { atomic::read(&raw mut (*self.record).head) };
        u32::from(Head::unpack(word).generation) == self.place.generation
    }

    /// Changes the head. False if the flow has ended meanwhile.
    #[inline(always)]
    pub fn change(&self, change: impl Fn(Head) -> Head) -> bool {
        for _ in 0..TRIES {
            // SAFETY: as above.
            let word = unsafe { read_volatile(&raw const (*self.record).head) };
            let old = Head::unpack(word);
            if u32::from(old.generation) != self.place.generation {
                return false;
            }
            // SAFETY: a record of the map.
            if unsafe { swap(&raw mut (*self.record).head, word, change(old).pack()) } {
                return true;
            }
        }
        false
    }

    /// Ends it: its tuples are free, and its slot too.
    #[inline(always)]
    pub fn end(&self) {
        // If it has ended meanwhile, so much the better.
        self.change(|head| Head {
            flags: head.flags | FLOW_ENDED,
            ..head
        });
    }

    /// Notes that the policy of this epoch allows it, in a direction (0 egress of its beginner, 1 ingress of its receiver).
    #[inline(always)]
    pub fn allow(&self, side: usize, epoch: u32) {
        // SAFETY: a record of the map, `side` is 0 or 1; one aligned store. Should the slot have another flow by now, which
        // takes that this one was not assured and a race of nanoseconds, that flow is judged again, or has just been.
        unsafe {
            write_volatile(
                (&raw mut (*self.record).epoch).cast::<u32>().add(side & 1),
                epoch,
            );
        }
    }
}

/// Takes a packet of a flow into its state. Writes once a second at most, or when the state changes: of TCP also with each
/// MiB that is acknowledged.
#[inline(always)]
pub fn touch<F: Family>(packet: &mut Packet<F>, found: &Found<F>) {
    if packet.shape == ERROR || is_noted(packet, found) {
        return;
    }
    let FlowPlace {
        slot_and_direction,
        generation,
    } = found.place;
    for _ in 0..TRIES {
        if note(packet, slot_and_direction, generation) != NEXT {
            break;
        }
    }
}

/// Whether a packet of a flow changes nothing in its record: most are so.
#[inline(always)]
fn is_noted<F: Family>(packet: &Packet<F>, found: &Found<F>) -> bool {
    const LOUD: u8 = SYN | FIN | RST;
    const ENDS: u16 = FLOW_FIN_0 | FLOW_FIN_1 | FLOW_RST_0 | FLOW_RST_1;
    let (head, direction) = (found.head, found.place.direction());
    // SAFETY: a record of the map; one aligned word.
    let expires = unsafe { read_volatile(&raw const (*found.record).expires) };
    if expires != packet.now + life::of::<F>(head) || spoken(packet, head, direction) != head.flags
    {
        return false;
    }
    if !packet.is_segment() {
        return true;
    }
    let is_plain = packet.tcp & LOUD == 0 && head.flags & ENDS == 0;
    is_plain && (packet.tcp & ACK == 0 || head.has_noted(direction, packet.acknowledged))
}

global! {
    /// Notes a packet of the flow in a slot. `NEXT`: another processor was faster.
    fn note(packet: Packet; slot_and_direction, generation) = try_to_note
}

#[inline(always)]
fn try_to_note<F: Family>(
    packet: &mut Packet<F>,
    slot_and_direction: u32,
    generation: u32,
) -> Verdict {
    let place = FlowPlace {
        slot_and_direction,
        generation,
    };
    let Some(record) = F::flows().get_ptr_mut(place.slot()) else {
        return CONTINUE;
    };
    // SAFETY: a record of the map; one aligned word.
    let word = unsafe { read_volatile(&raw const (*record).head) };
    let old = Head::unpack(word);
    if u32::from(old.generation) != generation {
        return CONTINUE;
    }
    let Some(new) = after(packet, old, place.direction()) else {
        return CONTINUE;
    };
    // SAFETY: a record of the map.
    if !unsafe { swap(&raw mut (*record).head, word, new.pack()) } {
        return NEXT;
    }
    let fin = packet.is_segment() && packet.tcp & FIN != 0;
    let expires = packet.now + life::after::<F>(new, fin);
    // SAFETY: as above. Should the slot be taken in this moment, which takes that the flow was not assured, another flow lives a
    // minute longer.
    unsafe { write_volatile(&raw mut (*record).expires, expires) };
    CONTINUE
}

/// `FLOW_*` bits after a packet of a direction, but for those of its end.
#[inline(always)]
fn spoken<F: Family>(packet: &Packet<F>, head: Head, direction: u32) -> u16 {
    if direction != 0 {
        return head.flags | FLOW_REPLIED;
    }
    let opens_or_breaks = packet.is_segment() && packet.tcp & (SYN | RST) != 0;
    if head.flags & FLOW_REPLIED != 0 && !opens_or_breaks {
        head.flags | FLOW_ASSURED
    } else {
        head.flags
    }
}

/// What a head is after a packet of a direction; none if the packet changes nothing.
#[inline(always)]
fn after<F: Family>(packet: &Packet<F>, head: Head, direction: u32) -> Option<Head> {
    let mut flags = spoken(packet, head, direction);
    if !packet.is_segment() {
        return Some(Head { flags, ..head });
    }
    if packet.tcp & RST != 0 {
        let assured = head.flags & FLOW_ASSURED != 0;
        if assured && !head.believes_reset(direction, packet.sequence) {
            return None;
        }
        flags |= FLOW_RST_0 << (direction & 1);
        return Some(Head { flags, ..head });
    }
    // If it were broken off, neither would speak: whoever gets a RST that is not the other's asks (RFC 5961, 3.2), and what was
    // on its way is answered with a RST once more.
    flags &= !(FLOW_RST_0 | FLOW_RST_1);
    let segment = Segment {
        direction,
        syn: packet.tcp & SYN != 0,
        fin: packet.tcp & FIN != 0,
        acknowledges: (packet.tcp & ACK != 0).then_some(packet.acknowledged),
        sequence: packet.sequence,
        data: packet.data(),
    };
    Some(Head { flags, ..head }.after(segment))
}
