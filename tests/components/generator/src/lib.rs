//! A generator that misbehaves the way its configuration says: `{"misbehave": "…"}`.
//!
//! Without a misbehaviour it is a plain generator of 56-byte paths, used to measure what a call costs.

use std::{
    cell::{Cell, RefCell},
    hint::black_box,
};

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package test:hostile;
            world hostile {
                include kperf:plugin/reactive-generator@0.1.0;
                include kperf:plugin/replay-generator@0.1.0;
            }
        ",
        path: "../../../wit",
        world: "test:hostile/hostile",
        generate_all,
    });
}

use bindings::{
    exports::kperf::{
        core::identity,
        workload::{arrivals, feedback, generator},
    },
    kperf::{
        core::{
            logging,
            vocabulary::{Failure, Label, PluginInfo},
        },
        workload::requests::{Batch, OpenContext, Outcomes, Template},
    },
};

struct Hostile;

struct Source {
    misbehave: String,
    seed: Cell<u64>,
    calls: Cell<u32>,
    seen: Cell<u64>,
    hoard: RefCell<Vec<Vec<u8>>>,
}

fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure {
        code: code.into(),
        message: message.into(),
        hints: vec![Label {
            key: "next".into(),
            value: "do something else".into(),
        }],
    }
}

/// Recursion in the machine's stack, not in the guest's own memory.
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return depth;
    }
    recurse(depth + 1).wrapping_mul(3) ^ depth
}

fn spin() -> ! {
    let mut i = 0_u64;
    loop {
        i = black_box(i + 1);
    }
}

impl identity::Guest for Hostile {
    fn describe() -> PluginInfo {
        PluginInfo {
            name: "hostile-generator".into(),
            version: "0.1.0".into(),
            summary: "Misbehaves\u{1b}[31m on\nrequest".into(),
            config_schema: r#"{
                "type": "object",
                "default": {"misbehave": "no"},
                "properties": {"misbehave": {"type": "string"}},
                "required": ["misbehave"],
                "additionalProperties": false
            }"#
            .into(),
        }
    }
}

impl generator::Guest for Hostile {
    type Source = Source;

    fn open(context: OpenContext, config: String) -> Result<generator::Opened, Failure> {
        let misbehave = config
            .split('"')
            .nth(3)
            .unwrap_or("no")
            .to_owned();
        let mut template = Template {
            series: "GET /api/v1/namespaces/:ns/pods/:name".into(),
            method: "GET".into(),
            path: "/api/v1/pods".into(),
            headers: Vec::new(),
            body: Vec::new(),
            kind: String::new(),
            capture: Vec::new(),
            hints: Vec::new(),
        };
        let mut count = 1;
        match misbehave.as_str() {
            "open-loop" => spin(),
            "open-fails" => return Err(failure("invalid-config", "the moon is not full\u{7}")),
            "open-no-templates" => count = 0,
            "open-many-templates" => count = 10_001,
            "open-bad-header" => template.headers.push(Label {
                key: "Authorization".into(),
                value: "Bearer s3cret".into(),
            }),
            "open-log-endlessly" => {
                for i in 0..100_000 {
                    logging::emit(logging::Level::Warn, &format!("noise {i}"), &[]);
                }
            }
            "connect" => {
                let error = std::net::TcpStream::connect("127.0.0.1:9")
                    .map(|_| "connected".to_owned())
                    .unwrap_or_else(|error| format!("{:?}", error.kind()));
                return Err(failure("network", error));
            }
            "read-files" => {
                let error = std::fs::read_dir("/")
                    .map(|_| "read".to_owned())
                    .unwrap_or_else(|error| format!("not readable: {error}"));
                let variables = std::env::vars().count();
                return Err(failure("files", format!("{error}; {variables} variables")));
            }
            "clock" => {
                let unix = std::time::SystemTime::now()
                    .duration_since(std::time::UNIX_EPOCH)
                    .map(|d| d.as_secs());
                std::thread::sleep(std::time::Duration::from_secs(3600));
                return Err(failure("clock", format!("unix time {unix:?}")));
            }
            _ => {}
        }
        Ok(generator::Opened {
            templates: vec![template; count],
            requests: generator::Source::new(Source {
                misbehave,
                seed: Cell::new(context.seed | 1),
                calls: Cell::new(0),
                seen: Cell::new(0),
                hoard: RefCell::default(),
            }),
        })
    }
}

impl Source {
    fn random(&self) -> u64 {
        let mut x = self.seed.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.seed.set(x);
        x
    }

    fn plain(&self, limit: u32) -> Batch {
        use std::io::Write;
        let mut path_len = Vec::with_capacity(limit as usize);
        let mut arena = Vec::with_capacity(limit as usize * 64);
        for _ in 0..limit {
            let before = arena.len();
            let n = self.random() % 1000;
            let _ = write!(
                arena,
                "/api/v1/namespaces/ns-{}/pods/pod-{}?resourceVersion=0",
                n % 10,
                n
            );
            path_len.push((arena.len() - before) as u32);
        }
        Batch {
            count: limit,
            template: Vec::new(),
            path_len,
            body_len: Vec::new(),
            tag: Vec::new(),
            arena,
            done: false,
        }
    }
}

impl generator::GuestSource for Source {
    fn next(&self, limit: u32) -> Result<Batch, Failure> {
        let call = self.calls.get();
        self.calls.set(call + 1);
        let mut batch = self.plain(limit);
        match self.misbehave.as_str() {
            "loop" => spin(),
            "grow" => loop {
                self.hoard.borrow_mut().push(black_box(vec![1; 1 << 20]));
            },
            "recurse" => batch.tag = vec![recurse(u64::from(limit)); 1],
            "trap-midway" if call == 3 => core::arch::wasm32::unreachable(),
            "out-of-bounds" => {
                let far = black_box(0xffff_fff0_usize) as *const u64;
                // SAFETY: none: this is the point.
                batch.tag = vec![unsafe { far.read_volatile() }; limit as usize];
            }
            "panic" => panic!("the moon is not full"),
            "exit" => std::process::exit(3),
            "fail" => return Err(failure("moon", "the moon is not full")),
            "million" => {
                batch = Batch {
                    count: 1_000_000,
                    template: vec![0; 1_000_000],
                    path_len: Vec::new(),
                    body_len: Vec::new(),
                    tag: Vec::new(),
                    arena: Vec::new(),
                    done: false,
                }
            }
            "flood" => batch.tag = vec![7; 5_000_000],
            "one-more" => batch = self.plain(limit + 1),
            "arena-short" => {
                batch.arena.pop();
            }
            "arena-long" => batch.arena.push(b'x'),
            "column" => batch.tag = vec![1],
            "template" => batch.template = vec![7; limit as usize],
            "relative" => batch.arena[0] = b'x',
            "stderr-endlessly" => loop {
                eprintln!("noise");
            },
            "stderr" => eprintln!("call {call}"),
            "seen" => batch.tag = vec![self.seen.get(); limit as usize],
            "random" => {
                // Seeds of hash maps are what the standard library draws.
                use std::hash::{BuildHasher, RandomState};
                batch.tag = vec![RandomState::new().hash_one(1) >> 11; limit as usize];
            }
            _ => {}
        }
        Ok(batch)
    }
}

impl feedback::Guest for Hostile {
    fn observe(requests: generator::SourceBorrow<'_>, results: Outcomes) {
        let source = requests.get::<Source>();
        if source.misbehave == "observe-panics" {
            panic!("seen too much");
        }
        source
            .seen
            .set(source.seen.get() + u64::from(results.count) + results.arena.len() as u64);
    }
}

impl arrivals::Guest for Hostile {
    fn schedule(
        requests: generator::SourceBorrow<'_>,
        limit: u32,
    ) -> Result<Vec<u64>, Failure> {
        let source = requests.get::<Source>();
        match source.misbehave.as_str() {
            "schedule-backwards" => Ok(vec![2, 1]),
            "schedule-many" => Ok(vec![0; limit as usize + 1]),
            "schedule-restarts" => {
                let call = source.calls.get();
                source.calls.set(call + 1);
                Ok(vec![10 - u64::from(call)])
            }
            _ => Ok((0..u64::from(limit)).collect()),
        }
    }
}

bindings::export!(Hostile with_types_in bindings);
