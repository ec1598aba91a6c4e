//! Gets random objects of a key space: `<prefix>-0`, `<prefix>-1`, …

use kperf_sdk::generator::prelude::*;

/// Which objects to get.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// Namespace of the objects.
    #[schemars(length(min = 1))]
    namespace: String,
    /// How many objects there are.
    #[schemars(range(min = 1))]
    key_space_size: u64,
}

struct Plugin {
    get: TemplateId,
    random: Random,
    prefix: String,
    key_space_size: u64,
}

impl Generator for Plugin {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({"namespace": "ns-0", "keySpaceSize": 100}))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        let collection = format!("/api/v1/namespaces/{}/configmaps", config.namespace);
        // The name of the series masks what varies.
        let get = templates.add(Template::get(
            format!("GET {collection}/:name"),
            collection.clone(),
        ));
        Ok(Self {
            get,
            random: context.random(),
            prefix: format!("{collection}/cm-"),
            key_space_size: config.key_space_size,
        })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        while batch.has_room() {
            let key = self.random.below(self.key_space_size);
            batch.request(self.get).path((&self.prefix, key));
        }
        Ok(())
    }
}

kperf_sdk::export_generator!(Plugin);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn stays_in_its_key_space() {
        let opened = testing::open::<Plugin>(json!({"namespace": "a", "keySpaceSize": 2})).unwrap();
        let (requests, done) = opened.next(50).unwrap();
        assert_eq!((requests.len(), done), (50, false));
        for request in requests {
            let key = request
                .path
                .strip_prefix("/api/v1/namespaces/a/configmaps/cm-")
                .unwrap();
            assert!(key == "0" || key == "1");
        }
    }
}
