//! An exporter that misbehaves the way its configuration says: `{"misbehave": "…"}`.

use std::cell::RefCell;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "kperf:plugin/exporter",
        generate_all,
    });
}

use bindings::{
    exports::kperf::{core::identity, report::exporter},
    kperf::{
        core::vocabulary::{Failure, PluginInfo},
        report::{
            measures::{Interval, Summary},
            sink,
        },
    },
};

struct Hostile;

#[derive(Default)]
struct State {
    misbehave: String,
    sink: String,
    hoard: Vec<sink::Output>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

fn spin() -> ! {
    let mut i = 0_u64;
    loop {
        i = std::hint::black_box(i + 1);
    }
}

impl identity::Guest for Hostile {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "hostile-exporter".into(),
            version: "0.1.0".into(),
            summary: "Misbehaves on request".into(),
            config_schema: r#"{
                "type": "object",
                "properties": {"misbehave": {"type": "string"}},
                "additionalProperties": false
            }"#
            .into(),
        }
    }
}

fn send(name: &str, body: Vec<u8>) -> Result<sink::Receipt, Failure> {
    sink::send(
        name,
        &sink::Delivery {
            method: "PUT".into(),
            path: "/metrics".into(),
            headers: Vec::new(),
            body,
            retry: false,
        },
    )
}

impl exporter::Guest for Hostile {
    fn begin(context: exporter::BeginContext, config: String) -> Result<(), Failure> {
        let misbehave = config.split('"').nth(3).unwrap_or("no").to_owned();
        STATE.with_borrow_mut(|state| {
            state.sink = context.sink;
            state.misbehave = misbehave;
        });
        STATE.with_borrow(|state| match state.misbehave.as_str() {
            "begin-loop" => spin(),
            "undeclared-sink" => sink::open("/etc/passwd", "").map(|_| ()),
            _ => Ok(()),
        })
    }

    fn intervals(batch: Vec<Interval>) -> Result<(), Failure> {
        STATE.with_borrow(|state| match state.misbehave.as_str() {
            "intervals-fail-once" if batch.len() == 1 => Err(Failure {
                code: "once".into(),
                message: "not this one".into(),
                hints: Vec::new(),
            }),
            _ => Ok(()),
        })
    }

    fn finish(whole: Summary) -> Result<(), Failure> {
        STATE.with_borrow_mut(|state| {
            let name = state.sink.clone();
            match state.misbehave.as_str() {
                "trap" => core::arch::wasm32::unreachable(),
                "panic" => panic!("no paper"),
                "loop" => spin(),
                "huge-chunk" => {
                    let output = sink::open(&name, "")?;
                    output.write(&vec![0; (1 << 20) + 1])
                }
                "huge-body" => send(&name, vec![0; (32 << 20) + 1]).map(|_| ()),
                "flood" => send(&name, vec![0; 40 << 20]).map(|_| ()),
                "write-endlessly" => {
                    let output = sink::open(&name, "")?;
                    loop {
                        output.write(&[b'x'; 65536])?;
                    }
                }
                "open-endlessly" => loop {
                    state.hoard.push(sink::open(&name, "")?);
                },
                "write-after-finish" => {
                    let output = sink::open(&name, "")?;
                    output.finish()?;
                    output.write(b"late")
                }
                "wait-endlessly" => send(&name, b"never answered".to_vec()).map(|_| ()),
                "big-receipt" => {
                    let receipt = send(&name, Vec::new())?;
                    Err(Failure {
                        code: "receipt".into(),
                        message: format!("{} bytes, status {}", receipt.body.len(), receipt.status),
                        hints: Vec::new(),
                    })
                }
                _ => {
                    let output = sink::open(&name, "")?;
                    output.write(format!("run {}", whole.run_id).as_bytes())?;
                    output.write(format!(", {} sent\n", whole.overall.sent).as_bytes())?;
                    output.finish()
                }
            }
        })
    }
}

bindings::export!(Hostile with_types_in bindings);
