//! Ctrl-C and SIGTERM: first ask to stop, then give up what is in flight, then end.

use kperf_load::Stop;

use crate::exit::Exit;

/// Listens on a thread of its own until the process ends.
pub fn install(stop: &Stop) {
    let stop = stop.clone();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            wait().await;
            eprintln!(
                "stopping: waiting for what is in flight; once more to give it up, results are kept"
            );
            stop.stop();
            wait().await;
            eprintln!("giving up what is in flight; once more to end without results");
            stop.abort();
            wait().await;
            std::process::exit(i32::from(Exit::Interrupted as u8));
        });
    };
    // Without the thread a signal ends the process at once, as it does by default.
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(listen)
        .ok();
}

/// Returns at the next Ctrl-C or SIGTERM.
pub async fn wait() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
