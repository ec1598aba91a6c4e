//! Which resources exist, by group and version. Built-in ones stand in one table; each
//! CustomResourceDefinition adds its own.

use std::sync::Arc;

use serde_json::Value;

use crate::store::Collection;

/// A resource as discovery shows it, with the objects stored under it.
#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) subresources: Vec<String>,
    /// Defined by a CustomResourceDefinition: list items carry their kind, no strategic merge.
    pub(crate) custom: bool,
    /// All versions of one resource share it.
    pub(crate) collection: Arc<Collection>,
}

impl Resource {
    /// `pods` or `deployments.apps`, as messages name it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.group.as_str() == group && self.plural.as_str() == plural
    }

    pub(crate) fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|s| s == name)
    }
}

/// All resources. Immutable: a change makes a new one, so that requests hold a snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    resources: Vec<Arc<Resource>>,
}

/// group, version, plural, singular, kind, namespaced, short names, categories, subresources.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const ALL: &[&str] = &["all"];
const EXT: &[&str] = &["api-extensions"];
const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];
const NONE: &[&str] = &[];

#[rustfmt::skip]
const BUILTIN: &[Row] = &[
    ("", "v1", "bindings", "binding", "Binding", true, NONE, NONE, NONE),
    ("", "v1", "configmaps", "configmap", "ConfigMap", true, &["cm"], NONE, NONE),
    ("", "v1", "endpoints", "endpoints", "Endpoints", true, &["ep"], NONE, NONE),
    ("", "v1", "events", "event", "Event", true, &["ev"], NONE, NONE),
    ("", "v1", "limitranges", "limitrange", "LimitRange", true, &["limits"], NONE, NONE),
    ("", "v1", "namespaces", "namespace", "Namespace", false, &["ns"], NONE, &["finalize", "status"]),
    ("", "v1", "nodes", "node", "Node", false, &["no"], NONE, STATUS),
    ("", "v1", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", true, &["pvc"], NONE, STATUS),
    ("", "v1", "persistentvolumes", "persistentvolume", "PersistentVolume", false, &["pv"], NONE, STATUS),
    ("", "v1", "pods", "pod", "Pod", true, &["po"], ALL, &["binding", "eviction", "log", "status"]),
    ("", "v1", "podtemplates", "podtemplate", "PodTemplate", true, NONE, NONE, NONE),
    ("", "v1", "replicationcontrollers", "replicationcontroller", "ReplicationController", true, &["rc"], ALL, SCALE),
    ("", "v1", "resourcequotas", "resourcequota", "ResourceQuota", true, &["quota"], NONE, STATUS),
    ("", "v1", "secrets", "secret", "Secret", true, NONE, NONE, NONE),
    ("", "v1", "serviceaccounts", "serviceaccount", "ServiceAccount", true, &["sa"], NONE, NONE),
    ("", "v1", "services", "service", "Service", true, &["svc"], ALL, STATUS),
    ("apps", "v1", "controllerrevisions", "controllerrevision", "ControllerRevision", true, NONE, NONE, NONE),
    ("apps", "v1", "daemonsets", "daemonset", "DaemonSet", true, &["ds"], ALL, STATUS),
    ("apps", "v1", "deployments", "deployment", "Deployment", true, &["deploy"], ALL, SCALE),
    ("apps", "v1", "replicasets", "replicaset", "ReplicaSet", true, &["rs"], ALL, SCALE),
    ("apps", "v1", "statefulsets", "statefulset", "StatefulSet", true, &["sts"], ALL, SCALE),
    ("autoscaling", "v2", "horizontalpodautoscalers", "horizontalpodautoscaler", "HorizontalPodAutoscaler", true, &["hpa"], ALL, STATUS),
    ("batch", "v1", "cronjobs", "cronjob", "CronJob", true, &["cj"], ALL, STATUS),
    ("batch", "v1", "jobs", "job", "Job", true, NONE, ALL, STATUS),
    ("networking.k8s.io", "v1", "ingressclasses", "ingressclass", "IngressClass", false, NONE, NONE, NONE),
    ("networking.k8s.io", "v1", "ingresses", "ingress", "Ingress", true, &["ing"], NONE, STATUS),
    ("networking.k8s.io", "v1", "networkpolicies", "networkpolicy", "NetworkPolicy", true, &["netpol"], NONE, NONE),
    ("policy", "v1", "poddisruptionbudgets", "poddisruptionbudget", "PodDisruptionBudget", true, &["pdb"], NONE, STATUS),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "clusterrolebinding", "ClusterRoleBinding", false, NONE, NONE, NONE),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "clusterrole", "ClusterRole", false, NONE, NONE, NONE),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "rolebinding", "RoleBinding", true, NONE, NONE, NONE),
    ("rbac.authorization.k8s.io", "v1", "roles", "role", "Role", true, NONE, NONE, NONE),
    ("storage.k8s.io", "v1", "storageclasses", "storageclass", "StorageClass", false, &["sc"], NONE, NONE),
    ("scheduling.k8s.io", "v1", "priorityclasses", "priorityclass", "PriorityClass", false, &["pc"], NONE, NONE),
    ("coordination.k8s.io", "v1", "leases", "lease", "Lease", true, NONE, NONE, NONE),
    ("discovery.k8s.io", "v1", "endpointslices", "endpointslice", "EndpointSlice", true, NONE, NONE, NONE),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "customresourcedefinition", "CustomResourceDefinition", false, &["crd", "crds"], EXT, STATUS),
];

impl Registry {
    /// The resources every server has.
    pub(crate) fn builtin() -> Self {
        let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        let resources = BUILTIN
            .iter()
            .map(
                |&(group, version, plural, singular, kind, namespaced, short, categories, subs)| {
                    Arc::new(Resource {
                        group: group.into(),
                        version: version.into(),
                        plural: plural.into(),
                        singular: singular.to_owned(),
                        kind: kind.into(),
                        list_kind: format!("{kind}List"),
                        namespaced,
                        short_names: owned(short),
                        categories: owned(categories),
                        subresources: owned(subs),
                        custom: false,
                        collection: Arc::default(),
                    })
                },
            )
            .collect();
        Self { resources }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        // A few dozen rows: comparing lengths first makes a scan as quick as a map of strings.
        self.resources
            .iter()
            .find(|r| {
                r.plural.as_str() == plural
                    && r.version.as_str() == version
                    && r.group.as_str() == group
            })
            .cloned()
    }

    pub(crate) fn resources(&self) -> &[Arc<Resource>] {
        &self.resources
    }

    /// Adds (or replaces) the served versions of a CustomResourceDefinition.
    pub(crate) fn with_custom(&self, definition: &Value) -> Self {
        let spec = &definition["spec"];
        let names = &spec["names"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let texts = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().map(text).collect()
        };
        let group = text(&spec["group"]);
        let plural = text(&names["plural"]);
        let kind = text(&names["kind"]);
        let collection = self
            .resources
            .iter()
            .find(|r| r.is(&group, &plural))
            .map(|r| Arc::clone(&r.collection))
            .unwrap_or_default();
        let mut next = self.without_custom(&group, &plural);
        for version in spec["versions"].as_array().into_iter().flatten() {
            if version["served"] == Value::Bool(false) {
                continue;
            }
            let subresources = version["subresources"]
                .as_object()
                .map(|map| map.keys().cloned().collect())
                .unwrap_or_default();
            next.resources.push(Arc::new(Resource {
                group: group.clone(),
                version: text(&version["name"]),
                plural: plural.clone(),
                singular: names["singular"]
                    .as_str()
                    .map_or_else(|| kind.to_lowercase(), str::to_owned),
                kind: kind.clone(),
                list_kind: names["listKind"]
                    .as_str()
                    .map_or_else(|| format!("{kind}List"), str::to_owned),
                namespaced: spec["scope"] == "Namespaced",
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                subresources,
                custom: true,
                collection: Arc::clone(&collection),
            }));
        }
        next
    }

    /// Removes a custom resource.
    pub(crate) fn without_custom(&self, group: &str, plural: &str) -> Self {
        Self {
            resources: self
                .resources
                .iter()
                .filter(|r| !(r.custom && r.is(group, plural)))
                .cloned()
                .collect(),
        }
    }
}
