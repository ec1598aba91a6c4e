//! The manifests of `examples/in-cluster`: they apply, their pods are admitted, and the rights they give to the service
//! account of a Job are enough for what its container does.

use std::{path::Path, process::Command, time::Duration};

use kperf_tests::{Kperf, Ran, finish, have, kperf, repository};
use serde_json::Value;

use crate::{Plane, plane};

const NAMESPACE: &str = "kperf-host";

fn kubectl(plane: &mut Plane, arguments: &[&str]) -> Ran {
    let mut command = Command::new("kubectl");
    command
        .arg("--kubeconfig")
        .arg(plane.kubeconfig())
        .args(arguments);
    finish(command, Duration::from_secs(60))
}

fn object(plane: &mut Plane, path: &str) -> Value {
    let client = plane.get().client().unwrap();
    client.get(path).unwrap().success().unwrap().json()
}

/// The container of a Job with its arguments, run as its service account on this machine: there is no kubelet.
fn as_job(kperf: &Kperf, plane: &mut Plane, job: &str) -> Ran {
    let path = format!("/apis/batch/v1/namespaces/{NAMESPACE}/jobs/{job}");
    let pod = &object(plane, &path)["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["command"], serde_json::json!(["kperf-host"]));
    let mut arguments: Vec<String> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap().to_owned())
        .collect();
    for volume in pod["volumes"].as_array().unwrap() {
        let Some(name) = volume["configMap"]["name"].as_str() else {
            continue;
        };
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
        let data = object(plane, &path)["data"].clone();
        let mount = container["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .find(|mount| mount["name"] == volume["name"])
            .and_then(|mount| mount["mountPath"].as_str())
            .unwrap()
            .to_owned();
        for (file, text) in data.as_object().unwrap() {
            // A minute is for people.
            let text = text
                .as_str()
                .unwrap()
                .replace("duration: 60", "duration: 2");
            let here = kperf.write(file, &text);
            for argument in &mut arguments {
                *argument = argument.replace(&format!("{mount}/{file}"), here.to_str().unwrap());
            }
        }
    }
    let account = pod["serviceAccountName"].as_str().unwrap();
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let kubeconfig = plane.get().kubeconfig_for_user(&user, &[]).unwrap();
    let mut command = kperf.command(&[]);
    command.args(&arguments).env("KUBECONFIG", kubeconfig);
    finish(command, Duration::from_secs(120))
}

fn apply(plane: &mut Plane, folder: &Path) {
    let folder = folder.to_str().unwrap();
    kubectl(plane, &["apply", "-k", folder]).expect(0);
}

#[test]
fn manifests_for_running_inside_a_cluster() {
    if !have("kubectl", "manifests for running inside a cluster") {
        return;
    }
    let Some(mut plane) = plane("manifests for running inside a cluster") else {
        return;
    };
    let kperf = kperf!();
    for job in ["load", "benchmark"] {
        let folder = repository().join("examples/in-cluster").join(job);
        apply(&mut plane, &folder);
        let job = format!("kperf-{job}");
        // The namespace is `restricted`: a pod that asks for too much would never be made.
        let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=job-name%3D{job}");
        let is_made = (0..150).any(|_| {
            std::thread::sleep(Duration::from_millis(200));
            let pods = object(&mut plane, &pods);
            pods["items"]
                .as_array()
                .is_some_and(|pods| !pods.is_empty())
        });
        assert!(is_made, "no pod of {job}");

        let ran = as_job(&kperf, &mut plane, &job).expect(0);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(report["verdict"].is_string(), "{report:#}");
        if job == "kperf-load" {
            let overall = &report["overall"];
            assert_eq!(overall["failed"], 0, "{overall:#}");
            assert!(overall["succeeded"].as_u64().unwrap() > 50, "{overall:#}");
        }
        kubectl(&mut plane, &["delete", "-k", folder.to_str().unwrap()]).expect(0);
    }
    plane.assert_nothing_labelled();
}
