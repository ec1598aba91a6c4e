//! The options of each program that measure, and nothing else.

use super::grammar::{Grammar, Style};

pub(super) const IPERF3_SERVER: Grammar = Grammar {
    style: Style::Getopt,
    flags: &[
        "s",
        "server",
        "1",
        "one-off",
        "J",
        "json",
        "V",
        "verbose",
        "forceflush",
        "4",
        "version4",
        "6",
        "version6",
    ],
    values: &[
        "p",
        "port",
        "f",
        "format",
        "i",
        "interval",
        "A",
        "affinity",
        "idle-timeout",
        "server-bitrate-limit",
        "server-max-duration",
        "rcv-timeout",
        "snd-timeout",
    ],
};

pub(super) const IPERF3_CLIENT: Grammar = Grammar {
    style: Style::Getopt,
    flags: &[
        "J",
        "json",
        "json-stream",
        "V",
        "verbose",
        "forceflush",
        "u",
        "udp",
        "sctp",
        "R",
        "reverse",
        "bidir",
        "N",
        "no-delay",
        "4",
        "version4",
        "6",
        "version6",
        "Z",
        "zerocopy",
        "get-server-output",
        "udp-counters-64bit",
        "repeating-payload",
        "dont-fragment",
    ],
    values: &[
        "c",
        "client",
        "p",
        "port",
        "f",
        "format",
        "i",
        "interval",
        "A",
        "affinity",
        "b",
        "bitrate",
        "bandwidth",
        "pacing-timer",
        "fq-rate",
        "t",
        "time",
        "n",
        "bytes",
        "k",
        "blockcount",
        "l",
        "length",
        "P",
        "parallel",
        "w",
        "window",
        "C",
        "congestion",
        "M",
        "set-mss",
        "S",
        "tos",
        "dscp",
        "L",
        "flowlabel",
        "O",
        "omit",
        "T",
        "title",
        "extra-data",
        "connect-timeout",
        "cport",
        "rcv-timeout",
        "snd-timeout",
        "nstreams",
    ],
};

/// Before `--`.
pub(super) const NETPERF: Grammar = Grammar {
    style: Style::Letters,
    flags: &["c", "C", "d", "j", "4", "6"],
    values: &[
        "A", "a", "f", "H", "I", "i", "l", "n", "P", "p", "t", "T", "v", "W",
    ],
};

/// After it.
pub(super) const NETPERF_TEST: Grammar = Grammar {
    style: Style::Letters,
    flags: &["D", "4", "6"],
    values: &["b", "d", "K", "k", "M", "m", "O", "o", "P", "r", "S", "s"],
};

pub(super) const NETSERVER: Grammar = Grammar {
    style: Style::Letters,
    flags: &["D", "4", "6"],
    values: &["p"],
};

pub(super) const QPERF_SERVER: Grammar = Grammar {
    style: Style::Words,
    flags: &[],
    values: &["-lp", "--listen_port"],
};

pub(super) const QPERF_CLIENT: Grammar = Grammar {
    style: Style::Words,
    flags: &[
        "-u", "-ub", "-un", "-uu", "-v", "-vv", "-vc", "-vs", "-vt", "-vu", "-vvc", "-vvs", "-vvt",
        "-vvu",
    ],
    values: &[
        "-lp",
        "--listen_port",
        "-ip",
        "--ip_port",
        "-t",
        "--time",
        "-to",
        "--timeout",
        "-ws",
        "--wait_server",
        "-m",
        "--msg_size",
        "-n",
        "--no_msgs",
        "-sb",
        "--sock_buf_size",
        "-e",
        "--precision",
    ],
};

/// Tests of qperf that need no further device; `quit` would end the server.
pub(super) const QPERF_TESTS: [&str; 7] = [
    "conf", "sctp_bw", "sctp_lat", "tcp_bw", "tcp_lat", "udp_bw", "udp_lat",
];

pub(super) const FORTIO_SERVER: Grammar = Grammar {
    style: Style::Go,
    flags: &["quiet"],
    values: &[
        "http-port",
        "tcp-port",
        "grpc-port",
        "udp-port",
        "redirect-port",
        "ui-path",
        "loglevel",
    ],
};

pub(super) const FORTIO_CLIENT: Grammar = Grammar {
    style: Style::Go,
    flags: &[
        "uniform",
        "jitter",
        "nocatchup",
        "keepalive",
        "h2",
        "stdclient",
        "quiet",
        "compression",
        "allow-initial-errors",
        "log-errors",
        "sequential-warmup",
        "http1.0",
    ],
    values: &[
        "loglevel",
        "json",
        "qps",
        "c",
        "n",
        "t",
        "r",
        "p",
        "timeout",
        "payload-size",
        "offset",
        "labels",
        "abort-on",
        "connection-reuse",
        "runid",
    ],
};
