//! kperf's `cilium_cr_list`: lists of Cilium's identities and endpoints by ten runners, of so many as there are asked for.
//! The cluster must not run Cilium.
//!
//! Not as in kperf: the definitions come with the scenario rather than from the network, and keep every field without a
//! schema; objects and definitions are deleted afterwards; what is there already is an error, not a mixture.

use kperf_scenarios::{
    Load, dry_run,
    end::{self, Work},
    profile::{Of, Resource, Size, profile, spec, stale_list},
};
use kperf_sdk::benchmark::prelude::*;

/// What can be set.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(crate = "kperf_sdk::serde", rename_all = "camelCase", default)]
#[schemars(deny_unknown_fields)]
struct Config {
    /// The load.
    #[serde(flatten)]
    load: Load,
    /// Whether Cilium's definitions are created; without, they have to be there.
    install_cilium_crds: bool,
    /// How many CiliumIdentities.
    #[schemars(range(max = 1_000_000))]
    num_cilium_identities: u32,
    /// How many CiliumEndpoints, in the namespace `default`.
    #[schemars(range(max = 1_000_000))]
    num_cilium_endpoints: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            load: Load::default(),
            install_cilium_crds: true,
            num_cilium_identities: 1000,
            num_cilium_endpoints: 1000,
        }
    }
}

const RUNNERS: u32 = 10;
const TOTAL: u64 = 12_000;
const SIZE: Size = Size {
    rate: 20,
    conns: 500,
    clients: 500,
};
/// As many as kperf's workers.
const IN_FLIGHT: u32 = 50;
const NAMESPACE: &str = "default";
/// Longest time until the server serves what was defined, in looks of [`LOOK_MS`].
const LOOKS: u32 = 240;
const LOOK_MS: u64 = 250;

/// A kind of Cilium's.
struct Custom {
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    short: &'static str,
    namespaced: bool,
}

const IDENTITY: Custom = Custom {
    kind: "CiliumIdentity",
    plural: "ciliumidentities",
    singular: "ciliumidentity",
    short: "ciliumid",
    namespaced: false,
};
const ENDPOINT: Custom = Custom {
    kind: "CiliumEndpoint",
    plural: "ciliumendpoints",
    singular: "ciliumendpoint",
    short: "cep",
    namespaced: true,
};

impl Custom {
    fn kind(&self) -> Kind {
        Kind::new("cilium.io/v2", self.kind)
    }

    fn definition(&self) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.cilium.io", self.plural)},
            "spec": {
                "group": "cilium.io",
                "names": {
                    "kind": self.kind,
                    "listKind": format!("{}List", self.kind),
                    "plural": self.plural,
                    "singular": self.singular,
                    "shortNames": [self.short],
                    "categories": ["cilium"],
                },
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "versions": [{
                    "name": "v2", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    }},
                }],
            },
        })
    }

    /// Defines it, unless it is there.
    fn define(&self) -> Result<(), Failure> {
        match cluster::create(&self.definition().to_string()) {
            Ok(_) => Ok(()),
            Err(failure) if failure.code == "already-exists" => Err(Failure::new(
                "already-exists",
                format!(
                    "{}.cilium.io is defined already: the cluster runs Cilium, or an earlier run was cut off; without it \
                     running, --install-cilium-crds=false uses what is there",
                    self.plural
                ),
            )),
            Err(failure) => Err(failure),
        }
    }

    /// Waits until the server serves it.
    fn wait_served(&self) -> Result<(), Failure> {
        let mut last = Failure::new("timeout", "");
        for _ in 0..LOOKS {
            let within = Scope::everywhere().labels("kperf-host.io/run=none");
            match cluster::list(&self.kind(), &within) {
                Ok(_) => return Ok(()),
                Err(failure) if matches!(failure.code.as_str(), "no-such-kind" | "not-found") => {
                    last = failure;
                    run::sleep(LOOK_MS)?;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(last)
    }

    fn create(&self, count: u32, manifest: fn(u32) -> Value) -> Result<(), Failure> {
        let what = format!("create {}", self.plural);
        let bulk = Bulk::new(&BulkOptions::unpaced(what.as_str(), IN_FLIGHT).stop_on_failure());
        for index in 0..count {
            bulk.push(&[Action::of(Operation::create(&manifest(index)))])?;
            run::progress(&what, u64::from(index) + 1, count.into());
        }
        bulk.finish().map(drop)
    }
}

/// Of the shape that Cilium's agents write.
fn identity(index: u32) -> Value {
    let labels = json!({
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": NAMESPACE,
        "k8s:io.cilium.k8s.policy.cluster": "default",
        "k8s:io.cilium.k8s.policy.serviceaccount": "default",
        "k8s:io.kubernetes.pod.namespace": NAMESPACE,
        "k8s:app": format!("kperf-{index}"),
    });
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumIdentity",
        "metadata": {
            "name": (1_000_000 + index).to_string(),
            "labels": {"io.kubernetes.pod.namespace": NAMESPACE, "app": format!("kperf-{index}")},
        },
        "security-labels": labels,
    })
}

/// Of the shape that Cilium's agents write.
fn endpoint(index: u32) -> Value {
    let address = format!(
        "10.{}.{}.{}",
        64 + (index >> 16) % 64,
        (index >> 8) & 255,
        index & 255
    );
    json!({
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {
            "namespace": NAMESPACE,
            "name": format!("kperf-cilium-endpoint-{index}"),
            "labels": {"app": format!("kperf-{index}")},
        },
        "status": {
            "id": index % 65_536,
            "state": "ready",
            "encryption": {},
            "external-identifiers": {
                "k8s-namespace": NAMESPACE,
                "k8s-pod-name": format!("kperf-{index}"),
                "pod-name": format!("{NAMESPACE}/kperf-{index}"),
            },
            "identity": {
                "id": 1_000_000 + index,
                "labels": [
                    format!("k8s:app=kperf-{index}"),
                    "k8s:io.cilium.k8s.policy.cluster=default",
                    "k8s:io.cilium.k8s.policy.serviceaccount=default",
                    "k8s:io.kubernetes.pod.namespace=default",
                ],
            },
            "named-ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
            "networking": {"addressing": [{"ipv4": address}], "node": "10.0.0.1"},
        },
    })
}

fn requests() -> Vec<Value> {
    let resource = |plural| -> Resource { ("cilium.io", "v2", plural) };
    let endpoints = Of {
        namespace: NAMESPACE,
        ..Of::default()
    };
    vec![
        stale_list(1000, resource(IDENTITY.plural), Of::default()),
        stale_list(1000, resource(ENDPOINT.plural), endpoints),
    ]
}

struct Scenario;

impl Benchmark for Scenario {
    type Config = Config;

    fn wanted_grants() -> Vec<String> {
        [
            "create:customresourcedefinitions.apiextensions.k8s.io",
            "create,list:ciliumidentities.cilium.io",
            "list:ciliumendpoints.cilium.io",
            "create:ciliumendpoints.cilium.io@default",
        ]
        .map(str::to_owned)
        .into()
    }

    fn run(context: RunContext, config: Config) -> Result<Verdict, Failure> {
        let text = format!(
            "Environment: a cluster without Cilium. Workload: {} CiliumIdentities and {} CiliumEndpoints, while all of them \
             are listed",
            config.num_cilium_identities, config.num_cilium_endpoints,
        );
        run::describe(&text);
        if context.dry_run {
            return Ok(dry_run(&text));
        }
        for custom in [&IDENTITY, &ENDPOINT] {
            if config.install_cilium_crds {
                custom.define()?;
            }
        }
        for custom in [&IDENTITY, &ENDPOINT] {
            custom.wait_served()?;
        }
        IDENTITY.create(config.num_cilium_identities, identity)?;
        ENDPOINT.create(config.num_cilium_endpoints, endpoint)?;
        run::report_fact(
            "numCiliumIdentities",
            &config.num_cilium_identities.to_string(),
        );
        run::report_fact(
            "numCiliumEndpoints",
            &config.num_cilium_endpoints.to_string(),
        );

        let profile = profile(
            "cilium-cr-list",
            vec![spec(&config.load, SIZE, TOTAL, requests())],
        );
        let phase = config.load.start(&profile, RUNNERS)?;
        end::wait(&phase, Work::Done(String::new()))
    }
}

kperf_sdk::export_benchmark!(Scenario);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_differ() {
        let names: Vec<Value> = [0, 255, 256, 65_536]
            .map(|index| endpoint(index)["status"]["networking"]["addressing"][0]["ipv4"].clone())
            .into();
        assert_eq!(
            names,
            ["10.64.0.0", "10.64.0.255", "10.64.1.0", "10.65.0.0"]
        );
        assert_ne!(
            identity(1)["metadata"]["name"],
            identity(2)["metadata"]["name"]
        );
    }
}
