//! Sets of ConfigMaps, named and labelled as kperf's `data configmap` does.

use kperf_sdk::benchmark::prelude::*;
use kperf_sdk::random::Random;

/// A set of ConfigMaps.
#[derive(Clone, Copy, Debug)]
pub struct SetShape<'a> {
    /// Where.
    pub namespace: &'a str,
    /// Its name: objects are `runkperf-cm-<name>-<i>`.
    pub name: &'a str,
    /// How many.
    pub total: u32,
    /// Bytes of data in each.
    pub size: u32,
    /// How many are created at once.
    pub group_size: u32,
}

impl SetShape<'_> {
    /// What names begin with; `-<i>` follows.
    pub fn prefix(&self) -> String {
        format!("runkperf-cm-{}", self.name)
    }

    fn manifest(&self, index: u32, random: &mut Random) -> Value {
        let letters = b"abcdefghijklmnopqrstuvwxyz";
        let data: String = (0..self.size)
            .filter_map(|_| letters.get(random.below(26) as usize))
            .map(|&letter| char::from(letter))
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "namespace": self.namespace,
                "name": format!("{}-{index}", self.prefix()),
                "labels": {
                    "app": "runkperf",
                    "cmName": self.name,
                    "ownerID": (index - index % self.group_size.max(1)).to_string(),
                },
            },
            "data": {"data": data},
        })
    }

    /// Creates them, a group at once.
    ///
    /// # Errors
    /// One could not be created.
    pub fn create(&self, seed: u64) -> Result<(), Failure> {
        let mut random = Random::new(seed);
        let options = BulkOptions::unpaced("create ConfigMaps", self.group_size.clamp(1, 200))
            .stop_on_failure();
        let bulk = Bulk::new(&options);
        for index in 0..self.total {
            let create = Operation::create(&self.manifest(index, &mut random));
            bulk.push(&[Action::of(create)])?;
            run::progress("create ConfigMaps", u64::from(index) + 1, self.total.into());
        }
        bulk.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_sizes_are_kperfs() {
        let set = SetShape {
            namespace: "n",
            name: "x",
            total: 10,
            size: 100,
            group_size: 4,
        };
        let map = set.manifest(7, &mut Random::new(1));
        assert_eq!(map["metadata"]["name"], "runkperf-cm-x-7");
        assert_eq!(map["metadata"]["labels"]["ownerID"], "4");
        assert_eq!(map["data"]["data"].as_str().unwrap().len(), 100);
    }
}
