//! Gets ConfigMaps `<name>-0` to `<name>-<keySpaceSize - 1>`, of which the first `hotKeys` get `hotShare` of the reads.

use kperf_sdk::generator::prelude::*;

/// Which ConfigMaps to get, and how unevenly.
#[derive(Deserialize, JsonSchema)]
#[serde(
    crate = "kperf_sdk::serde",
    rename_all = "camelCase",
    deny_unknown_fields
)]
struct Config {
    /// Namespace of the ConfigMaps.
    #[schemars(length(min = 1))]
    namespace: String,
    /// ConfigMaps are named `<name>-<number>`.
    #[serde(default = "cm")]
    #[schemars(length(min = 1))]
    name: String,
    /// How many ConfigMaps there are.
    #[schemars(range(min = 2))]
    key_space_size: u64,
    /// How many of them are hot; fewer than there are.
    #[schemars(range(min = 1))]
    hot_keys: u64,
    /// Share of the reads that go to the hot ones.
    #[schemars(range(min = 0.0, max = 1.0))]
    hot_share: f64,
}

fn cm() -> String {
    "cm".to_owned()
}

struct HotConfigMaps {
    hot: TemplateId,
    cold: TemplateId,
    random: Random,
    config: Config,
    prefix: String,
}

impl Generator for HotConfigMaps {
    type Config = Config;

    fn default_config() -> Option<Value> {
        Some(json!({"namespace": "ns-0", "keySpaceSize": 100, "hotKeys": 5, "hotShare": 0.9}))
    }

    fn open(
        context: &OpenContext,
        config: Config,
        templates: &mut Templates,
    ) -> Result<Self, Failure> {
        // A schema can't compare two keys; what it can't say is checked here.
        if config.hot_keys >= config.key_space_size {
            let message = format!(
                "hotKeys must be below keySpaceSize ({})",
                config.key_space_size
            );
            return Err(Failure::invalid_config("hotKeys", message));
        }
        let collection = format!("/api/v1/namespaces/{}/configmaps", config.namespace);
        let mut series = |heat: &str| {
            templates.add(Template::get(
                format!("GET {collection}/:{heat}"),
                &collection,
            ))
        };
        Ok(Self {
            hot: series("hot"),
            cold: series("cold"),
            random: context.random(),
            prefix: format!("{collection}/{}-", config.name),
            config,
        })
    }

    fn next(&mut self, batch: &mut Batch) -> Result<(), Failure> {
        let hot_keys = self.config.hot_keys;
        while batch.has_room() {
            let (template, key) = if self.random.chance(self.config.hot_share) {
                (self.hot, self.random.below(hot_keys))
            } else {
                let cold_keys = self.config.key_space_size - hot_keys;
                (self.cold, hot_keys + self.random.below(cold_keys))
            };
            batch.request(template).path((&self.prefix, key));
        }
        Ok(())
    }
}

kperf_sdk::export_generator!(HotConfigMaps);

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing;

    #[test]
    fn hot_keys_get_their_share() {
        let opened =
            testing::open::<HotConfigMaps>(HotConfigMaps::default_config().unwrap()).unwrap();
        let (requests, _) = opened.next(10_000).unwrap();
        let mut hot = 0;
        for request in &requests {
            let key: u64 = request.path.rsplit_once("/cm-").unwrap().1.parse().unwrap();
            assert!(key < 100);
            assert_eq!(key < 5, request.series.ends_with(":hot"));
            hot += u64::from(key < 5);
        }
        assert!((8_850..=9_150).contains(&hot), "{hot}");
    }

    #[test]
    fn more_hot_keys_than_keys_are_refused() {
        let config = json!({"namespace": "a", "keySpaceSize": 5, "hotKeys": 5, "hotShare": 0.5});
        let failure = testing::open::<HotConfigMaps>(config).err().unwrap();
        assert_eq!(failure.find_hint("key"), Some("hotKeys"));
    }
}
