//! What Services are, row by row, and the tests that show it.

/// A row: its number, what it is about, and tests, each as `target::name` or, of a target with modules, `target::module::name`.
pub(crate) type Row = (u8, &'static str, &'static [&'static str]);

/// What is served.
pub(crate) const SERVED: &[Row] = &[
    (
        1,
        "ClusterIP, TCP and UDP, from pods and nodes",
        &[
            "world_service::a_pod_reaches_every_backend_and_its_address_is_kept",
            "world_service::the_node_reaches_a_service",
            "sockets::processes_reach_services_and_believe_to_talk_to_them",
            "packets::service::one_flow_turns_questions_and_answers",
            "scenarios::clusterip",
            "scenarios::udp",
        ],
    ),
    (
        2,
        "ClusterIP from outside of the cluster, where it is routed to a node",
        &[
            "packets::maglev::what_does_not_come_from_outside_chooses_at_random",
            "packets::sources::ranges_are_those_of_their_service_port_and_of_its_load_balancer_addresses",
        ],
    ),
    (3, "several ports of one Service", &["scenarios::multiport"]),
    (
        4,
        "one number for several protocols",
        &[
            "sockets::the_protocol_is_part_of_the_frontend",
            "scenarios::nodeport_same_port_protocols",
        ],
    ),
    (
        5,
        "SCTP, without a module of the kernel",
        &[
            "packets::sctp::an_association_with_a_service_is_turned_both_ways",
            "packets::sctp::the_crc_of_any_packet_stays_as_right_or_wrong_as_it_was",
            "packets::wire::what_is_for_a_backend_elsewhere_and_its_answers_leave_at_once",
            "scenarios::sctp",
        ],
    ),
    (
        6,
        "two families that do not know of each other",
        &[
            "scenarios::dualstack",
            "sockets::ipv6_sockets_reach_ipv4_services",
        ],
    ),
    (
        7,
        "NodePort",
        &[
            "world_service::a_node_port_is_reached_from_outside",
            "packets::node_port::a_backend_here_sees_the_client_and_answers_for_the_frontend",
            "packets::node_port::a_backend_elsewhere_answers_to_this_node",
            "world_links::links::nics::a_second_nic_serves_as_the_first",
            "scenarios::nodeport",
        ],
    ),
    (
        8,
        "nodePortAddresses",
        &[
            "agent::health::health_check_node_ports_keep_to_the_node_port_addresses",
            "agent::families::node_port_addresses_that_match_nothing_open_no_health_check",
            "world_links::links::local::addresses_that_are_local_by_a_route_serve",
        ],
    ),
    (
        9,
        "NodePort on the loopback",
        &[
            "sockets::node_ports_serve_on_node_addresses_and_the_nodes_loopback",
            "world_links::links::local::host_processes_without_hooks_reach_their_own_nodes_addresses",
        ],
    ),
    (
        10,
        "addresses of load balancers, and their ipMode",
        &[
            "world_service::addresses_of_load_balancers_are_reached",
            "packets::load_balancer::a_backend_here_sees_the_client_and_answers_for_the_address",
            "packets::load_balancer::a_backend_elsewhere_answers_by_this_node",
            "scenarios::loadbalancer",
        ],
    ),
    (
        11,
        "other ports of load balancers and external addresses are the host's",
        &[
            "packets::vips::other_ports_of_load_balancers_and_external_addresses_are_the_hosts",
            "world_vips::other_ports_of_external_addresses_are_the_hosts",
        ],
    ),
    (
        12,
        "a load balancer without an address is a NodePort",
        &["scenarios::type_changes"],
    ),
    (
        13,
        "external IPs",
        &[
            "scenarios::external_ip",
            "packets::sources::ranges_are_those_of_their_service_port_and_of_its_load_balancer_addresses",
            "agent_services::owners_are_told_what_is_not_served",
        ],
    ),
    (
        14,
        "allocateLoadBalancerNodePorts: false",
        &["cluster_day::the_maps_are_what_the_model_says_all_day"],
    ),
    (
        15,
        "ExternalName and headless Services; types that change",
        &[
            "scenarios::externalname",
            "scenarios::headless",
            "scenarios::type_changes",
        ],
    ),
    (
        16,
        "the label service.kubernetes.io/service-proxy-name",
        &["scenarios::service_proxy_name"],
    ),
    (
        17,
        "the label service.kubernetes.io/headless",
        &[
            "scenarios::headless",
            "cluster_day::the_maps_are_what_the_model_says_all_day",
        ],
    ),
    (
        18,
        "named target ports that differ from pod to pod",
        &["scenarios::named_target_ports"],
    ),
    (
        19,
        "EndpointSlices that are merged",
        &[
            "scenarios::multiple_slices",
            "scenarios::nil_conditions",
            "scenarios::thousand_endpoints",
        ],
    ),
    (
        20,
        "publishNotReadyAddresses",
        &["scenarios::publish_not_ready"],
    ),
    (
        21,
        "endpoints of any address: out of the cluster, the node's own, other Services'",
        &[
            "scenarios::custom_endpoints",
            "world_host::every_kind_of_backend_serves",
            "world_host::a_backend_that_is_a_service_itself_is_left_to_its_node",
            "packets::node_port::a_host_network_backend_is_the_stacks_and_its_answers_are_turned_round",
        ],
    ),
    (
        22,
        "hostPort",
        &[
            "world_host_port::everybody_reaches_it_and_is_seen",
            "world_host_port::pods_share_a_port_by_address_and_protocol",
            "packets::host_port::a_host_ip_is_the_only_address_that_serves",
        ],
    ),
];

/// Who is chosen.
pub(crate) const CHOSEN: &[Row] = &[
    (
        23,
        "ready endpoints, else those that terminate and serve",
        &["scenarios::terminating", "scenarios::not_ready"],
    ),
    (
        24,
        "which of its sets a Service needs",
        &["scenarios::external_local", "scenarios::internal_local"],
    ),
    (
        25,
        "terminating endpoints, for both policies of both kinds",
        &[
            "scenarios::terminating",
            "cluster_day::the_maps_are_what_the_model_says_all_day",
        ],
    ),
    (
        26,
        "hints for zones and nodes, trafficDistribution",
        &["scenarios::prefer_same_zone", "scenarios::prefer_same_node"],
    ),
    (
        27,
        "internalTrafficPolicy: Local",
        &[
            "scenarios::internal_local",
            "packets::refusal::with_traffic_policy_local_and_nobody_here_packets_are_dropped",
        ],
    ),
    (
        28,
        "externalTrafficPolicy: Local",
        &[
            "scenarios::external_local",
            "packets::load_balancer::without_backends_clients_are_refused_or_with_backends_elsewhere_only_left_unanswered",
        ],
    ),
    (
        29,
        "pods and nodes reach the whole cluster by outer addresses",
        &[
            "packets::load_balancer::a_pod_reaches_the_address_without_leaving_the_cluster",
            "packets::node_port::a_pod_uses_node_ports_of_its_node_without_leaving_it",
            "scenarios::external_local",
        ],
    ),
    (
        30,
        "any endpoint, each connection anew",
        &[
            "sockets::connections_are_spread",
            "packets::service::backends_share_the_connections",
        ],
    ),
    (
        33,
        "session affinity",
        &[
            "world_affinity::a_client_has_one_backend_at_all_addresses_of_a_port",
            "world_affinity::each_new_connection_begins_the_time_anew",
            "sockets::affinity_holds_until_it_times_out_or_the_backend_leaves",
            "world_maglev::with_affinity_a_client_has_one_backend_by_whichever_node_it_enters",
            "packets::maglev::affinity_of_the_clusters_own_ends_with_its_time_out",
            "agent::flows::affinity_ends_with_its_service",
            "scenarios::affinity",
        ],
    ),
];

/// What a node says of itself.
pub(crate) const SAID: &[Row] = &[
    (
        63,
        "healthCheckNodePort",
        &[
            "agent::health::health_check_node_ports_count_ready_endpoints_here",
            "agent::unhealthy::a_write_that_the_kernel_refuses_makes_the_node_unhealthy",
            "agent::frozen::whichever_map_takes_no_write_the_node_is_unhealthy_and_says_so",
        ],
    ),
    (
        64,
        "/healthz",
        &[
            "agent::health::health_and_metrics_are_kube_proxys",
            "agent::families::health_answers_on_a_host_without_ipv6",
        ],
    ),
    (
        65,
        "/livez",
        &["agent::watched::whatever_stands_still_is_named"],
    ),
    (
        66,
        "where metrics are",
        &["agent::health::health_and_metrics_are_kube_proxys"],
    ),
    (
        67,
        "names of metrics",
        &[
            "agent::health::health_and_metrics_are_kube_proxys",
            "agent::health::changes_are_counted_by_kind_and_wait_until_they_are_applied",
        ],
    ),
    (
        68,
        "configuration of kube-proxy",
        &[
            "proxy_agent::config::kube_proxy::of_the_file_of_kubeadm_what_applies_is_honoured",
            "proxy_agent::config::kube_proxy::each_part_that_does_not_apply_is_named_once",
        ],
    ),
    (69, "clean-up", &["agent::restart::cleanup_leaves_nothing"]),
    (
        70,
        "what kube-proxy leaves",
        &[
            "kube_proxy::leftovers_are_found_and_removed_only_when_asked_for",
            "kube_proxy::nothing_is_said_to_be_left_where_nobody_can_look",
        ],
    ),
    (
        71,
        "Events",
        &[
            "agent_services::owners_are_told_what_is_not_served",
            "agent_services::the_older_service_has_an_address_and_the_other_one_takes_over",
            "agent_services::pods::pods_are_told_whose_their_host_ports_are",
            "agent_events::one_of_two_agents_tells_what_both_find",
        ],
    ),
];
