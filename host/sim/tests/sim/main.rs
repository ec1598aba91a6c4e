//! The simulator over real sockets: TLS, HTTP/2 and HTTP/1.1, as its users reach it.

mod api;
mod client;
mod faults;
mod watch;
