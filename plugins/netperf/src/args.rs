//! What the client's arguments say. Those before `--` are netperf's, those after it the test's; the same letter means
//! different things.

use net_tool::number::decimal;
use net_tool::option;

/// A client's arguments.
#[derive(Debug)]
pub(crate) struct Args {
    global: Vec<String>,
    test: Vec<String>,
    /// Whether there are any.
    pub(crate) known: bool,
}

/// How results are laid out by `-k`, `-o` or `-O`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    KeyValue,
    Csv,
    Columns,
}

impl Args {
    pub(crate) fn new(args: &[String]) -> Self {
        let split = args
            .iter()
            .position(|arg| arg == "--")
            .unwrap_or(args.len());
        let (global, test) = args.split_at_checked(split).unwrap_or((args, &[]));
        Self {
            global: global.to_vec(),
            test: test.to_vec(),
            known: !args.is_empty(),
        }
    }

    /// Seconds asked for; `None` also where transactions or bytes were (a negative `-l`).
    pub(crate) fn seconds(&self) -> Option<f64> {
        option(&self.global, &["-l"]).and_then(decimal)
    }

    /// Name of the test, in capitals.
    pub(crate) fn test(&self) -> Option<String> {
        option(&self.global, &["-t"]).map(str::to_uppercase)
    }

    /// The letter of the unit of throughput.
    pub(crate) fn unit(&self) -> Option<&str> {
        option(&self.global, &["-f"])
    }

    /// Whether more than one transaction may be in flight.
    pub(crate) fn burst(&self) -> bool {
        option(&self.test, &["-b"]).is_some_and(|size| size != "0")
    }

    /// The layout asked for and the selectors, in capitals.
    pub(crate) fn selectors(&self) -> Option<(Layout, Vec<String>)> {
        [
            ("-k", Layout::KeyValue),
            ("-o", Layout::Csv),
            ("-O", Layout::Columns),
        ]
        .into_iter()
        .find_map(|(name, layout)| {
            let list = option(&self.test, &[name])?;
            let list = list.split(',').map(|name| name.trim().to_uppercase());
            Some((layout, list.collect()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_two_meanings() {
        let line = "-H h -t tcp_rr -l 10 -P 0 -f m -- -P ,15001 -b 4 -k throughput,PROTOCOL";
        let args: Vec<_> = line.split(' ').map(str::to_owned).collect();
        let args = Args::new(&args);
        assert_eq!(args.seconds(), Some(10.0));
        assert_eq!(args.test().as_deref(), Some("TCP_RR"));
        assert_eq!(args.unit(), Some("m"));
        assert!(args.burst());
        let (layout, names) = args.selectors().unwrap();
        assert_eq!(layout, Layout::KeyValue);
        assert_eq!(names, ["THROUGHPUT", "PROTOCOL"]);
        assert!(!Args::new(&[]).known);
        assert_eq!(Args::new(&["-l".into(), "-1000".into()]).seconds(), None);
    }
}
