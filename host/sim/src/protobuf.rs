//! Reads the Kubernetes protobuf envelope of the kinds kubectl creates with its typed clients.
//!
//! What enters: `k8s\0`, then `runtime.Unknown` with the object inside. What leaves: the JSON value.
//! A kind or a field that is not in the tables is an error, never dropped silently: the caller answers
//! 415. Field numbers are those of the `generated.proto` files in `k8s.io/api` and `k8s.io/apimachinery`.

use base64::Engine as _;
use serde_json::{Map, Value, json};

/// Media type of the envelope.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Messages nest at most so deep; the tables are far below it.
const MAX_DEPTH: usize = 16;

/// Why a body could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecodeError {
    /// The bytes are no protobuf envelope.
    Malformed,
    /// Kind or field is not in the tables.
    Unsupported,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// A number whose zero means "not set".
    Int,
    /// A number behind a pointer: its zero counts.
    IntPtr,
    Bool,
    BoolPtr,
    Bytes,
    /// `IntOrString`.
    IntOrText,
    Quantity,
    /// Written by clients but owned by the server.
    Ignored,
    Message(&'static [Field]),
    Map(&'static Kind),
}

/// Number, JSON name, kind, repeated.
type Field = (u64, &'static str, Kind, bool);

use Kind::{Bool, BoolPtr, Bytes, Ignored, Int, IntOrText, IntPtr, Message, Quantity, Text};

const TEXTS: Kind = Kind::Map(&Text);

const OWNER: &[Field] = &[
    (1, "kind", Text, false),
    (3, "name", Text, false),
    (4, "uid", Text, false),
    (5, "apiVersion", Text, false),
    (6, "controller", BoolPtr, false),
    (7, "blockOwnerDeletion", BoolPtr, false),
];
const META: &[Field] = &[
    (1, "name", Text, false),
    (2, "generateName", Text, false),
    (3, "namespace", Text, false),
    (4, "selfLink", Ignored, false),
    (5, "uid", Text, false),
    (6, "resourceVersion", Text, false),
    (7, "generation", Int, false),
    (8, "creationTimestamp", Ignored, false),
    (11, "labels", TEXTS, false),
    (12, "annotations", TEXTS, false),
    (13, "ownerReferences", Message(OWNER), true),
    (14, "finalizers", Text, true),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Message(META), false),
    (2, "data", TEXTS, false),
    (3, "binaryData", Kind::Map(&Bytes), false),
    (4, "immutable", BoolPtr, false),
];
const SECRET: &[Field] = &[
    (1, "metadata", Message(META), false),
    (2, "data", Kind::Map(&Bytes), false),
    (3, "type", Text, false),
    (4, "stringData", TEXTS, false),
    (5, "immutable", BoolPtr, false),
];
const NAMESPACE: &[Field] = &[
    (1, "metadata", Message(META), false),
    (2, "spec", Message(&[(1, "finalizers", Text, true)]), false),
    (3, "status", Ignored, false),
];
const SERVICE_ACCOUNT: &[Field] = &[
    (1, "metadata", Message(META), false),
    (4, "automountServiceAccountToken", BoolPtr, false),
];
const SELECTOR: &[Field] = &[(1, "matchLabels", TEXTS, false)];
const RESOURCES: &[Field] = &[
    (1, "limits", Kind::Map(&Quantity), false),
    (2, "requests", Kind::Map(&Quantity), false),
];
const CONTAINER: &[Field] = &[
    (1, "name", Text, false),
    (2, "image", Text, false),
    (3, "command", Text, true),
    (4, "args", Text, true),
    (5, "workingDir", Text, false),
    (
        6,
        "ports",
        Message(&[
            (1, "name", Text, false),
            (2, "hostPort", Int, false),
            (3, "containerPort", Int, false),
            (4, "protocol", Text, false),
            (5, "hostIP", Text, false),
        ]),
        true,
    ),
    (
        7,
        "env",
        Message(&[(1, "name", Text, false), (2, "value", Text, false)]),
        true,
    ),
    (8, "resources", Message(RESOURCES), false),
    (13, "terminationMessagePath", Text, false),
    (14, "imagePullPolicy", Text, false),
    (20, "terminationMessagePolicy", Text, false),
];
const POD_SPEC: &[Field] = &[
    (2, "containers", Message(CONTAINER), true),
    (3, "restartPolicy", Text, false),
    (4, "terminationGracePeriodSeconds", IntPtr, false),
    (5, "activeDeadlineSeconds", IntPtr, false),
    (6, "dnsPolicy", Text, false),
    (7, "nodeSelector", TEXTS, false),
    (8, "serviceAccountName", Text, false),
    (9, "serviceAccount", Text, false),
    (10, "nodeName", Text, false),
    (11, "hostNetwork", Bool, false),
    (19, "schedulerName", Text, false),
    (20, "initContainers", Message(CONTAINER), true),
];
const POD: &[Field] = &[
    (1, "metadata", Message(META), false),
    (2, "spec", Message(POD_SPEC), false),
    (3, "status", Ignored, false),
];
const TEMPLATE: &[Field] = &[
    (1, "metadata", Message(META), false),
    (2, "spec", Message(POD_SPEC), false),
];
const ROLLING: &[Field] = &[
    (1, "maxUnavailable", IntOrText, false),
    (2, "maxSurge", IntOrText, false),
];
const DEPLOYMENT: &[Field] = &[
    (1, "metadata", Message(META), false),
    (
        2,
        "spec",
        Message(&[
            (1, "replicas", IntPtr, false),
            (2, "selector", Message(SELECTOR), false),
            (3, "template", Message(TEMPLATE), false),
            (
                4,
                "strategy",
                Message(&[
                    (1, "type", Text, false),
                    (2, "rollingUpdate", Message(ROLLING), false),
                ]),
                false,
            ),
            (5, "minReadySeconds", Int, false),
            (6, "revisionHistoryLimit", IntPtr, false),
            (7, "paused", Bool, false),
            (9, "progressDeadlineSeconds", IntPtr, false),
        ]),
        false,
    ),
    (3, "status", Ignored, false),
];
const JOB: &[Field] = &[
    (1, "metadata", Message(META), false),
    (
        2,
        "spec",
        Message(&[
            (1, "parallelism", IntPtr, false),
            (2, "completions", IntPtr, false),
            (3, "activeDeadlineSeconds", IntPtr, false),
            (4, "selector", Message(SELECTOR), false),
            (5, "manualSelector", BoolPtr, false),
            (6, "template", Message(TEMPLATE), false),
            (7, "backoffLimit", IntPtr, false),
        ]),
        false,
    ),
    (3, "status", Ignored, false),
];
const SERVICE: &[Field] = &[
    (1, "metadata", Message(META), false),
    (
        2,
        "spec",
        Message(&[
            (
                1,
                "ports",
                Message(&[
                    (1, "name", Text, false),
                    (2, "protocol", Text, false),
                    (3, "port", Int, false),
                    (4, "targetPort", IntOrText, false),
                    (5, "nodePort", Int, false),
                    (6, "appProtocol", Text, false),
                ]),
                true,
            ),
            (2, "selector", TEXTS, false),
            (3, "clusterIP", Text, false),
            (4, "type", Text, false),
            (5, "externalIPs", Text, true),
            (7, "sessionAffinity", Text, false),
            (8, "loadBalancerIP", Text, false),
            (10, "externalName", Text, false),
            (11, "externalTrafficPolicy", Text, false),
        ]),
        false,
    ),
    (3, "status", Ignored, false),
];

fn table(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "Secret") => SECRET,
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        ("v1", "Service") => SERVICE,
        ("v1", "Pod") => POD,
        ("apps/v1", "Deployment") => DEPLOYMENT,
        ("batch/v1", "Job") => JOB,
        _ => return None,
    })
}

/// Reads an envelope.
pub(crate) fn decode(body: &[u8]) -> Result<Value, DecodeError> {
    let mut unknown = body.strip_prefix(b"k8s\0").ok_or(DecodeError::Malformed)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    while !unknown.is_empty() {
        match field(&mut unknown)? {
            (1, Wire::Bytes(mut meta)) => {
                while !meta.is_empty() {
                    match field(&mut meta)? {
                        (1, Wire::Bytes(text)) => api_version = utf8(text)?,
                        (2, Wire::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let fields = table(&api_version, &kind).ok_or(DecodeError::Unsupported)?;
    let mut value = message(raw, fields, 0)?;
    value.insert("apiVersion".to_owned(), json!(api_version));
    value.insert("kind".to_owned(), json!(kind));
    Ok(Value::Object(value))
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(DecodeError::Malformed)?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(DecodeError::Malformed)
}

fn field<'a>(input: &mut &'a [u8]) -> Result<(u64, Wire<'a>), DecodeError> {
    let tag = varint(input)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(input)?),
        2 => {
            let len = usize::try_from(varint(input)?).map_err(|_| DecodeError::Malformed)?;
            let (bytes, rest) = input.split_at_checked(len).ok_or(DecodeError::Malformed)?;
            *input = rest;
            Wire::Bytes(bytes)
        }
        // Kubernetes uses no fixed-width fields in these kinds.
        _ => return Err(DecodeError::Unsupported),
    };
    Ok((tag >> 3, wire))
}

fn utf8(bytes: &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Malformed)
}

fn message(
    mut input: &[u8],
    fields: &[Field],
    depth: usize,
) -> Result<Map<String, Value>, DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError::Malformed);
    }
    let mut out = Map::new();
    while !input.is_empty() {
        let (number, wire) = field(&mut input)?;
        let Some((_, name, kind, repeated)) = fields.iter().find(|(n, ..)| *n == number) else {
            // Values that are not set are written all the same.
            match wire {
                Wire::Number(0) | Wire::Bytes([]) => continue,
                _ => return Err(DecodeError::Unsupported),
            }
        };
        if let Kind::Map(of) = kind {
            let Wire::Bytes(entry) = wire else {
                return Err(DecodeError::Malformed);
            };
            let (key, value) = entry_of(entry, of, depth)?;
            if let Value::Object(map) = out.entry(*name).or_insert_with(|| json!({})) {
                map.insert(key, value);
            }
            continue;
        }
        let value = single(&wire, kind, depth)?;
        if *repeated {
            if let Value::Array(list) = out.entry(*name).or_insert_with(|| json!([])) {
                list.push(value.unwrap_or_else(|| json!("")));
            }
        } else if let Some(value) = value {
            out.insert((*name).to_owned(), value);
        }
    }
    Ok(out)
}

fn entry_of(mut entry: &[u8], of: &Kind, depth: usize) -> Result<(String, Value), DecodeError> {
    let (mut key, mut value) = (String::new(), json!(""));
    while !entry.is_empty() {
        match field(&mut entry)? {
            (1, Wire::Bytes(text)) => key = utf8(text)?,
            (2, wire) => value = single(&wire, of, depth + 1)?.unwrap_or_else(|| json!("")),
            _ => return Err(DecodeError::Malformed),
        }
    }
    Ok((key, value))
}

/// One value; `None` when it means "not set".
fn single(wire: &Wire<'_>, kind: &Kind, depth: usize) -> Result<Option<Value>, DecodeError> {
    Ok(match (kind, wire) {
        (Ignored, _) => None,
        (Text, Wire::Bytes(bytes)) => Some(utf8(bytes)?)
            .filter(|t| !t.is_empty())
            .map(Value::String),
        (Bytes, Wire::Bytes(bytes)) => Some(json!(
            base64::engine::general_purpose::STANDARD.encode(bytes)
        )),
        (Int, Wire::Number(n)) => (*n != 0).then(|| json!(n.cast_signed())),
        (IntPtr, Wire::Number(n)) => Some(json!(n.cast_signed())),
        (Bool, Wire::Number(n)) => (*n != 0).then_some(Value::Bool(true)),
        (BoolPtr, Wire::Number(n)) => Some(json!(*n != 0)),
        (Quantity, Wire::Bytes(bytes)) => {
            message(bytes, &[(1, "string", Text, false)], depth + 1)?.remove("string")
        }
        (IntOrText, Wire::Bytes(bytes)) => {
            let parts = message(
                bytes,
                &[
                    (1, "type", Int, false),
                    (2, "int", Int, false),
                    (3, "text", Text, false),
                ],
                depth + 1,
            )?;
            if parts.contains_key("type") {
                parts.get("text").cloned()
            } else {
                parts.get("int").cloned()
            }
        }
        (Message(fields), Wire::Bytes(bytes)) => Some(message(bytes, fields, depth + 1)?)
            .filter(|m| !m.is_empty())
            .map(Value::Object),
        _ => return Err(DecodeError::Malformed),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(number: u8, bytes: &[u8]) -> Vec<u8> {
        [
            &[number << 3 | 2, u8::try_from(bytes.len()).unwrap()][..],
            bytes,
        ]
        .concat()
    }

    fn envelope(version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [tagged(1, version.as_bytes()), tagged(2, kind.as_bytes())].concat();
        [
            b"k8s\0".to_vec(),
            tagged(1, &meta),
            tagged(2, raw),
            tagged(3, b""),
            tagged(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_configmap() {
        let metadata = [tagged(1, b"a"), tagged(2, b""), tagged(8, b"")].concat();
        let data = [tagged(1, b"k"), tagged(2, b"v")].concat();
        let body = envelope(
            "v1",
            "ConfigMap",
            &[tagged(1, &metadata), tagged(2, &data)].concat(),
        );
        assert_eq!(
            decode(&body),
            Ok(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
            )
        );
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert_eq!(
            decode(&envelope("v1", "Node", b"")),
            Err(DecodeError::Unsupported)
        );
        assert_eq!(
            decode(&envelope("v1", "ConfigMap", &tagged(9, b"x"))),
            Err(DecodeError::Unsupported)
        );
        let good = envelope("v1", "ConfigMap", &tagged(1, &tagged(1, b"a")));
        for end in 0..good.len() {
            // Cut anywhere, it is an error or a shorter object; never a panic.
            let _ = decode(good.get(..end).unwrap());
        }
        for bytes in [
            &b""[..],
            b"{}",
            b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"k8s\0\x0a\x7f",
        ] {
            assert_eq!(decode(bytes), Err(DecodeError::Malformed), "{bytes:?}");
        }
    }
}
