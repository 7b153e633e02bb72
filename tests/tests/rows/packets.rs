//! What becomes of packets and flows to Services.

use super::services::Row;

/// How packets are translated.
pub(crate) const TRANSLATED: &[Row] = &[
    (
        34,
        "when the source is translated",
        &[
            "packets::node_port::a_backend_elsewhere_answers_to_this_node",
            "packets::from_host::what_the_host_forwards_to_a_service_is_served_in_the_nodes_name",
            "packets::host::the_host_reaches_a_service_elsewhere",
        ],
    ),
    (
        35,
        "a pod's address is kept",
        &["world_service::a_pod_reaches_every_backend_and_its_address_is_kept"],
    ),
    (
        36,
        "a pod that reaches itself by a Service",
        &[
            "world_service::a_pod_reaches_itself_through_its_service",
            "sockets::a_pod_reaches_itself_through_a_service",
            "packets::service::a_pod_reaches_itself_through_a_service",
        ],
    ),
    (
        37,
        "clients of the host network",
        &[
            "world_host::every_kind_of_backend_serves",
            "packets::from_host::a_pod_of_this_node_serves_and_its_answers_come_back_by_the_device",
        ],
    ),
    (
        38,
        "ICMP errors",
        &[
            "packets::icmp::an_error_of_the_backend_reaches_the_client_as_one_of_the_service",
            "packets::icmp::errors_cross_source_translation",
            "world_service::a_smaller_mtu_on_the_way_is_found",
        ],
    ),
    (
        39,
        "fragments",
        &[
            "world_fragments::fragments_in_every_order_arrive_as_one_datagram",
            "packets::fragments::later_fragments_wait_for_the_first",
        ],
    ),
    (
        40,
        "direct server return, and the client's address kept by the tunnel",
        &[
            "world_relay::relay::ask::the_backend_sees_the_client_where_the_mode_keeps_it",
            "world_relay::relay::ask::a_backend_in_the_hosts_network_sees_the_client",
            "world_relay::relay::policy::policy_sees_the_client",
            "world_relay::relay::moves::a_connection_goes_on_when_another_node_is_asked",
        ],
    ),
    (
        43,
        "source ports",
        &[
            "packets::node_port::ports_are_not_shared_and_run_out",
            "world_links::links::ports::translation_takes_no_port_of_a_live_socket",
            "world_one_port::packet_by_packet",
        ],
    ),
];

/// What is refused.
pub(crate) const REFUSED: &[Row] = &[
    (
        44,
        "nobody serves: refused at once",
        &[
            "world_service::no_endpoint_is_a_refusal_at_once",
            "sockets::a_frontend_without_endpoints_refuses_at_once",
            "packets::refusal::a_connection_is_reset",
            "packets::refusal::a_datagram_is_answered_with_port_unreachable",
            "scenarios::no_endpoints",
        ],
    ),
    (
        45,
        "a NodePort that nobody serves",
        &["packets::refusal::clients_outside_and_on_the_host_are_told_too"],
    ),
    (
        46,
        "endpoints elsewhere only, with a policy of Local: dropped",
        &["packets::refusal::with_traffic_policy_local_and_nobody_here_packets_are_dropped"],
    ),
    (
        47,
        "a port that a Service has not: refused",
        &[
            "world_service::a_port_that_a_service_has_not_is_refused_at_once",
            "packets::vips::a_port_that_a_service_has_not_is_refused_and_an_address_that_none_has_dropped",
        ],
    ),
    (
        48,
        "an address of a ServiceCIDR that no Service has: dropped",
        &[
            "world_vips::what_no_service_has_is_dropped_and_served_as_soon_as_one_has_it",
            "agent_services::ranges_of_services_are_followed",
        ],
    ),
    (
        49,
        "ping of a Service's address, if that is wanted",
        &["packets::vips::a_ping_is_answered_where_somebody_serves_and_only_if_that_is_wanted"],
    ),
    (
        50,
        "loadBalancerSourceRanges",
        &[
            "world_sources::only_who_is_in_a_range_is_served_at_the_address",
            "world_sources::a_node_asks_the_address_that_it_has_itself",
            "packets::sources::who_is_in_no_range_is_dropped_wherever_it_asks",
            "scenarios::loadbalancer_source_ranges",
        ],
    ),
    (
        51,
        "what lives goes on",
        &[
            "world_sources::connections_stay_when_their_range_goes",
            "packets::sources::flows_that_live_stay_when_their_range_goes",
        ],
    ),
];

/// What lives, and for how long.
pub(crate) const LIVES: &[Row] = &[
    (
        52,
        "TCP when an endpoint goes",
        &[
            "world_agent::an_endpoint_removed_under_traffic_fails_no_connection",
            "packets::life::a_syn_leaves_a_backend_that_serves_no_more",
        ],
    ),
    (
        53,
        "datagrams when an endpoint goes",
        &[
            "packets::service::datagrams_leave_a_removed_backend_and_connections_stay",
            "agent::datagrams::datagrams_stay_with_who_serves_and_leave_who_does_not",
            "world_datagrams::sockets_follow_their_service",
        ],
    ),
    (
        54,
        "datagrams that were early",
        &[
            "packets::life::a_flow_begun_before_its_service_is_translated_once_that_is_there",
            "world_host_port::a_client_that_was_early_is_served_once_the_pod_is_there",
        ],
    ),
    (
        55,
        "SCTP when an endpoint goes",
        &["packets::sctp::an_association_stays_where_it_is_until_it_is_opened_again"],
    ),
    (
        56,
        "an address that is given anew",
        &[
            "agent::flows::a_pods_flows_end_with_it",
            "cluster_day::the_maps_are_what_the_model_says_all_day",
        ],
    ),
    (
        57,
        "an agent that is killed, restarted, upgraded",
        &[
            "world_agent::traffic_goes_on_while_the_agent_is_killed_and_comes_back",
            "agent::restart::a_killed_agent_leaves_all_and_takes_it_up_again",
            "agent_killed::killed_while_it_brings_changes_in_force",
            "world_upgrade::from_schema_1_and_back_packet_by_packet",
            "scenarios::restart_keeps_ids",
        ],
    ),
    (
        58,
        "nothing is taken away before all is known",
        &[
            "agent::unreachable::what_is_pinned_serves_on_while_no_api_server_answers",
            "agent_servers::refused::services_are_served_though_nodes_are_refused",
        ],
    ),
    (
        59,
        "how the API server is reached",
        &[
            "agent_servers::the_agent_does_not_rely_on_the_address_of_a_service",
            "agent_servers::another_api_server_is_followed_when_packets_are_lost_without_a_word",
        ],
    ),
    (
        60,
        "the Node object",
        &["agent::vanished::what_is_known_of_nodes_stays_while_the_machine_has_it"],
    ),
    (
        61,
        "hosts that drop what netfilter calls invalid",
        &["world_service::a_host_that_drops_invalid_connections_forwards"],
    ),
    (
        62,
        "kernel settings",
        &[
            "node::sysctls::a_node_as_it_comes_is_made_to_forward",
            "node::sysctls::netfilter_keeps_connections_as_long_as_kube_proxy_wants",
        ],
    ),
];
