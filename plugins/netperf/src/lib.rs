//! Transactions and bandwidth between two hosts by netperf: what to run, and how to read what it wrote.
//!
//! A result comes in one of four layouts: `NAME=value` lines (`-k`, which the plans ask for), comma separated with a
//! line of titles (`-o`), columns under titles (`-O`), and the classic table of each test. With `-P 0` titles and
//! units are left out; then, and only then, the client's arguments say what the numbers are. Known is 2.7.1.

mod args;
mod classic;
mod fields;
mod message;
mod rr;
mod server;
mod stream;
mod titled;

pub use rr::{RrParams, TcpRr};
pub use stream::{Direction, StreamParams, TcpStream};
