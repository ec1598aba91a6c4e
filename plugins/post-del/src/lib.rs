//! kperf's `postDel`: creates pods, and deletes the oldest of those it created.
//!
//! A name may be deleted only after its creation succeeded, so this generator listens to what came back. Where
//! kperf's queue of created names has no bound, this one has; what falls out stays in the cluster, as do those
//! left at the end. All carry the label `kperf.io/run`:
//! `kubectl delete pods -A -l kperf.io/run=<run id>` removes them.

mod created;
mod names;
mod pod;

use kperf_sdk::generator::prelude::*;
use kube_requests::{Resource, base_query, encode_path, template};

use created::Created;
use names::Names;
use pod::PodBody;

/// Which objects to create and delete.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// API group; empty for the core group.
    #[serde(default)]
    group: String,
    /// API version, for example `v1`.
    #[schemars(length(min = 1))]
    version: String,
    /// What to create: `pods`.
    #[schemars(extend("enum" = ["pods"]))]
    resource: String,
    /// Namespace of the pods.
    #[serde(default)]
    namespace: String,
    /// Share of requests that delete, while there is something to delete.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 0.5))]
    delete_ratio: f64,
    /// Bytes of the random environment variable `PAYLOAD`.
    #[serde(default)]
    #[schemars(range(min = 0))]
    payload_size: i64,
    /// Whether the pods are bound for kperf's virtual nodes (node label `type=kperf-virtualnodes`, taint
    /// `kperf.io/nodepool`). Otherwise they land on real nodes, as kperf's do.
    #[serde(default)]
    virtual_nodes: bool,
}

struct PostDel {
    create: TemplateId,
    delete: TemplateId,
    random: Random,
    delete_ratio: f64,
    payload_bytes: usize,
    names: Names,
    pod: PodBody,
    created: Created,
    /// Path of an object up to its name's number, and what follows.
    path: String,
    suffix: String,
}

impl Generator for PostDel {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({
            "version": "v1",
            "resource": "pods",
            "namespace": "ns-0",
            "deleteRatio": 0.4,
            "payloadSize": 256
        }))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let resource = Resource::new(&config.group, &config.version, &config.resource)?;
        if !(0.0..=0.5).contains(&config.delete_ratio) {
            let message = format!(
                "delete ratio must be between 0 and 0.5: {}, create proportion should be greater than delete",
                config.delete_ratio
            );
            return Err(Failure::invalid_config("deleteRatio", message));
        }
        let Ok(payload_bytes) = usize::try_from(config.payload_size) else {
            let message = format!("payloadSize must >= 0: {}", config.payload_size);
            return Err(Failure::invalid_config("payloadSize", message));
        };
        if config.resource != "pods" {
            let message = format!(
                "failed to render {0} template: unsupported resource type: {0}",
                config.resource
            );
            return Err(Failure::invalid_config("resource", message));
        }
        if config.namespace.is_empty() {
            kperf_sdk::warn!("post_del has no namespace; an API server will refuse its requests");
        }
        let query = base_query(context);
        let collection = resource.path(&config.namespace);
        let names = Names::new(context);
        // The template's own path is never sent: each delete brings its own.
        let delete = template("DELETE", "DELETE", &format!("{collection}/:name"), &query);
        Ok(Self {
            create: templates.add(template("POST", "POST", &collection, &query)),
            delete: templates.add(delete),
            random: context.random(),
            delete_ratio: config.delete_ratio,
            payload_bytes,
            pod: PodBody::new(&config.namespace, &names, config.virtual_nodes),
            created: Created::default(),
            path: format!("{}/{}", encode_path(&collection), names.prefix()),
            suffix: query.suffix(),
            names,
        })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while batch.has_room() {
            // kperf draws thousandths.
            let draw = self.random.below(1_000) as f64 / 1_000.0;
            let oldest = if draw < self.delete_ratio {
                self.created.take_oldest()
            } else {
                None
            };
            if let Some(number) = oldest {
                let request = batch.request(self.delete).tag(number);
                request.path((&self.path, number, &self.suffix));
            } else {
                let number = self.names.take();
                let payload = self.random.alphanumeric(self.payload_bytes);
                let request = batch.request(self.create).tag(number);
                request.body(self.pod.of(number, payload));
            }
        }
        Ok(())
    }
}

impl ReactiveGenerator for PostDel {
    fn observe(&mut self, outcomes: &Outcomes) {
        for outcome in outcomes.iter() {
            let exists = if outcome.template == self.create {
                outcome.is_success()
            } else {
                // A delete that failed is tried again later, unless there is nothing to delete.
                !outcome.is_success() && outcome.status != Some(404)
            };
            if exists {
                self.created.put(outcome.tag);
            }
        }
    }
}

kperf_sdk::export_reactive_generator!(PostDel);

#[cfg(test)]
mod tests;
