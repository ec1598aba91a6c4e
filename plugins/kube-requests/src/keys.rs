//! Key spaces: objects `<prefix>-0` to `<prefix>-<size - 1>`, one chosen at random for each request.

use kperf_sdk::Failure;
use kperf_sdk::generator::{OpenContext, Template};
use kperf_sdk::random::Random;

use crate::{Query, encode_path};

/// A key space below one collection.
#[derive(Clone, Debug)]
pub struct KeySpace {
    size: u64,
    random: Random,
    /// Path up to the key, and what follows it.
    path: String,
    suffix: String,
    collection: String,
}

impl KeySpace {
    /// A key space of `size` objects named `<name>-<key>` in a collection; a size below 1 is an error.
    pub fn new(
        context: &OpenContext,
        collection: &str,
        name: &str,
        size: i64,
        query: &Query,
    ) -> Result<Self, Failure> {
        let size = u64::try_from(size).unwrap_or(0);
        if size == 0 {
            let message = "keySpaceSize must > 0";
            return Err(Failure::invalid_config("keySpaceSize", message));
        }
        Ok(Self {
            size,
            random: context.random(),
            path: format!("{}-", encode_path(&crate::join_path(&[collection, name]))),
            suffix: query.suffix(),
            collection: encode_path(collection),
        })
    }

    /// The template of requests to these objects, in whose series the name is masked.
    pub fn template(&self, method: &str) -> Template {
        let path = format!("{}/:name{}", self.collection, self.suffix);
        Template::new(format!("{method} {path}"), method, path)
    }

    /// Chooses a key.
    #[inline]
    pub fn choose(&mut self) -> u64 {
        self.random.below(self.size)
    }

    /// The path of a key, as parts.
    #[inline]
    pub fn path(&self, key: u64) -> (&str, u64, &str) {
        (&self.path, key, &self.suffix)
    }

    /// The stream of random choices, for what else a request chooses.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kperf_sdk::testing::context;

    #[test]
    fn an_empty_key_space_is_an_error() {
        for size in [0, -1, i64::MIN] {
            let keys = KeySpace::new(&context(), "/api/v1/nodes", "n", size, &Query::default());
            let failure = keys.unwrap_err();
            assert_eq!(failure.message, "keySpaceSize must > 0");
            assert_eq!(failure.find_hint("key"), Some("keySpaceSize"));
        }
    }

    #[test]
    fn keys_repeat_with_the_seed_and_cover_the_space() {
        let keys = |seed| {
            let mut context = context();
            context.seed = seed;
            let query = Query::default();
            let mut keys = KeySpace::new(&context, "/api/v1/nodes", "n", 10, &query).unwrap();
            (0..200).map(|_| keys.choose()).collect::<Vec<_>>()
        };
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
        let drawn = keys(1);
        assert!((0..10).all(|key| drawn.contains(&key)) && drawn.iter().all(|key| *key < 10));
    }
}
