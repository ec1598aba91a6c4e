//! The service account of the pod this process runs in.

use std::net::Ipv6Addr;

use crate::{TargetError, resolve::Loaded, source::Environment, tls};

pub(crate) fn load(environment: &Environment) -> Result<Loaded, TargetError> {
    let origin = "service account of this pod".to_owned();
    let variable = |key: &str, value: &Option<String>| {
        value.clone().ok_or_else(|| TargetError::Setting {
            origin: origin.clone(),
            key: key.into(),
            reason: "is not set: this is not a pod; pass --kubeconfig FILE or --server URL".into(),
        })
    };
    let host = variable("KUBERNETES_SERVICE_HOST", &environment.service_host)?;
    let port = variable("KUBERNETES_SERVICE_PORT", &environment.service_port)?;
    let host = if host.parse::<Ipv6Addr>().is_ok() {
        format!("[{host}]")
    } else {
        host
    };
    let url = format!("https://{host}:{port}")
        .parse()
        .map_err(|_| TargetError::Setting {
            origin: origin.clone(),
            key: "KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT".into(),
            reason: format!("{host:?} and {port:?} are not a host and a port"),
        })?;
    let mut config = kube::Config::new(url);
    let authority = environment.service_account.join("ca.crt");
    config.root_cert = Some(tls::certificates(&origin, "ca.crt", &authority)?);
    // Given the file, kube follows its rotation.
    config.root_cert_file = Some(authority);
    config.auth_info.token_file = Some(
        environment
            .service_account
            .join("token")
            .display()
            .to_string(),
    );
    if let Ok(namespace) = std::fs::read_to_string(environment.service_account.join("namespace")) {
        config.default_namespace = namespace.trim().to_owned();
    }
    Ok(Loaded {
        description: origin.clone(),
        config,
        cluster_origin: origin.clone(),
        user_origin: origin,
        proxy_url: None,
        warnings: Vec::new(),
    })
}
