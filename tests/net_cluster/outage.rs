//! A launcher that does not reach the API server any more, while the cluster goes on.

use std::{
    io,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use kperf_tests::kperf;

use crate::{Launch, ORCHESTRATOR, WORLD, World, eventually};

/// Between a launcher and the API server, until it is cut.
struct Wire {
    port: u16,
    /// None once it is cut.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Wire {
    fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let kept = Arc::clone(&open);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else {
                    continue;
                };
                match &mut *kept.lock().unwrap() {
                    Some(open) => open.extend([&near, &far].map(|end| end.try_clone().unwrap())),
                    None => return,
                }
                let (mut near_in, mut far_out) = (near.try_clone().unwrap(), far);
                let (mut far_in, mut near_out) = (far_out.try_clone().unwrap(), near);
                thread::spawn(move || io::copy(&mut near_in, &mut far_out));
                thread::spawn(move || io::copy(&mut far_in, &mut near_out));
            }
        });
        Self { port, open }
    }

    fn cut(&self) {
        for end in self.open.lock().unwrap().take().into_iter().flatten() {
            end.shutdown(Shutdown::Both).ok();
        }
        // The next one ends the listener.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn wire(world: &World, kubeconfig: &std::path::Path) -> Wire {
    let url = world.plane.url();
    let wire = Wire::new(url.trim_start_matches("https://").to_owned());
    let text = std::fs::read_to_string(&world.kubeconfig).unwrap();
    let here = format!("https://127.0.0.1:{}", wire.port);
    assert!(text.contains(url), "{text}");
    std::fs::write(kubeconfig, text.replace(url, &here)).unwrap();
    wire
}

#[test]
fn results_that_cannot_be_read_are_not_removed() {
    let kperf = kperf!();
    let Some(world) = WORLD.as_ref() else { return };
    let space = "net-outage";
    let kubeconfig = kperf.path("wire.kubeconfig");
    let wire = wire(world, &kubeconfig);
    let mut launch = Launch::iperf3(world, kperf, space);
    for word in &mut launch.words {
        if *word == world.kubeconfig {
            *word = kubeconfig.to_str().unwrap().to_owned();
        }
    }
    let launcher = launch.start();
    world.until_said(space, "[1/6]");
    wire.cut();
    launcher.signal();
    let (_, stderr) = launcher.end(7);
    let namespace = world.get(&format!("/api/v1/namespaces/{space}"));
    let run = namespace["metadata"]["labels"]["kperf-host.io/run"].as_str();
    let run = run.unwrap();
    for part in [
        "nothing is removed",
        space,
        &format!("cleanup --run {run}"),
        "kubectl -n net-outage get configmap kperf-results-$i",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    // Nobody told it to end, and nothing is in the way of its results.
    world.until_said(space, "handed over");
    let path = format!("/api/v1/namespaces/{space}/configmaps/kperf-results");
    eventually("results", || {
        let index = world.get(&path);
        let is_there = index["data"]["state"] == "done" && index["data"]["parts"] == "1";
        is_there.then_some(()).ok_or(index.to_string())
    });
    assert!(!world.log(space, ORCHESTRATOR).contains("stopped"));
    let admin = world.plane.kubeconfig();
    let words = ["cleanup", "--run", run, "--kubeconfig"];
    let mut command = launch.kperf.command(&words);
    command.arg(&admin);
    kperf_tests::finish(command, crate::NOT_HANGING).expect(0);
    world.assert_gone(&launch.kperf, space);
}
