//! Lists and the streaming list: one fixed request.

use kperf_sdk::Failure;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{Query, Resource};

/// Which objects to list.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListConfig {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version, for example `v1`.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Plural lower-case name, for example `pods`.
    #[schemars(length(min = 1))]
    pub resource: String,
    /// Namespace; empty for all.
    #[serde(default)]
    pub namespace: String,
    /// Most objects of the one page that is asked for; 0 for all.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub limit: i64,
    /// Label selector, for example `app=web`.
    #[serde(default)]
    pub selector: String,
    /// Older spelling of `selector`.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub seletor: String,
    /// Field selector, for example `spec.nodeName=node-1`.
    #[serde(default)]
    pub field_selector: String,
}

/// Which objects to list by watching.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchListConfig {
    /// API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// API version, for example `v1`.
    #[schemars(length(min = 1))]
    pub version: String,
    /// Plural lower-case name, for example `pods`.
    #[schemars(length(min = 1))]
    pub resource: String,
    /// Namespace; empty for all.
    #[serde(default)]
    pub namespace: String,
    /// Label selector, for example `app=web`.
    #[serde(default)]
    pub selector: String,
    /// Older spelling of `selector`.
    #[serde(default)]
    #[schemars(extend("deprecated" = true))]
    pub seletor: String,
    /// Field selector, for example `spec.nodeName=node-1`.
    #[serde(default)]
    pub field_selector: String,
}

impl ListConfig {
    /// Checks the fields, sets the query's selectors, and returns the collection's path.
    pub fn check(&self, query: &mut Query) -> Result<String, Failure> {
        let resource = Resource::new(&self.group, &self.version, &self.resource)?;
        if self.limit < 0 {
            return Err(Failure::invalid_config("limit", "limit must >= 0"));
        }
        set_selectors(query, &self.selector, &self.seletor, &self.field_selector)?;
        Ok(resource.path(&self.namespace))
    }
}

impl WatchListConfig {
    /// Checks the fields, sets the query's selectors, and returns the collection's path.
    pub fn check(&self, query: &mut Query) -> Result<String, Failure> {
        let resource = Resource::new(&self.group, &self.version, &self.resource)?;
        set_selectors(query, &self.selector, &self.seletor, &self.field_selector)?;
        Ok(resource.path(&self.namespace))
    }
}

fn set_selectors(
    query: &mut Query,
    selector: &str,
    seletor: &str,
    field_selector: &str,
) -> Result<(), Failure> {
    let selector = match (selector, seletor) {
        (selector, "") => selector,
        ("", seletor) => seletor,
        (selector, seletor) if selector == seletor => selector,
        _ => {
            let message = "selector and its older spelling seletor are both set, and differ";
            return Err(Failure::invalid_config("seletor", message));
        }
    };
    query
        .set("labelSelector", selector)
        .set("fieldSelector", field_selector);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods() -> ListConfig {
        ListConfig {
            version: "v1".to_owned(),
            resource: "pods".to_owned(),
            ..ListConfig::default()
        }
    }

    #[test]
    fn a_negative_limit_is_an_error() {
        let config = ListConfig {
            limit: -1,
            ..pods()
        };
        let failure = config.check(&mut Query::default()).unwrap_err();
        assert_eq!(failure.message, "limit must >= 0");
        assert_eq!(failure.find_hint("key"), Some("limit"));
    }

    #[test]
    fn the_older_spelling_counts_unless_it_contradicts() {
        let suffix = |selector: &str, seletor: &str| {
            let config = ListConfig {
                selector: selector.to_owned(),
                seletor: seletor.to_owned(),
                ..pods()
            };
            let mut query = Query::default();
            config.check(&mut query)?;
            Ok::<_, Failure>(query.suffix())
        };
        assert_eq!(suffix("a=b", ""), suffix("", "a=b"));
        assert_eq!(suffix("a=b", "a=b").unwrap(), "?labelSelector=a%3Db");
        let failure = suffix("a=b", "a=c").unwrap_err();
        assert_eq!(failure.find_hint("key"), Some("seletor"));
    }
}
