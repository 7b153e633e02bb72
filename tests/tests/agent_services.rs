//! What an agent says of Services, pods and its node to the API server, and follows there beside them.

#[path = "agent_services/node.rs"]
mod node;
#[path = "agent_services/pods.rs"]
mod pods;
#[path = "agent_services/stage.rs"]
mod stage;

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use stage::{Stage, note};
use weir_tests::{
    watched::{PATIENCE, on_a_node},
    world::until,
};

#[test]
fn the_older_service_has_an_address_and_the_other_one_takes_over() -> Result<()> {
    on_a_node("svc-conflict", async |node| {
        let stage = Stage::set(node, &[]).await?;
        let spec = |ip: &str| json!({ "ports": [{ "port": 80 }], "externalIPs": [ip] });
        stage
            .service("younger-by-name-a", spec("192.0.2.99"))
            .await?;
        // The API server counts in seconds.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        stage.service("a-first-by-name", spec("192.0.2.99")).await?;
        stage.until_served(&[
            "default/younger-by-name-a",
            "ExternalIP",
            "192.0.2.99:80/TCP",
        ])?;
        let event = stage.event("a-first-by-name", "AddressConflict").await?;
        ensure!(
            note(&event)
                == "on all nodes: 192.0.2.99:80/TCP belongs to default/younger-by-name-a already",
            "{event:?}"
        );
        // Maps are as they should be, and whoever asks whether they are makes no noise.
        for _ in 0..3 {
            ensure!(stage.proxyctl(&["diff"])?.is_empty(), "no difference");
        }
        let log = stage.log()?;
        let told = log.matches("in force but for what another one has").count();
        ensure!(told == 1, "told {told} times:\n{log}");
        stage.remove("younger-by-name-a").await?;
        stage.until_served(&["default/a-first-by-name", "ExternalIP", "192.0.2.99:80/TCP"])?;

        // An older one that asks later has it too.
        stage.service("late", spec("192.0.2.98")).await?;
        stage.until_served(&["default/late", "ExternalIP", "192.0.2.98:80/TCP"])?;
        let more = json!({ "spec": { "externalIPs": ["192.0.2.98"] } });
        let services = stage.services().await?;
        services
            .patch(
                "a-first-by-name",
                &PatchParams::default(),
                &Patch::Merge(more),
            )
            .await?;
        stage.until_served(&["default/a-first-by-name", "ExternalIP", "192.0.2.98:80/TCP"])?;
        stage.event("late", "AddressConflict").await?;
        Ok(())
    })
}

#[test]
fn owners_are_told_what_is_not_served() -> Result<()> {
    on_a_node("svc-events", async |node| {
        let flags = [
            "--set",
            "services.externalIPs=false",
            "--set",
            "maps.frontends=16",
            // No map grows.
            "--set",
            "maps.memory=1",
        ];
        let stage = Stage::set(node, &flags).await?;
        let spec = json!({ "ports": [{ "port": 80 }], "externalIPs": ["192.0.2.99"] });
        stage.service("external", spec).await?;
        let event = stage.event("external", "NotServed").await?;
        ensure!(
            note(&event).contains("services.externalIPs off"),
            "{event:?}"
        );
        stage.until_served(&["default/external", "ClusterIP"])?;
        let text = stage.proxyctl(&["dump", "services"])?;
        ensure!(!text.contains("192.0.2.99"), "{text}");

        let listener = node.listen(SocketAddr::from(([0, 0, 0, 0], 32_099)))?;
        let spec = json!({
            "type": "LoadBalancer",
            "externalTrafficPolicy": "Local",
            "healthCheckNodePort": 32_099,
            "ports": [{ "port": 80 }],
        });
        stage.service("checked", spec).await?;
        let event = stage
            .event("checked", "FailedToStartServiceHealthcheck")
            .await?;
        ensure!(note(&event).contains(":32099"), "{event:?}");
        drop(listener);

        let ports: Vec<Value> = (0..20)
            .map(|n| json!({ "name": format!("p{n}"), "port": 8000 + n }))
            .collect();
        stage.service("large", json!({ "ports": ports })).await?;
        let event = stage.event("large", "NotProgrammed").await?;
        ensure!(note(&event).contains("FRONTENDS4 has no room"), "{event:?}");
        let ports: Vec<Value> = (0..10)
            .map(|n| json!({ "name": format!("p{n}"), "port": 8000 + n }))
            .collect();
        stage.service("fits", json!({ "ports": ports })).await?;
        let event = stage.event("a", "MapsFillingUp").await?;
        ensure!(note(&event).contains("FRONTENDS4"), "{event:?}");
        Ok(())
    })
}

/// Whoever creates Services could have the connections of this agent, which then could not learn that the Service is gone.
#[test]
fn nobody_takes_the_place_of_an_api_server() -> Result<()> {
    on_a_node("svc-api", async |node| {
        let stage = Stage::set(node, &[]).await?;
        let (ip, port) = ("192.0.2.77", 6443);
        stage.name_api_server(ip, port).await?;
        let ports = json!([{ "name": "a", "port": port }, { "name": "b", "port": 80 }]);
        let spec = json!({ "ports": ports, "externalIPs": [ip, "192.0.2.99"] });
        stage.service("taker", spec).await?;
        let event = stage.event("taker", "NotServed").await?;
        let at = format!("{ip}:{port}");
        let why = format!("{at}: an API server of this cluster listens there");
        ensure!(note(&event).ends_with(&why), "{event:?}");
        // All the rest is.
        let others = [("192.0.2.99", port), ("192.0.2.99", 80), (ip, 80)];
        for (ip, port) in others {
            stage.until_served(&["default/taker", &format!(" {ip}:{port}/TCP")])?;
        }
        let text = stage.proxyctl(&["dump", "services"])?;
        ensure!(!text.contains(&format!(" {at}/")), "{text}");
        ensure!(stage.proxyctl(&["diff"])?.is_empty(), "no difference");
        Ok(())
    })
}

#[test]
fn who_changes_what_weir_keeps_is_told_to_the_node() -> Result<()> {
    on_a_node("svc-drift", async |node| {
        let stage = Stage::set(node, &[]).await?;
        stage
            .service("any", json!({ "ports": [{ "port": 80 }] }))
            .await?;
        stage.until_served(&["default/any", "ClusterIP"])?;
        let change = || node.run(&["sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward"]);
        change()?;
        let event = stage.event("a", "DriftRepaired").await?;
        ensure!(note(&event).contains("sysctl ipv4/ip_forward"), "{event:?}");
        for _ in 0..2 {
            until("forwarding", PATIENCE, || {
                stage.proxyctl(&["status"])?;
                let now = node.run(&["cat", "/proc/sys/net/ipv4/ip_forward"])?;
                Ok((now.trim() == "1").then_some(()))
            })?;
            change()?;
        }
        let event = stage.event("a", "DriftRecurs").await?;
        ensure!(note(&event).contains("sysctl ipv4/ip_forward"), "{event:?}");
        Ok(())
    })
}

#[test]
fn ranges_of_services_are_followed() -> Result<()> {
    on_a_node("svc-ranges", async |node| {
        let stage = Stage::set(node, &[]).await?;
        let led = |range: &str, there: bool| {
            let device = |text: &str| text.contains("weir_host");
            until(
                &format!("{range} led: {there}"),
                Duration::from_secs(15),
                || {
                    let route = node.run(&["ip", "route", "show", range])?;
                    Ok((device(&route) == there).then_some(()))
                },
            )
        };
        led("10.96.0.0/16", true)?;
        let ranges = Api::<ServiceCIDR>::all(stage.plane.client().await?);
        let more = json!({ "metadata": { "name": "more" }, "spec": { "cidrs": ["10.97.0.0/24"] } });
        let more = serde_json::from_value(more)?;
        ranges.create(&PostParams::default(), &more).await?;
        led("10.97.0.0/24", true)?;
        let spec = json!({ "ports": [{ "port": 80 }], "clusterIP": "10.97.0.7" });
        stage.service("in-more", spec).await?;
        stage.until_served(&["default/in-more", "10.97.0.7:80/TCP"])?;
        stage.remove("in-more").await?;
        // Without its controller nobody takes the finalizer off.
        let free = json!({ "metadata": { "finalizers": null } });
        ranges.delete("more", &DeleteParams::default()).await?;
        ranges
            .patch("more", &PatchParams::default(), &Patch::Merge(free))
            .await
            .or_else(|error| match error {
                kube::Error::Api(status) if status.code == 404 => Ok(ServiceCIDR::default()),
                error => Err(error),
            })?;
        led("10.97.0.0/24", false)
    })
}
