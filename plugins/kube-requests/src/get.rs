//! Gets: one fixed object.

use kperf_sdk::Failure;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Resource, join_path};

/// Which object to get.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GetConfig {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version, for example `v1`.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Plural lower-case name, for example `pods`.
    #[schemars(length(min = 1))]
    pub resource: String,
    /// Namespace; empty for objects that have none.
    #[serde(default)]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(min = 1))]
    pub name: String,
}

impl GetConfig {
    /// Checks the fields and returns the object's path.
    pub fn check(&self) -> Result<String, Failure> {
        let resource = Resource::new(&self.group, &self.version, &self.resource)?;
        if self.name.is_empty() {
            return Err(Failure::invalid_config("name", "name is required"));
        }
        Ok(join_path(&[&resource.path(&self.namespace), &self.name]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_required() {
        let config = GetConfig {
            version: "v1".to_owned(),
            resource: "nodes".to_owned(),
            ..GetConfig::default()
        };
        let failure = config.check().unwrap_err();
        assert_eq!(failure.message, "name is required");
        assert_eq!(failure.find_hint("key"), Some("name"));
    }
}
