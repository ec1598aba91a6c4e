//! The objects of a group, as manifests. Nothing here talks to anybody.
//!
//! | object | why |
//! | --- | --- |
//! | ConfigMap of the group | plan and profile; the first one made, so that it also takes the name |
//! | ConfigMaps of components | those that do not come with the program, compressed, in parts |
//! | ConfigMap of the start, and one for each runner | made here, so that no runner needs to create anything |
//! | ServiceAccount | of this group alone, unless the user brings one |
//! | Role and RoleBinding | get and patch those ConfigMaps, by name, and get the Job |
//! | further Roles or a ClusterRole, with bindings | what the requests of the load need, and nothing else |
//! | FlowSchema | the priority of the group's requests |
//! | Job, Indexed | a runner that fails does not stop the others, and is not started again |

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    bundle::{PLAN_FILE, PROFILE_FILE},
    group::GroupSpec,
    plan::Reach,
};

/// The namespace of kperf's runner groups.
pub const NAMESPACE: &str = "runnergroups-kperf-io";
/// Label of everything of a group; its value is the group's name.
pub const GROUP_LABEL: &str = "kperf-host.io/runner-group";
/// Label of a namespace that was made for runner groups, and goes with the last of them.
pub(crate) const NAMESPACE_LABEL: &str = "kperf-host.io/runner-groups";
/// Label that tells the ConfigMaps of a group apart.
pub(crate) const PART_LABEL: &str = "kperf-host.io/part";
/// Label of the first ConfigMap of each runner: what it said last.
pub(crate) const RUNNER_STATE_LABEL: &str = "kperf-host.io/runner-state";
/// Of the group's ConfigMap.
pub(crate) const PLAN_PART: &str = "plan";

/// Where pods find what they are given.
pub const GROUP_FOLDER: &str = "/etc/kperf-host/group";
const WORK_FOLDER: &str = "/var/lib/kperf-host";
const RBAC: &str = "rbac.authorization.k8s.io";
/// The `nonroot` user of distroless images; any will do but root.
const USER: u32 = 65532;
/// Longer than a runner needs to write down what it has.
const GRACE_SECONDS: u32 = 30;

// No name of a group or namespace has a dot, so that none of these can be meant by another group's.

/// The ConfigMap in which a runner leaves word, and the first part of its report.
pub(crate) fn mailbox(group: &str, runner: u32) -> String {
    format!("{group}.runner-{runner}")
}

/// Whose [`mailbox`] that is; none if it is something else.
pub(crate) fn runner_of_mailbox(group: &str, name: &str) -> Option<u32> {
    let rest = name.strip_prefix(group)?;
    rest.strip_prefix(".runner-")?.parse().ok()
}

/// The ConfigMap of one part of a runner's report.
pub(crate) fn mailbox_part(group: &str, runner: u32, part: usize) -> String {
    match part {
        0 => mailbox(group, runner),
        part => format!("{}.{part}", mailbox(group, runner)),
    }
}

/// The ConfigMap of the start.
pub(crate) fn start_object(group: &str) -> String {
    format!("{group}.start")
}

/// Names of what has no namespace, or is in another one.
fn elsewhere(spec: &GroupSpec) -> String {
    format!("kperf-runners.{}.{}", spec.namespace, spec.name)
}

/// Everything of a group, in the order in which it is created; the namespace is not the group's.
#[must_use]
pub fn objects(spec: &GroupSpec) -> Vec<Value> {
    let mut objects = vec![plan(spec)];
    objects.extend(components(spec));
    objects.push(config_map(spec, &start_object(&spec.name), "start"));
    objects.extend(mailboxes(spec));
    if spec.service_account.is_none() {
        objects.push(object(spec, "v1", "ServiceAccount", &spec.name));
    }
    objects.extend(own_role(spec));
    objects.extend(load_roles(spec));
    objects.push(flow_schema(spec));
    objects.push(job(spec));
    objects
}

/// The namespace of groups, when there is none yet.
pub(crate) fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {
            "app.kubernetes.io/name": "kperf-host",
            NAMESPACE_LABEL: "true",
            "pod-security.kubernetes.io/enforce": "restricted",
        }},
    })
}

/// An object in the group's namespace.
fn object(spec: &GroupSpec, api_version: &str, kind: &str, name: &str) -> Value {
    let mut object = unowned(spec, api_version, kind, name);
    object["metadata"]["namespace"] = json!(spec.namespace);
    if let Some(owner) = &spec.owner {
        object["metadata"]["ownerReferences"] = json!([owner.reference()]);
    }
    object
}

/// An object elsewhere: owners are of the same namespace.
fn unowned(spec: &GroupSpec, api_version: &str, kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels(spec)},
    })
}

fn labels(spec: &GroupSpec) -> Value {
    json!({
        "app.kubernetes.io/name": "kperf-host",
        kperf_cluster::RUN_LABEL: spec.run.as_str(),
        GROUP_LABEL: spec.name,
    })
}

fn config_map(spec: &GroupSpec, name: &str, part: &str) -> Value {
    let mut object = object(spec, "v1", "ConfigMap", name);
    object["metadata"]["labels"][PART_LABEL] = json!(part);
    object
}

fn plan(spec: &GroupSpec) -> Value {
    let mut object = config_map(spec, &spec.name, PLAN_PART);
    let mut plan = spec.bundle.plan.clone();
    plan.reach = Reach::of(&spec.grants);
    object["immutable"] = json!(true);
    object["data"] = json!({
        PLAN_FILE: plan.text(),
        PROFILE_FILE: spec.bundle.profile,
    });
    object
}

fn component_name(spec: &GroupSpec, number: usize) -> String {
    format!("{}.component-{number}", spec.name)
}

fn components(spec: &GroupSpec) -> impl Iterator<Item = Value> {
    spec.bundle
        .parts
        .iter()
        .enumerate()
        .map(|(number, (file, bytes))| {
            let mut object = config_map(spec, &component_name(spec, number), "component");
            object["immutable"] = json!(true);
            object["binaryData"] = json!({file: STANDARD.encode(bytes)});
            object
        })
}

fn runners(spec: &GroupSpec) -> impl Iterator<Item = (u32, usize)> {
    let parts = spec.bundle.plan.report_parts.max(1) as usize;
    (0..spec.bundle.plan.count).flat_map(move |runner| (0..parts).map(move |part| (runner, part)))
}

fn mailboxes(spec: &GroupSpec) -> impl Iterator<Item = Value> {
    runners(spec).map(|(runner, part)| {
        let name = mailbox_part(&spec.name, runner, part);
        let mut object = config_map(spec, &name, "report");
        if part == 0 {
            object["metadata"]["labels"][RUNNER_STATE_LABEL] = json!("waiting");
        }
        object
    })
}

/// Names cannot be given for `create` and `list`, so runners have neither.
fn own_role(spec: &GroupSpec) -> [Value; 2] {
    let config_maps: Vec<String> = std::iter::once(start_object(&spec.name))
        .chain(runners(spec).map(|(runner, part)| mailbox_part(&spec.name, runner, part)))
        .collect();
    let rules = json!([
        {
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": config_maps,
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": ["batch"], "resources": ["jobs"], "resourceNames": [spec.name],
            "verbs": ["get"],
        },
    ]);
    let mut role = object(spec, &format!("{RBAC}/v1"), "Role", &spec.name);
    role["rules"] = rules;
    let mut binding = object(spec, &format!("{RBAC}/v1"), "RoleBinding", &spec.name);
    bind(&mut binding, spec, "Role", &spec.name);
    [role, binding]
}

fn bind(binding: &mut Value, spec: &GroupSpec, kind: &str, role: &str) {
    binding["roleRef"] = json!({"apiGroup": RBAC, "kind": kind, "name": role});
    binding["subjects"] = json!([
        {"kind": "ServiceAccount", "name": spec.account(), "namespace": spec.namespace},
    ]);
}

/// What the load needs: a Role where it stays in a namespace, a ClusterRole where it does not.
fn load_roles(spec: &GroupSpec) -> Vec<Value> {
    let mut by_place: BTreeMap<Option<&str>, Vec<Value>> = BTreeMap::new();
    for grant in &spec.grants {
        let rules = by_place.entry(grant.namespace()).or_default();
        rules.extend(grant.rule());
    }
    let name = elsewhere(spec);
    by_place
        .into_iter()
        .flat_map(|(place, rules)| {
            let (role_kind, binding_kind) = match place {
                Some(_) => ("Role", "RoleBinding"),
                None => ("ClusterRole", "ClusterRoleBinding"),
            };
            let mut role = unowned(spec, &format!("{RBAC}/v1"), role_kind, &name);
            role["rules"] = json!(rules);
            let mut binding = unowned(spec, &format!("{RBAC}/v1"), binding_kind, &name);
            bind(&mut binding, spec, role_kind, &name);
            if let Some(namespace) = place {
                role["metadata"]["namespace"] = json!(namespace);
                binding["metadata"]["namespace"] = json!(namespace);
            }
            [role, binding]
        })
        .collect()
}

fn flow_schema(spec: &GroupSpec) -> Value {
    let mut object = unowned(
        spec,
        "flowcontrol.apiserver.k8s.io/v1",
        "FlowSchema",
        &elsewhere(spec),
    );
    object["spec"] = json!({
        "priorityLevelConfiguration": {"name": spec.flow.priority_level},
        "matchingPrecedence": spec.flow.precedence,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{
            "subjects": [{
                "kind": "ServiceAccount",
                "serviceAccount": {"name": spec.account(), "namespace": spec.namespace},
            }],
            "resourceRules": [{
                "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"],
                "namespaces": ["*"], "clusterScope": true,
            }],
        }],
    });
    object
}

fn job(spec: &GroupSpec) -> Value {
    let count = spec.bundle.plan.count;
    let mut job = object(spec, "batch/v1", "Job", &spec.name);
    let mut pod_labels = labels(spec);
    for (key, value) in &spec.labels {
        job["metadata"]["labels"][key] = json!(value);
        pod_labels[key] = json!(value);
    }
    // Ours decide about clean-up.
    for (key, value) in labels(spec).as_object().into_iter().flatten() {
        job["metadata"]["labels"][key] = value.clone();
        pod_labels[key] = value.clone();
    }
    job["spec"] = json!({
        "completions": count,
        "parallelism": count,
        "completionMode": "Indexed",
        // A second try of one runner would be alone with its load.
        "backoffLimitPerIndex": 0,
        "podReplacementPolicy": "Failed",
        "template": {
            "metadata": {"labels": pod_labels},
            "spec": pod(spec),
        },
    });
    job
}

fn pod(spec: &GroupSpec) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut container = json!({
        "name": "runner",
        "image": spec.image,
        "command": ["kperf-host", "runner", "pod"],
        "args": [
            "--from", GROUP_FOLDER,
            "--work", WORK_FOLDER,
            "--store", format!("kube:{}/{}", spec.namespace, spec.name),
            "--name", "$(POD_NAME)",
            "--node", "$(NODE_NAME)",
            format!("-v={}", spec.verbosity),
        ],
        "env": [
            field("POD_NAME", "metadata.name"),
            field("NODE_NAME", "spec.nodeName"),
            {"name": "TMPDIR", "value": WORK_FOLDER},
            {"name": "KPERF_CACHE_DIR", "value": format!("{WORK_FOLDER}/cache")},
        ],
        // What it said last, if it fails, is then in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "group", "mountPath": GROUP_FOLDER, "readOnly": true},
            {"name": "work", "mountPath": WORK_FOLDER},
        ],
    });
    if !spec.image_pull_policy.is_empty() {
        container["imagePullPolicy"] = json!(spec.image_pull_policy);
    }
    if !spec.resources.is_null() {
        container["resources"] = spec.resources.clone();
    }
    let sources: Vec<Value> = std::iter::once(spec.name.clone())
        .chain((0..spec.bundle.parts.len()).map(|number| component_name(spec, number)))
        .map(|name| json!({"configMap": {"name": name}}))
        .collect();
    let mut pod = json!({
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "enableServiceLinks": false,
        "serviceAccountName": spec.account(),
        "automountServiceAccountToken": true,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {kperf_cluster::RUN_LABEL: spec.run.as_str()}},
        }],
        "containers": [container],
        "volumes": [
            {"name": "group", "projected": {"sources": sources}},
            {"name": "work", "emptyDir": {}},
        ],
    });
    if !spec.affinity.is_empty() {
        let expressions: Vec<Value> = spec
            .affinity
            .iter()
            .map(|(key, values)| json!({"key": key, "operator": "In", "values": values}))
            .collect();
        pod["affinity"] = json!({"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": expressions}],
            },
        }});
    }
    if !spec.tolerations.is_empty() {
        pod["tolerations"] = json!(spec.tolerations);
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bundle::{Bundle, Component},
        group::FlowControl,
        plan::Plan,
    };

    fn spec() -> GroupSpec {
        let mut plan = Plan::new("lists", "r1", 3, 7);
        plan.report_parts = 2;
        let component = Component {
            file: "a.wasm".to_owned(),
            bytes: vec![7; 1000],
        };
        GroupSpec {
            name: "lists".to_owned(),
            namespace: "load".to_owned(),
            run: "r1".parse().unwrap(),
            image: "image:1".to_owned(),
            image_pull_policy: String::new(),
            bundle: Bundle::pack(plan, "version: 1\n".to_owned(), &[component]).unwrap(),
            grants: ["list:nodes", "get:configmaps@a", "list:pods@a"]
                .map(|text| text.parse().unwrap())
                .into(),
            service_account: None,
            owner: None,
            affinity: vec![("pool".to_owned(), vec!["x".to_owned(), "y".to_owned()])],
            tolerations: vec![json!({"operator": "Exists"})],
            resources: json!({"requests": {"cpu": 1}}),
            labels: BTreeMap::from([(GROUP_LABEL.to_owned(), "another".to_owned())]),
            flow: FlowControl::default(),
            verbosity: 2,
        }
    }

    fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
        objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .collect()
    }

    #[test]
    fn everything_is_found_by_its_labels() {
        let objects = objects(&spec());
        // The plan, a component, the start, two for each runner.
        assert_eq!(of_kind(&objects, "ConfigMap").len(), 9);
        for object in &objects {
            let labels = &object["metadata"]["labels"];
            assert_eq!(labels[kperf_cluster::RUN_LABEL], "r1", "{object:#}");
            // Nobody's labels take it away.
            assert_eq!(labels[GROUP_LABEL], "lists", "{object:#}");
        }
        let job = objects.last().unwrap();
        assert_eq!(job["kind"], "Job");
        let template = &job["spec"]["template"];
        assert_eq!(template["metadata"]["labels"][GROUP_LABEL], "lists");
        assert_eq!(job["spec"]["completions"], 3);
        assert_eq!(job["spec"]["backoffLimitPerIndex"], 0);
        let sources = &template["spec"]["volumes"][0]["projected"]["sources"];
        assert_eq!(sources.as_array().unwrap().len(), 2);
        assert_eq!(sources[1]["configMap"]["name"], "lists.component-0");
        let affinity = &template["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let expression = &affinity["nodeSelectorTerms"][0]["matchExpressions"][0];
        assert_eq!(expression["values"], json!(["x", "y"]));
    }

    #[test]
    fn no_group_can_take_anothers_name() {
        let named = |namespace: &str, name: &str| {
            let mut spec = spec();
            (spec.namespace, spec.name) = (namespace.to_owned(), name.to_owned());
            spec.check().unwrap();
            let names = objects(&spec).into_iter().map(|object| {
                let at = |key: &str| object["metadata"][key].to_string();
                format!("{} {} {}", object["kind"], at("namespace"), at("name"))
            });
            names.collect::<std::collections::BTreeSet<String>>()
        };
        for (one, other) in [
            (("a", "b-c"), ("a-b", "c")),
            (("a", "b"), ("a", "b-runner-1")),
            (("a", "b"), ("a", "b-start")),
            (("a", "b"), ("a", "b-component-0")),
            (("a", "b-runner-1"), ("a", "b-runner-1-1")),
        ] {
            let (one, other) = (named(one.0, one.1), named(other.0, other.1));
            assert_eq!(one.intersection(&other).next(), None);
        }
    }

    #[test]
    fn the_plan_says_where_the_load_has_rights() {
        let text = objects(&spec())[0]["data"][PLAN_FILE].clone();
        let plan: Plan = serde_json::from_str(text.as_str().unwrap()).unwrap();
        assert!(plan.reach.everywhere);
        assert_eq!(plan.reach.namespaces, ["a".to_owned()].into());
    }

    #[test]
    fn rights_are_by_name_and_by_place() {
        let objects = objects(&spec());
        let roles = of_kind(&objects, "Role");
        let own = roles[0];
        assert_eq!(own["metadata"]["namespace"], "load");
        let names = own["rules"][0]["resourceNames"].as_array().unwrap();
        assert_eq!(names.len(), 7);
        assert!(names.contains(&json!("lists.runner-2.1")));
        assert!(!names.contains(&json!("lists")));
        assert_eq!(own["rules"][0]["verbs"], json!(["get", "patch"]));
        assert_eq!(roles[1]["metadata"]["namespace"], "a");
        assert_eq!(roles[1]["rules"].as_array().unwrap().len(), 2);
        let everywhere = of_kind(&objects, "ClusterRole");
        assert_eq!(everywhere.len(), 1);
        assert_eq!(
            everywhere[0]["rules"],
            json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}])
        );
        for binding in of_kind(&objects, "RoleBinding") {
            let subject = &binding["subjects"][0];
            assert_eq!(
                (&subject["name"], &subject["namespace"]),
                (&json!("lists"), &json!("load"))
            );
        }
        for object in &objects {
            assert!(!object["rules"].to_string().contains("secrets"), "{object}");
        }
    }

    #[test]
    fn an_account_of_the_user_is_not_made() {
        let mut spec = spec();
        spec.service_account = Some("mine".to_owned());
        spec.owner = Some("v1:Pod:p:u".parse().unwrap());
        let objects = objects(&spec);
        assert!(of_kind(&objects, "ServiceAccount").is_empty());
        let schema = of_kind(&objects, "FlowSchema")[0];
        let subject = &schema["spec"]["rules"][0]["subjects"][0]["serviceAccount"];
        assert_eq!(subject["name"], "mine");
        assert!(schema["metadata"]["ownerReferences"].is_null());
        let job = objects.last().unwrap();
        assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], "u");
    }
}
