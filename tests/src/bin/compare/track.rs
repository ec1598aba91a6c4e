//! What tracking costs the whole process: 2000 virtual machine instances of the simulator, created, followed through
//! their phases and deleted by `kubevirt_density`.
//!
//! Two figures for the CPU: all of the process's, by events; and the price of one more event, from a second run that
//! creates and deletes as many objects with the same bodies of which nobody makes anything (ConfigMaps). Memory is the
//! growth of the peak from few objects to all of them: with the bodies on their way and the report, which names each.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use kperf_tests::{Kperf, SimServer};
use nix::sys::{
    resource::{Usage, UsageWho, getrusage},
    time::TimeVal,
};
use serde_json::Value;

use crate::measure::{median, peak_kib};

const FEW: u64 = 100;
const BAR_US_PER_EVENT: f64 = 10.0;
const BAR_BYTES_PER_OBJECT: f64 = 1024.0;

/// What a run used.
struct Used {
    cpu: Duration,
    peak_kib: u64,
    events: f64,
}

pub(crate) fn track(kperf: &Path, objects: u64, rounds: usize) -> anyhow::Result<()> {
    let kperf = Kperf::new(kperf.to_str().context("a path that is text")?);
    let sim = kperf.sim(&["--objects", "nodes=100,pods=0,kubevirt=true"]);
    // The first run compiles the plugin.
    run(&kperf, &sim, "VirtualMachineInstance", FEW)?;
    let (mut whole, mut further, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let few = run(&kperf, &sim, "VirtualMachineInstance", FEW)?;
        let all = run(&kperf, &sim, "VirtualMachineInstance", objects)?;
        let idle = run(&kperf, &sim, "ConfigMap", objects)?;
        let us = |used: &Used| used.cpu.as_secs_f64() * 1e6;
        println!(
            "{objects} instances: {:.0} events, {:.2} s CPU, peak {} KiB; {FEW}: peak {} KiB; ConfigMaps: {:.0} events, {:.2} s CPU",
            all.events,
            all.cpu.as_secs_f64(),
            all.peak_kib,
            few.peak_kib,
            idle.events,
            idle.cpu.as_secs_f64()
        );
        whole.push(us(&all) / all.events);
        further.push((us(&all) - us(&idle)) / (all.events - idle.events));
        let grown_bytes = all.peak_kib.saturating_sub(few.peak_kib) * 1024;
        bytes.push(grown_bytes as f64 / objects.saturating_sub(FEW).max(1) as f64);
    }
    let (whole, further, bytes) = (median(whole), median(further), median(bytes));
    println!(
        "medians of {rounds}: {whole:.1} us CPU of the process per event with everything else it does; {further:.1} us per further event ({:.2} of the bar of {BAR_US_PER_EVENT} us); peak + {bytes:.0} bytes per object ({:.2} of the bar of {BAR_BYTES_PER_OBJECT})",
        further / BAR_US_PER_EVENT,
        bytes / BAR_BYTES_PER_OBJECT
    );
    Ok(())
}

fn run(kperf: &Kperf, sim: &SimServer, kind: &str, objects: u64) -> anyhow::Result<Used> {
    let config = kperf.density(|text| {
        text.replace("waitWhenFinished: 30s", "waitWhenFinished: 0")
            .replace("replicas: 100", &format!("replicas: {objects}"))
            .replace("qps: 20", "qps: 0")
    });
    let template = std::fs::read_to_string(kperf.path("templates/vmi-ephemeral.yaml"))?;
    let api_version = if kind == "ConfigMap" {
        "v1"
    } else {
        "kubevirt.io/v1"
    };
    kperf.write(
        "templates/vmi-ephemeral.yaml",
        &template
            .replace("VirtualMachineInstance", kind)
            .replace("kubevirt.io/v1", api_version),
    );
    let config = config.to_str().context("a path that is text")?;
    let mut command = kperf.command(&["run", "--plugin", "kubevirt_density", "--config", config]);
    command
        .args(["--kubeconfig", sim.kubeconfig(), "--output", "json=r.json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let end = Instant::now() + Duration::from_secs(300);
    let mut child = command.spawn()?;
    let mut peak = 0;
    let status = loop {
        peak = peak_kib(child.id()).unwrap_or(peak);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("{objects} objects of kind {kind} took more than five minutes");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    if !status.success() {
        bail!("a run with {objects} objects of kind {kind} ended with {status}");
    }
    let report = kperf.json("r.json");
    let metrics = report["metrics"].as_array().into_iter().flatten();
    let events = metrics
        .filter(|metric| metric["name"] == "watch_events")
        .find_map(|metric: &Value| metric["value"].as_f64())
        .context("no count of events in the report")?;
    Ok(Used {
        cpu: cpu(&after).saturating_sub(cpu(&before)),
        peak_kib: peak,
        events,
    })
}

fn cpu(usage: &Usage) -> Duration {
    let of = |time: TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    of(usage.user_time()) + of(usage.system_time())
}
