//! A profile in its normal form: newer names, defaults filled in, nothing implied.

use serde_yaml::{Mapping, Value as Yaml};

use super::{Entry, Profile, Resolved, ResolvedSpec};

impl Profile {
    /// YAML that reads as `resolved`, and that kperf reads too as long as there are no `plugin` entries.
    /// Plugin paths stay as written, relative to the profile's folder.
    ///
    /// # Errors
    /// A value that YAML cannot express; there is none that could have been read.
    pub fn to_yaml(&self, resolved: &Resolved) -> Result<String, serde_yaml::Error> {
        let mut top = Mapping::new();
        top.insert("version".into(), 1.into());
        if !resolved.description.is_empty() {
            top.insert("description".into(), resolved.description.clone().into());
        }
        if !self.thresholds.is_empty() {
            let texts = self.thresholds.iter().cloned().map(Yaml::from);
            top.insert("thresholds".into(), Yaml::Sequence(texts.collect()));
        }
        let specs = resolved
            .specs
            .iter()
            .map(|spec| write_spec(resolved, spec))
            .collect::<Result<_, _>>()?;
        top.insert("specs".into(), Yaml::Sequence(specs));
        serde_yaml::to_string(&Yaml::Mapping(top))
    }
}

fn write_spec(resolved: &Resolved, spec: &ResolvedSpec) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::new();
    map.insert("rate".into(), spec.rate.into());
    if let Some(total) = spec.total {
        map.insert("total".into(), total.into());
    }
    if let Some(duration) = spec.duration {
        // kperf counts whole seconds; a part of one is not dropped to none.
        let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
        map.insert("duration".into(), seconds.into());
    }
    map.insert("conns".into(), resolved.conns.into());
    map.insert("client".into(), spec.client.into());
    map.insert("contentType".into(), resolved.content_type.as_str().into());
    map.insert("disableHTTP2".into(), resolved.disable_http2.into());
    map.insert("maxRetries".into(), spec.max_retries.into());
    let requests = spec
        .entries
        .iter()
        .map(write_entry)
        .collect::<Result<_, _>>()?;
    map.insert("requests".into(), Yaml::Sequence(requests));
    Ok(Yaml::Mapping(map))
}

fn write_entry(entry: &Entry) -> Result<Yaml, serde_yaml::Error> {
    let mut map = Mapping::new();
    map.insert("shares".into(), entry.shares.into());
    let config = entry
        .config
        .as_ref()
        .map(serde_yaml::to_value)
        .transpose()?;
    match entry.kind {
        Some(kind) => {
            map.insert(kind.into(), config.unwrap_or(Yaml::Mapping(Mapping::new())));
        }
        None => {
            map.insert("plugin".into(), entry.written.clone().into());
            if let Some(config) = config {
                map.insert("config".into(), config);
            }
        }
    }
    Ok(Yaml::Mapping(map))
}
