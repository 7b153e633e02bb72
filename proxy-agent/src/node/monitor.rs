//! Change notification: news of links, addresses, routes and narrow ways, so that what depends on them follows at once and not at the next look.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cni_plugin::wiring::name::is_pods_ifname;
use futures::{FutureExt as _, Stream, StreamExt as _};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage},
    route::{RouteAttribute, RouteMessage},
};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::too_big::TooBig;
use crate::watchdog::Pulse;

/// How long news are gathered: a link is made in several steps.
const GATHER: Duration = Duration::from_millis(50);
/// Between one piece of news and the next, at least.
const PAUSE: Duration = Duration::from_millis(500);
/// Before the kernel is asked again that would not tell.
const RETRY: Duration = Duration::from_secs(5);

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Tells when something has changed.
#[derive(Debug)]
pub struct Monitor {
    news: Arc<Notify>,
    listeners: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Begins to listen in the calling thread's namespace, for as long as it lives. `ours`: protocols of our own
    /// routes, which are no news unless they go. A runtime must be at work.
    pub fn begin(ours: &'static [u8], [links, routers]: [Pulse; 2]) -> Self {
        let news = Arc::new(Notify::new());
        let told = Arc::clone(&news);
        let mut listeners = vec![links.spawn(listen(told, ours))];
        match TooBig::open() {
            Ok(too_big) => listeners.push(routers.spawn(too_big.follow(Arc::clone(&news)))),
            Err(error) => {
                tracing::warn!(%error, "no news of narrow ways; looked at every few seconds");
            }
        }
        Self { news, listeners }
    }

    /// The next news. May be dropped at any time.
    pub async fn changed(&self) {
        self.news.notified().await;
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.listeners.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(news: Arc<Notify>, ours: &'static [u8]) {
    // As long as anybody wants to know.
    while Arc::strong_count(&news) > 1 {
        match new_multicast_connection(&GROUPS) {
            Ok((connection, _handle, messages)) => {
                let connection = tokio::spawn(connection);
                let messages = messages.map(|(message, _sender)| message);
                follow(messages, &news, ours).await;
                connection.abort();
            }
            Err(error) => {
                tracing::warn!(%error, "no news of links and routes; looked at every few seconds");
            }
        }
        sleep(RETRY).await;
        // Whatever was missed.
        news.notify_one();
    }
}

/// Until the kernel tells no more.
async fn follow(
    mut messages: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
    news: &Notify,
    ours: &[u8],
) {
    let mut filter = Filter::default();
    while let Some(message) = messages.next().await {
        if !filter.matters(&message.payload, ours) {
            continue;
        }
        let began = Instant::now();
        sleep(GATHER).await;
        while let Some(Some(message)) = messages.next().now_or_never() {
            filter.matters(&message.payload, ours);
        }
        news.notify_one();
        sleep(PAUSE.saturating_sub(began.elapsed())).await;
    }
}

/// Pods come and go without being news.
#[derive(Debug, Default)]
struct Filter {
    /// Host sides of pods' interfaces.
    pods: BTreeSet<u32>,
}

impl Filter {
    fn matters(&mut self, payload: &NetlinkPayload<RouteNetlinkMessage>, ours: &[u8]) -> bool {
        let NetlinkPayload::InnerMessage(message) = payload else {
            return true; // Some were lost.
        };
        match message {
            RouteNetlinkMessage::NewLink(link) => {
                let pod = is_pod(link);
                if pod {
                    self.pods.insert(link.header.index);
                }
                !pod
            }
            RouteNetlinkMessage::DelLink(link) => !self.pods.remove(&link.header.index),
            RouteNetlinkMessage::NewAddress(a) | RouteNetlinkMessage::DelAddress(a) => {
                !self.pods.contains(&a.header.index)
            }
            RouteNetlinkMessage::NewRoute(route) => {
                !ours.contains(&route.header.protocol.into()) && !self.leads_to_pod(route)
            }
            RouteNetlinkMessage::DelRoute(route) => {
                ours.contains(&route.header.protocol.into()) || !self.leads_to_pod(route)
            }
            _ => false,
        }
    }

    fn leads_to_pod(&self, route: &RouteMessage) -> bool {
        route.attributes.iter().any(|attribute| match attribute {
            RouteAttribute::Oif(index) => self.pods.contains(index),
            _ => false,
        })
    }
}

fn is_pod(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::IfName(name) => is_pods_ifname(name),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::{address::AddressMessage, route::RouteProtocol};

    use super::*;

    const OURS: [u8; 2] = [87, 88];

    fn link(name: &str, index: u32) -> LinkMessage {
        let mut link = LinkMessage::default();
        link.header.index = index;
        let name = LinkAttribute::IfName(name.to_owned());
        link.attributes.push(name);
        link
    }

    fn route(index: u32, protocol: u8) -> RouteMessage {
        let mut route = RouteMessage::default();
        route.header.protocol = RouteProtocol::from(protocol);
        route.attributes.push(RouteAttribute::Oif(index));
        route
    }

    #[test]
    fn pods_are_no_news_until_their_routes_go() {
        let mut filter = Filter::default();
        let mut news = |message| filter.matters(&NetlinkPayload::InnerMessage(message), &OURS);
        assert!(news(RouteNetlinkMessage::NewLink(link("eth1", 3))));
        assert!(!news(RouteNetlinkMessage::NewLink(link(
            "weir0123456789a",
            4
        ))));
        let mut address = AddressMessage::default();
        address.header.index = 4;
        assert!(!news(RouteNetlinkMessage::NewAddress(address.clone())));
        address.header.index = 3;
        assert!(news(RouteNetlinkMessage::DelAddress(address)));
        let kernel = 2;
        assert!(!news(RouteNetlinkMessage::NewRoute(route(4, 88))));
        assert!(!news(RouteNetlinkMessage::DelRoute(route(4, kernel))));
        assert!(news(RouteNetlinkMessage::DelRoute(route(4, 88))));
        assert!(news(RouteNetlinkMessage::NewRoute(route(3, kernel))));
        assert!(!news(RouteNetlinkMessage::NewRoute(route(3, 87))));
        assert!(!news(RouteNetlinkMessage::DelLink(link(
            "weir0123456789a",
            4
        ))));
        let lost = NetlinkPayload::Overrun(Vec::new());
        assert!(Filter::default().matters(&lost, &OURS));
    }
}
