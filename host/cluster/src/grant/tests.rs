use super::*;

/// `VERB RESOURCE[/SUB][.GROUP][@NAMESPACE][#NAME]`, unchecked.
fn request(text: &str) -> Request<'_> {
    let (verb, rest) = text.split_once(' ').unwrap();
    let (rest, name) = rest
        .split_once('#')
        .map_or((rest, None), |(rest, name)| (rest, Some(name)));
    let (rest, namespace) = rest
        .split_once('@')
        .map_or((rest, None), |(rest, namespace)| (rest, Some(namespace)));
    let (path, group) = rest.split_once('.').unwrap_or((rest, ""));
    let (resource, subresource) = path.split_once('/').unwrap_or((path, ""));
    let verb = Verb::ALL
        .into_iter()
        .find(|known| known.as_str() == verb)
        .unwrap();
    Request {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
    }
}

fn policy(grants: &str, namespaces: &str) -> Policy {
    Policy {
        grants: grants
            .split_whitespace()
            .map(|text| text.parse().unwrap())
            .collect(),
        namespaces: namespaces.split_whitespace().map(str::to_owned).collect(),
    }
}

#[test]
fn what_is_allowed() {
    for (grants, own, asked) in [
        // By default, inside.
        ("", "mine", "create pods@mine"),
        ("", "mine", "list pods@mine"),
        ("", "mine", "watch virtualmachineinstances.kubevirt.io@mine"),
        ("", "mine", "deletecollection deployments.apps@mine"),
        ("", "mine", "patch pods/status@mine"),
        ("", "mine", "update deployments/scale.apps@mine"),
        ("", "mine", "get pods/log@mine"),
        ("", "mine", "create pods/eviction@mine"),
        ("", "mine", "create secrets@mine"),
        ("", "mine", "delete secrets@mine"),
        ("", "mine", "create serviceaccounts@mine"),
        ("", "a b", "get pods@b"),
        // Namespaces.
        ("", "", "create namespaces#new"),
        ("", "mine", "delete namespaces#mine"),
        ("", "mine", "get namespaces#mine"),
        // By grant.
        ("list,watch:nodes", "", "list nodes"),
        ("list,watch:nodes", "", "watch nodes"),
        (
            "*:pods@kube-system",
            "",
            "deletecollection pods@kube-system",
        ),
        ("get:pods", "", "get pods@anywhere"),
        ("list:pods", "", "list pods"),
        ("list:secrets@mine", "mine", "list secrets@mine"),
        ("get:*", "", "get nodes"),
        ("get:*", "", "get pods@x"),
        ("get:*.apps", "", "get deployments.apps@x"),
        ("get:*.*", "", "get deployments.apps@x"),
        ("get:*.*", "", "get nodes"),
        ("get:pods.*", "", "get pods.metrics.k8s.io@x"),
        ("create:pods/exec", "", "create pods/exec@x"),
        ("create:pods/exec@mine", "mine", "create pods/exec@mine"),
        ("get:pods/*", "", "get pods/log@x"),
        ("*:*/*.*", "", "create pods/exec@x"),
        (
            "create,delete:customresourcedefinitions.apiextensions.k8s.io",
            "",
            "delete customresourcedefinitions.apiextensions.k8s.io#x",
        ),
        (
            "update:virtualmachines/start.subresources.kubevirt.io",
            "",
            "update virtualmachines/start.subresources.kubevirt.io@x",
        ),
        ("get:namespaces@default", "", "get namespaces#default"),
        ("list:namespaces", "", "list namespaces"),
        (
            "get:roles.rbac.authorization.k8s.io",
            "mine",
            "get roles.rbac.authorization.k8s.io@mine",
        ),
        // The last of several.
        ("get:nodes get:pods@a list:pods@b", "", "list pods@b"),
    ] {
        let policy = policy(grants, own);
        assert_eq!(
            decide(&policy, &request(asked)),
            Ok(()),
            "{grants} | {asked}"
        );
    }
}

#[test]
fn what_is_refused() {
    for (grants, own, asked, missing) in [
        // Outside.
        ("", "", "get pods@default", "get:pods@default"),
        ("", "mine", "list pods@other", "list:pods@other"),
        ("", "mine", "list nodes", "list:nodes"),
        (
            "",
            "mine",
            "create clusterroles.rbac.authorization.k8s.io",
            "create:clusterroles.rbac.authorization.k8s.io",
        ),
        (
            "",
            "mine",
            "create persistentvolumes",
            "create:persistentvolumes",
        ),
        // All namespaces at once, although one is ours.
        ("", "mine", "list pods", "list:pods"),
        ("", "mine", "watch pods@", "watch:pods"),
        ("", "mine", "deletecollection pods", "deletecollection:pods"),
        ("list:pods@mine", "mine", "list pods", "list:pods"),
        // Secrets, credentials, RBAC, ways out.
        ("", "mine", "get secrets@mine", "get:secrets@mine"),
        ("", "mine", "list secrets@mine", "list:secrets@mine"),
        ("", "mine", "watch secrets@mine", "watch:secrets@mine"),
        ("", "mine", "patch secrets@mine", "patch:secrets@mine"),
        ("", "mine", "update secrets@mine", "update:secrets@mine"),
        (
            "",
            "mine",
            "create serviceaccounts/token@mine",
            "create:serviceaccounts/token@mine",
        ),
        (
            "",
            "mine",
            "create rolebindings.rbac.authorization.k8s.io@mine",
            "create:rolebindings.rbac.authorization.k8s.io@mine",
        ),
        (
            "",
            "mine",
            "get roles.rbac.authorization.k8s.io@mine",
            "get:roles.rbac.authorization.k8s.io@mine",
        ),
        ("", "mine", "create pods/exec@mine", "create:pods/exec@mine"),
        ("", "mine", "get pods/exec@mine", "get:pods/exec@mine"),
        (
            "",
            "mine",
            "create pods/attach@mine",
            "create:pods/attach@mine",
        ),
        (
            "",
            "mine",
            "create pods/portforward@mine",
            "create:pods/portforward@mine",
        ),
        ("", "mine", "get pods/proxy@mine", "get:pods/proxy@mine"),
        (
            "",
            "mine",
            "get services/proxy@mine",
            "get:services/proxy@mine",
        ),
        ("", "mine", "get nodes/proxy#n", "get:nodes/proxy"),
        (
            "",
            "mine",
            "get virtualmachineinstances/vnc.subresources.kubevirt.io@mine",
            "get:virtualmachineinstances/vnc.subresources.kubevirt.io@mine",
        ),
        // Namespaces.
        (
            "",
            "mine",
            "delete namespaces#default",
            "delete:namespaces@default",
        ),
        ("", "mine", "list namespaces", "list:namespaces"),
        ("", "mine", "patch namespaces#mine", "patch:namespaces@mine"),
        (
            "",
            "mine",
            "deletecollection namespaces",
            "deletecollection:namespaces",
        ),
        (
            "",
            "mine",
            "update namespaces/finalize#mine",
            "update:namespaces/finalize@mine",
        ),
        // A namespace is not a way to make Namespace objects look namespaced.
        (
            "",
            "mine",
            "delete namespaces@mine#default",
            "delete:namespaces@default",
        ),
        // Grants that nearly fit.
        ("get:pods", "", "list pods@x", "list:pods@x"),
        (
            "*:pods@kube-system",
            "",
            "get pods@default",
            "get:pods@default",
        ),
        ("*:pods@kube-system", "", "list pods", "list:pods"),
        ("*:pods", "", "create pods/exec@x", "create:pods/exec@x"),
        ("*:*", "", "create pods/exec@x", "create:pods/exec@x"),
        (
            "*:*",
            "",
            "get deployments.apps@x",
            "get:deployments.apps@x",
        ),
        ("*:*.*", "", "create pods/exec@x", "create:pods/exec@x"),
        ("*:pods/*", "", "get pods@x", "get:pods@x"),
        ("*:pods/log", "", "create pods/exec@x", "create:pods/exec@x"),
        (
            "get:deployments",
            "",
            "get deployments.apps@x",
            "get:deployments.apps@x",
        ),
        ("get:pods.apps", "", "get pods@x", "get:pods@x"),
        (
            "delete:pods",
            "",
            "deletecollection pods@x",
            "deletecollection:pods@x",
        ),
        (
            "update:virtualmachines/start.subresources.kubevirt.io",
            "",
            "update virtualmachines.kubevirt.io@x",
            "update:virtualmachines.kubevirt.io@x",
        ),
    ] {
        let denied = decide(&policy(grants, own), &request(asked)).expect_err(asked);
        let named = denied.missing.as_ref().map(ToString::to_string);
        assert_eq!(named.as_deref(), Some(missing), "{grants} | {asked}");
        let text = denied.to_string();
        assert!(text.contains(&format!("--grant '{missing}'")), "{text}");
        // What is missing would have been enough.
        let mut policy = policy(grants, own);
        policy.grants.push(missing.parse().unwrap());
        assert_eq!(decide(&policy, &request(asked)), Ok(()), "{missing}");
    }
}

#[test]
fn malformed_requests_are_refused_whatever_is_granted() {
    let policy = policy("*:*.* *:*/*.*", "mine");
    for asked in [
        "get Secrets@mine",
        "get pods/Exec@mine",
        "get pods@a/b",
        "get pods@mine/../kube-system",
        "get pods@..",
        "get pods@Mine",
        "get roles.RBAC.authorization.k8s.io@mine",
        "get @mine",
        "get pods/a/b@mine",
        "get pods.@mine#x",
        "get *@mine",
        "get pods%2fexec@mine",
    ] {
        let result = decide(&policy, &request(asked));
        if asked == "get pods.@mine#x" {
            // An empty group is the core group.
            assert_eq!(result, Ok(()));
            continue;
        }
        let denied = result.expect_err(asked);
        assert_eq!(denied.missing, None, "{asked}");
        assert!(denied.to_string().contains("no grant allows it"));
    }
}

#[test]
fn a_subresource_in_the_resource_is_one() {
    let asked = Request {
        resource: "pods/exec",
        subresource: "",
        ..request("create pods@mine")
    };
    assert!(decide(&policy("", "mine"), &asked).is_err());
    assert!(decide(&policy("create:pods", "mine"), &asked).is_err());
    assert!(decide(&policy("create:pods/exec", "mine"), &asked).is_ok());
}

#[test]
fn grants_are_read_and_written() {
    for text in [
        "list,watch:nodes",
        "*:pods@kube-system",
        "create,delete:customresourcedefinitions.apiextensions.k8s.io",
        "update:virtualmachines/start.subresources.kubevirt.io@x",
        "*:*/*.*",
    ] {
        let grant: Grant = text.parse().unwrap();
        assert_eq!(grant.to_string(), text);
    }
    for (text, part) in [
        ("", "no ':'"),
        ("pods", "no ':'"),
        (":pods", "\"\" is no verb"),
        ("get,:pods", "\"\" is no verb"),
        ("read:pods", "deletecollection"),
        ("GET:pods", "\"GET\" is no verb"),
        ("*,get:pods", "\"*\" is no verb"),
        ("get:", "no resource"),
        ("get:Pods", "lower-case"),
        ("get:pods@", "follows '@'"),
        ("get:pods@a/b", "cannot be a namespace"),
        ("get:pods@*", "cannot be a namespace"),
        ("get:pods.", "follows '.'"),
        ("get:pods/", "follows '/'"),
        ("get:pods/a/b", "\"a/b\""),
        ("get:pods.a..b", "\"\" is no name"),
        ("get:po*s", "\"po*s\""),
        ("get: pods", "\" pods\""),
    ] {
        let error = text.parse::<Grant>().expect_err(text).to_string();
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.contains("VERBS:RESOURCE"), "{error}");
    }
}

#[test]
fn a_rule_of_rbac_is_no_more_than_the_grant() {
    let rule = |text: &str| text.parse::<Grant>().unwrap().rule();
    assert_eq!(
        rule("list,watch:deployments.apps@a"),
        Some(serde_json::json!({
            "apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list", "watch"],
        }))
    );
    assert_eq!(
        rule("get:pods/log").unwrap()["resources"],
        serde_json::json!(["pods/log"])
    );
    let every = rule("*:pods").unwrap();
    assert_eq!(every["verbs"].as_array().unwrap().len(), Verb::ALL.len());
    assert!(!every["verbs"].to_string().contains('*'));
    assert_eq!(rule("get:*"), None);
    // RBAC knows `*/log`, but no `pods/*`.
    assert_eq!(rule("get:pods/*"), None);
    let named = "get:pods@a".parse::<Grant>().unwrap();
    let named = named.of_objects(["p".to_owned()]);
    assert_eq!(
        named.rule().unwrap()["resourceNames"],
        serde_json::json!(["p"])
    );
}

#[test]
fn who_has_grants_alone_has_no_namespace_and_makes_none() {
    let asked = Request {
        verb: Verb::Create,
        group: "",
        resource: "namespaces",
        subresource: "",
        namespace: None,
        name: Some("mine"),
    };
    assert!(decide(&Policy::default(), &asked).is_ok());
    assert!(decide_by_grants(&[], &asked).is_err());
    let grants = ["create:namespaces".parse::<Grant>().unwrap()];
    assert!(decide_by_grants(&grants, &asked).is_ok());
    // A grant for some objects is none for the others.
    let grants = [grants[0].clone().of_objects(["other".to_owned()])];
    assert!(decide_by_grants(&grants, &asked).is_err());
}
