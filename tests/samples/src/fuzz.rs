//! Over many damaged samples.

use std::collections::BTreeMap;

use net_tool::{Exit, Metric, Output, Tool};

use crate::damage::{Random, cut, flip, interleave, renumber, repeat, splice};
use crate::{Expected, Sample, samples};

/// Lines that another stream could put between those of a result, none of them part of one.
const NOISE: [&str; 6] = [
    "warning: this system does not seem to support IPv6 - trying IPv4\n",
    "{\"ts\":1795306588.829630,\"level\":\"info\",\"r\":1,\"msg\":\"Starting\"}\n",
    "\n",
    "}\n",
    "\u{1b}[31mkernel: oom\u{1b}[0m\n",
    "W1122 00:16:28.829630 worker.go:17] slow\n",
];

/// Feeds a parser with at least `least` damaged outputs and checks what it makes of them:
///
/// - it returns; whatever it reports is finite, not negative, and has its unit;
/// - a cut or interleaved result is an error, or says nothing but what the whole says;
/// - a cut JSON object is an error, always.
///
/// # Panics
/// With the first output that it fails on.
pub fn assert_survives<T: Tool>(least: usize) {
    let all = samples();
    let (own, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .filter(|sample| !sample.output.stdout.is_empty() || !sample.output.stderr.is_empty())
        .partition(|sample| sample.benchmark == T::NAME);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();

    // Cuts: every sample, at lengths spread evenly over it and at every line end.
    let cuts_each = least / 4 / own.len().max(1) + 1;
    for sample in &own {
        let text = &sample.output.stdout;
        let stride = text.len() / cuts_each + 1;
        let line_ends = text.match_indices('\n').map(|(place, _)| place + 1);
        for length in (0..text.len()).step_by(stride).chain(line_ends) {
            check_cut::<T>(sample, length);
            *counts.entry("cut").or_default() += 1;
        }
    }

    let mut random = Random::new(0x6b70_6572);
    let mut done = counts.values().sum::<usize>();
    while done < least {
        let sample = random.pick(&own);
        let text = &sample.output.stdout;
        let other = if random.below(4) == 0 { &others } else { &own };
        let other = &random.pick(other).output;
        let (kind, stdout) = match random.below(6) {
            0 => ("spliced", splice(&mut random, text, &other.stdout)),
            1 | 2 => ("flipped", flip(&mut random, text)),
            3 => ("repeated", repeat(&mut random, text)),
            4 => ("renumbered", renumber(&mut random, text)),
            _ => {
                let stdout = interleave(&mut random, text, &NOISE);
                check_same::<T>(sample, &stdout, "interleaved");
                ("interleaved", stdout)
            }
        };
        let stderr = match random.below(4) {
            0 => String::new(),
            1 => flip(&mut random, &sample.output.stderr),
            2 => splice(&mut random, &sample.output.stderr, &other.stderr),
            _ => sample.output.stderr.clone(),
        };
        let exit = match random.below(4) {
            0 => Exit::Code(0),
            1 => Exit::Unknown,
            2 => sample.output.exit.clone(),
            _ => Exit::Code(1),
        };
        let args = match random.below(3) {
            0 => Vec::new(),
            1 => other.args.clone(),
            _ => sample.output.args.clone(),
        };
        let output = Output {
            stdout,
            stderr,
            exit,
            args,
            clipped: false,
        };
        check_any::<T>(&output, &sample.case);
        *counts.entry(kind).or_default() += 1;
        done += 1;
    }
    println!("{}: {done} damaged outputs {counts:?}", T::NAME);
}

/// Feeds a parser with some large outputs that are all repetition. They are refused; were the time they take to grow
/// with the square of their size, this would not end.
///
/// # Panics
/// If one gives metrics.
pub fn assert_bounded<T: Tool>() {
    let own = samples()
        .into_iter()
        .filter(|sample| sample.benchmark == T::NAME);
    let mut units: Vec<String> = [
        "{\n",
        "{\"a\":\n",
        "{\"event\":\"end\",\"data\":{}}\n",
        "}\n",
        "\n",
        "1 ",
        "1 2 3 4 5 6\n",
        "A=1\n",
        ",",
        "Throughput\n",
        "Throughput ",
        "tcp_bw:\n",
        "    a =  1\n",
        "# target 1% 1\n",
        "Code 200 : 1 (1 %)\n",
        "\u{e9}",
        "- - - -\n",
        "[  5]   0.00-2.00   sec  3.32 GBytes  14.2 Gbits/sec                  receiver\n",
    ]
    .map(str::to_owned)
    .to_vec();
    for sample in own {
        let lines = sample.output.lines().map(|line| format!("{line}\n"));
        units.extend(lines.take(3));
        units.push(sample.output.stdout);
    }
    units.sort_unstable();
    units.dedup();
    let mut tried = 0;
    for unit in units.iter().filter(|unit| !unit.is_empty()) {
        for head in [
            "",
            "MIGRATED TCP STREAM TEST from a\n",
            "Connecting to host a\n",
        ] {
            let output = Output {
                stdout: format!("{head}{}", unit.repeat(200_000 / unit.len())),
                ..Output::default()
            };
            let found = T::parse(&output);
            assert!(found.is_err(), "{unit} gave {found:?}");
            tried += 1;
        }
    }
    println!("{}: {tried} outputs of 200 kB refused", T::NAME);
}

/// What holds for every output.
fn check_any<T: Tool>(output: &Output, case: &str) {
    match T::parse(output) {
        Ok(metrics) => {
            assert!(
                !metrics.is_empty(),
                "{case}: success without metrics\n{output:#?}"
            );
            for metric in &metrics {
                let good = metric.value.is_finite()
                    && metric.value.is_sign_positive()
                    && metric.unit == Metric::unit_of(&metric.name);
                assert!(good, "{case}: {metric:?}\n{output:#?}");
            }
        }
        Err(error) => assert!(!error.message.is_empty(), "{case}: {error:?}\n{output:#?}"),
    }
}

fn check_cut<T: Tool>(sample: &Sample, length: usize) {
    let whole = &sample.output.stdout;
    let stdout = cut(whole, length);
    if stdout.trim_end() != whole.trim_end() && is_one_object(whole) {
        let output = Output {
            stdout: stdout.clone(),
            ..sample.output.clone()
        };
        let found = T::parse(&output);
        assert!(found.is_err(), "{} cut at {length}: {found:?}", sample.case);
    }
    check_same::<T>(sample, &stdout, "cut");
}

fn is_one_object(text: &str) -> bool {
    text.starts_with('{') && text.ends_with("}\n") && !text.contains("\n{")
}

/// A damaged text gives an error or metrics that the whole gives, too, without its standard error and with any exit.
fn check_same<T: Tool>(sample: &Sample, stdout: &str, kind: &str) {
    for (exit, stderr) in [
        (sample.output.exit.clone(), sample.output.stderr.clone()),
        (Exit::Unknown, String::new()),
    ] {
        let output = Output {
            stdout: stdout.to_owned(),
            stderr,
            exit,
            ..sample.output.clone()
        };
        let Ok(found) = T::parse(&output) else {
            continue;
        };
        check_any::<T>(&output, &sample.case);
        let Expected::Metrics { metrics } = &sample.expected else {
            // Without its standard error a failure may look whole, but never with it.
            let stderr_mattered = !sample.output.stderr.is_empty() && output.stderr.is_empty();
            assert!(
                stderr_mattered,
                "{} {kind}: an error became {found:?}",
                sample.case
            );
            continue;
        };
        for metric in found {
            let known = metrics.iter().any(|want| {
                metric.name == want.name
                    && (metric.value - want.value).abs() <= want.value.abs() * 1e-12
            });
            assert!(
                known,
                "{} {kind}: {metric:?} is not in the whole\n{stdout}",
                sample.case
            );
        }
    }
}
