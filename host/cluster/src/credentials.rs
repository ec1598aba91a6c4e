//! Headers that authorise requests, kept fresh.
//!
//! Enters: a [`kube::Config`]. Leaves: a [`HeaderProvider`]. Credentials that expire are renewed by a
//! thread of their own that ends with the provider; reading headers takes a lock and clones, no more.
//! When a renewal fails the last credentials stay and the failure is logged: the server decides.

mod rotating;

use std::{path::PathBuf, sync::Arc};

use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use kperf_load::plan::HeaderProvider;
use kube::{
    client::{AuthError, Body, ConfigExt},
    config::AuthInfo,
};
use rotating::{Rotate, Rotating, TokenFile};
use tower::{BoxError, Layer, Service, ServiceExt, util::Either};

use crate::{TargetError, resolve::Loaded};

/// Where the client certificate, if any, comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// The user's certificate and key.
    FromFiles,
    /// The exec plugin, asked again by whoever builds TLS.
    FromPlugin,
}

/// Headers of every request, and where the identity for TLS comes from.
pub(crate) async fn build(
    loaded: &Loaded,
    encrypted: bool,
) -> Result<(Arc<dyn HeaderProvider>, Identity), TargetError> {
    let origin = &loaded.user_origin;
    let info = &loaded.config.auth_info;
    let fixed = impersonation(loaded).await?;
    if !encrypted {
        // As kubectl: credentials never travel in clear text.
        return Ok((Arc::new(fixed), Identity::FromFiles));
    }
    // A token file wins over a token, as in kubectl, and is read here: kube keeps the newline most have.
    if let Some(path) = &info.token_file
        && info.auth_provider.is_none()
        && !(info.username.is_some() && info.password.is_some())
    {
        let mut file = TokenFile::new(PathBuf::from(path), origin.clone());
        let first = file.read()?;
        return Ok((
            Arc::new(Rotating::start(fixed, first, Box::new(file))),
            Identity::FromFiles,
        ));
    }

    let layer = if info.exec.is_some() || info.auth_provider.is_some() {
        let config = loaded.config.clone();
        // kube runs plugins before it returns: not on a thread others wait for.
        tokio::task::spawn_blocking(move || config.auth_layer())
            .await
            // A token without expiry that is no header value makes kube's layer panic.
            .map_err(|_| failed(info, origin, UNSENDABLE.into()))?
    } else {
        loaded.config.auth_layer()
    };
    let layer = layer.map_err(|error| match error {
        kube::Error::Auth(error) => described(info, origin, &error),
        other => failed(info, origin, other.to_string()),
    })?;
    let Some(layer) = layer else {
        let identity = if info.exec.is_some() {
            Identity::FromPlugin
        } else {
            Identity::FromFiles
        };
        return Ok((Arc::new(fixed), identity));
    };
    let mut service = layer.layer(Capture);
    let first = ask(&mut service)
        .await
        .map_err(|error| match error.downcast::<AuthError>() {
            Ok(error) => described(info, origin, &error),
            Err(other) => failed(info, origin, other.to_string()),
        })?;
    if matches!(service, Either::Left(_)) {
        let mut headers = fixed;
        headers.insert(AUTHORIZATION, first);
        return Ok((Arc::new(headers), Identity::FromFiles));
    }
    let rotate = FromKube {
        service,
        runtime: None,
        info: info.clone(),
        origin: origin.clone(),
    };
    Ok((
        Arc::new(Rotating::start(fixed, first, Box::new(rotate))),
        Identity::FromFiles,
    ))
}

const UNSENDABLE: &str = "the token it gave cannot be sent as a header";

/// Answers every request with the headers that kube's layers put on it.
#[derive(Clone)]
struct Capture;

impl Service<Request<Body>> for Capture {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut answer = Response::new(());
        *answer.headers_mut() = request.into_parts().0.headers;
        std::future::ready(Ok(answer))
    }
}

async fn captured<S>(service: &mut S) -> Result<HeaderMap, BoxError>
where
    S: Service<Request<Body>, Response = Response<()>, Error = BoxError>,
{
    let request = Request::new(Body::empty());
    let answer = service.ready().await?.call(request).await?;
    Ok(answer.into_parts().0.headers)
}

async fn ask<S>(service: &mut S) -> Result<HeaderValue, BoxError>
where
    S: Service<Request<Body>, Response = Response<()>, Error = BoxError>,
{
    let mut value = captured(service)
        .await?
        .remove(AUTHORIZATION)
        .ok_or("the plugin gave no token")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The `impersonate-*` headers of `as`, `as-groups`, `as-uid` and `as-user-extra`.
async fn impersonation(loaded: &Loaded) -> Result<HeaderMap, TargetError> {
    let unusable = |reason: String| TargetError::Setting {
        origin: loaded.user_origin.clone(),
        key: "as".into(),
        reason,
    };
    let layer = loaded
        .config
        .extra_headers_layer()
        .map_err(|error| unusable(format!("cannot be sent as a header: {error}")))?;
    captured(&mut layer.layer(Capture))
        .await
        .map_err(|error| unusable(error.to_string()))
}

/// Credentials that kube renews: exec plugins and authentication providers.
struct FromKube<S> {
    service: S,
    /// Made at the first renewal, which for most runs never comes.
    runtime: Option<tokio::runtime::Runtime>,
    info: AuthInfo,
    origin: String,
}

impl<S> Rotate for FromKube<S>
where
    S: Service<Request<Body>, Response = Response<()>, Error = BoxError> + Send,
{
    fn next(&mut self) -> Result<HeaderValue, String> {
        if self.runtime.is_none() {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            self.runtime = Some(runtime);
        }
        let Some(runtime) = &self.runtime else {
            return Err("there is no runtime".into());
        };
        runtime.block_on(ask(&mut self.service)).map_err(|error| {
            match error.downcast::<AuthError>() {
                Ok(error) => described(&self.info, &self.origin, &error).to_string(),
                Err(other) => failed(&self.info, &self.origin, other.to_string()).to_string(),
            }
        })
    }
}

fn failed(info: &AuthInfo, origin: &str, reason: String) -> TargetError {
    match (&info.exec, &info.auth_provider) {
        (Some(exec), _) => TargetError::Exec {
            origin: origin.into(),
            command: exec
                .command
                .clone()
                .unwrap_or_else(|| "(no command)".into()),
            reason,
        },
        (None, Some(provider)) => TargetError::Setting {
            origin: origin.into(),
            key: format!("auth-provider {}", provider.name),
            reason,
        },
        (None, None) => TargetError::Setting {
            origin: origin.into(),
            key: "credentials".into(),
            reason,
        },
    }
}

/// Words for kube's errors. Their own text may quote arguments, environment and output of a plugin.
fn described(info: &AuthInfo, origin: &str, error: &AuthError) -> TargetError {
    let setting = |key: &str, reason: &str| TargetError::Setting {
        origin: origin.into(),
        key: key.into(),
        reason: reason.into(),
    };
    let reason = match error {
        AuthError::InvalidBasicAuth(_) => {
            return setting(
                "username",
                "user name and password cannot be sent as a header",
            );
        }
        AuthError::InvalidBearerToken(_) if info.exec.is_none() => {
            return setting(
                "token",
                "cannot be sent as a header; it holds a line break or another control character",
            );
        }
        AuthError::InvalidBearerToken(_) => UNSENDABLE.to_owned(),
        AuthError::AuthExecStart(source) => {
            let hint = info
                .exec
                .as_ref()
                .and_then(|exec| exec.install_hint.as_deref())
                .map(|hint| format!(". {}", hint.trim()))
                .unwrap_or_default();
            format!("cannot be started: {source}; is it installed and on the PATH?{hint}")
        }
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.trim();
            if said.is_empty() {
                format!("failed ({}); run it by hand to see why", out.status)
            } else {
                format!("failed ({}): {}", out.status, tail(said))
            }
        }
        AuthError::AuthExecParse(_) => {
            "printed something that is not an ExecCredential; run it by hand to see what".into()
        }
        AuthError::ExecPluginFailed => {
            "printed an ExecCredential without status; log in again with its own command".into()
        }
        AuthError::MalformedTokenExpirationDate(_) => {
            "gave an expirationTimestamp that is not RFC 3339".into()
        }
        AuthError::MissingCommand => "has no command; set exec.command".into(),
        AuthError::UnrefreshableTokenResponse => {
            "gave a token that expires and then none to replace it".into()
        }
        AuthError::AuthExec(message) if info.exec.is_none() => {
            // These are kube's words about a provider; the ones that quote its output are left out.
            if message.starts_with("Failed to query") || message.starts_with("Target") {
                "its command did not print the expected token".into()
            } else {
                message.clone()
            }
        }
        other => {
            let kind = format!("{other:?}");
            let kind: String = kind
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            format!("could not get credentials ({kind})")
        }
    };
    failed(info, origin, reason)
}

/// The end of what a plugin said: the last lines tell why.
fn tail(text: &str) -> String {
    const LINES: usize = 3;
    const CHARS: usize = 400;
    let lines: Vec<_> = text.lines().rev().take(LINES).collect();
    let text: Vec<_> = lines.into_iter().rev().map(str::trim).collect();
    text.join(" ").chars().take(CHARS).collect()
}
