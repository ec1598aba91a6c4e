//! What may be run and what may not, line by line.

use super::*;

fn command(line: &str) -> Command {
    let mut words = line.split(' ').map(str::to_owned);
    Command {
        program: words.next().unwrap(),
        arguments: words.collect(),
        environment: Vec::new(),
    }
}

fn client(line: &str) -> Result<(), ToolError> {
    AllowList::default().check_client(&command(line), "10.0.0.2")
}

#[test]
fn ordinary_commands_pass() {
    for line in [
        "iperf3 -c 10.0.0.2 -p 5201 -J -t 10 --format m --forceflush",
        "iperf3 --client=10.0.0.2 -JR -T DFI",
        "iperf3 -c10.0.0.2 -TD",
        "iperf3 -Jc 10.0.0.2",
        "iperf3 -c 10.0.0.2 -p 5201 -J -n 1000000 --connect-timeout 3000 -P 4 -b 1000 -l 1024 -w 65536 -M 1400 -C cubic \
         --bidir -N",
        "netperf -H 10.0.0.2 -p 12865 -4 -t TCP_RR -l 10 -P 0 -c -C -- -r 1,1 -P ,12866 -k THROUGHPUT,RT_LATENCY",
        "netperf -H 10.0.0.2 -t TCP_MAERTS -l -1000 -f m -- -P ,12866 -M 1024 -s 65536 -S 65536 -D -k THROUGHPUT",
        "qperf -lp 19765 10.0.0.2 -ip 19766 -t 10 -to 5 -ws 3 -uu -v -vvs -m 65536 tcp_bw -m 1 tcp_lat",
        "fortio load -loglevel error -json - -qps 10 -c 4 -n 5 -r 0.00001 -p 50,99.9 -timeout 3s -payload-size 9 -uniform \
         -jitter -nocatchup -keepalive=false -h2 http://10.0.0.2:8080/echo",
        "netperf -H 10.0.0.2 -p 12865 -t TCP_RR -- -r 1,1 -k THROUGHPUT,PROTOCOL",
        "netperf -H 10.0.0.2,4 -t TCP_STREAM",
        "qperf -lp 19765 10.0.0.2 -t 10 tcp_bw tcp_lat",
        "fortio load -json - -qps 10 http://10.0.0.2:8080/echo?size=1",
        "fortio load -json=- tcp://10.0.0.2:8078",
    ] {
        assert_eq!(client(line), Ok(()), "{line}");
    }
}

#[test]
fn files_other_hosts_and_other_programs_do_not() {
    for line in [
        "sh -c true",
        "/usr/bin/iperf3 -c 10.0.0.2",
        "LD_PRELOAD=x iperf3",
        "netserver -D",
        "iperf3 -c 10.0.0.3",
        "iperf3 -t 1",
        "iperf3 -c 10.0.0.2 -c 10.0.0.3",
        "iperf3 -c 10.0.0.2 -F /etc/passwd",
        "iperf3 -c 10.0.0.2 -JF/etc/passwd",
        "iperf3 -c 10.0.0.2 --file=/etc/passwd",
        "iperf3 -c 10.0.0.2 --fil /etc/passwd",
        "iperf3 -c 10.0.0.2 --logfile x",
        "iperf3 -c 10.0.0.2 --logf x",
        "iperf3 -c 10.0.0.2 --pidfile x",
        "iperf3 -c 10.0.0.2 -I x",
        "iperf3 -c 10.0.0.2 -D",
        "iperf3 -c 10.0.0.2 -Jc 10.0.0.3",
        "iperf3 -c 10.0.0.2 -Jc10.0.0.3",
        "iperf3 -c 10.0.0.2 --cli 10.0.0.3",
        "iperf3 -c 10.0.0.2 --clie=10.0.0.3",
        "iperf3 -c 10.0.0.2 --client=10.0.0.3",
        "iperf3 -c 10.0.0.2 -c 10.0.0.2",
        "iperf3 -c 10.0.0.2 -T -c10.0.0.3",
        "iperf3 -c 10.0.0.2 -s",
        "iperf3 -c 10.0.0.2 -B 10.0.0.3",
        "iperf3 -c 10.0.0.2 -- -c 10.0.0.3",
        "iperf3 -c 10.0.0.2 10.0.0.3",
        "iperf3 -s",
        "netperf -H 10.0.0.3",
        "netperf -H 10.0.0.2 -F /etc/passwd",
        "netperf -H 10.0.0.2 -- -H 10.0.0.3",
        "netperf -H 10.0.0.2 -- -k /etc/passwd",
        "netperf -H 10.0.0.2 -- -k passwd.txt",
        "netperf -H 10.0.0.2 -dH10.0.0.3",
        "netperf -H 10.0.0.2 -CcH 10.0.0.3",
        "netperf -H 10.0.0.2 -H 10.0.0.2",
        "netperf -H 10.0.0.2 -H 10.0.0.3",
        "netperf -H 10.0.0.2 -- -cH 10.0.0.3",
        "netperf -H 10.0.0.2 -rF/etc/passwd",
        "netperf -H 10.0.0.2 -SF/etc/passwd",
        "netperf -H 10.0.0.2 -r F",
        "netperf -H 10.0.0.2 -t STREAM_STREAM",
        "netperf -H 10.0.0.2 -L 10.0.0.3",
        "netperf -H 10.0.0.2 -- -L 10.0.0.3",
        "netperf -H 10.0.0.2,10.0.0.3",
        "netperf -H 10.0.0.2 -t -- -- -H 10.0.0.3",
        "qperf 10.0.0.3 tcp_bw",
        "qperf 10.0.0.2 --host 10.0.0.3 tcp_bw",
        "qperf 10.0.0.3 tcp_bw 10.0.0.2",
        "qperf 10.0.0.2 tcp_bw 10.0.0.2",
        "qperf 10.0.0.2 quit",
        "qperf -uu tcp_bw 10.0.0.2",
        "qperf -lp 19765",
        "fortio curl http://10.0.0.2/",
        "fortio proxies http://10.0.0.2/",
        "fortio load -json x http://10.0.0.2/",
        "fortio load -json=x http://10.0.0.2/",
        "fortio load --json x http://10.0.0.2/",
        "fortio load -a http://10.0.0.2/",
        "fortio load -data-dir=x http://10.0.0.2/",
        "fortio load -payload-file x http://10.0.0.2/",
        "fortio load http://10.0.0.3/",
        "fortio load http://10.0.0.3/ http://10.0.0.2/",
        "fortio load -quiet=x http://10.0.0.2/",
        "fortio load http://10.0.0.2/ -json x",
        "fortio server -ui-path  ",
        "fortio",
        "fortio load http://10.0.0.2@10.0.0.3/",
        "fortio load https://10.0.0.2/",
        "fortio load http://10.0.0.2.evil/",
    ] {
        assert!(client(line).is_err(), "{line}");
    }
}

#[test]
fn servers() {
    let server = |line: &str| AllowList::default().check_server(&command(line));
    for line in [
        "iperf3 -s -p 5201 --forceflush",
        "netserver -D -p 12865",
        "qperf -lp 19765",
        "fortio server -http-port 8080 -tcp-port disabled -ui-path ",
        "fortio server -ui-path= -http-port 127.0.0.2:8080 -grpc-port disabled -udp-port disabled",
        "fortio tcp-echo -tcp-port 8078",
    ] {
        assert_eq!(server(line), Ok(()), "{line}");
    }
    for line in [
        "iperf3 -s -D",
        "iperf3 -p 5201",
        "iperf3 -c 10.0.0.3",
        "iperf3 -s -c 10.0.0.3",
        "iperf3 -s -sc 10.0.0.3",
        "iperf3 -s --cli 10.0.0.3",
        "qperf 10.0.0.3 tcp_bw",
        "qperf -lp 19765 10.0.0.3",
        "netserver -p 12865",
        "netserver",
        "netserver -Dp 12865",
        "netserver -D -L 10.0.0.3",
        "fortio server -http-port 8080",
        "fortio server -ui-path /fortio/",
        "fortio server -ui-path  -http-port /tmp/socket",
        "fortio server -ui-path  -P 8081:10.0.0.3:80",
        "fortio load http://10.0.0.3/",
        "iperf3 -s --pidfile x",
        "netperf -H x",
        "fortio server -M x",
        "fortio redirect",
    ] {
        assert!(server(line).is_err(), "{line}");
    }
}

#[test]
fn further_programs_only_when_named_and_by_bare_name() {
    let list = AllowList {
        further: vec!["uperf".to_owned(), "/bin/sh".to_owned()],
    };
    assert!(
        list.check_client(&command("uperf -m x"), "10.0.0.2")
            .is_ok()
    );
    assert!(list.check_server(&command("uperf -s")).is_ok());
    assert!(client("uperf -m x").is_err());
    assert!(
        list.check_client(&command("/bin/sh -c x"), "10.0.0.2")
            .is_err()
    );
    assert!(list.check_client(&command("uperf -m x"), "-c x").is_err());
}

#[test]
fn a_known_program_stays_checked() {
    let list = AllowList {
        further: vec!["iperf3".to_owned()],
    };
    let elsewhere = command("iperf3 -c 10.0.0.3");
    assert!(list.check_client(&elsewhere, "10.0.0.2").is_err());
    assert!(list.check_server(&elsewhere).is_err());
    assert!(AllowList::with(vec!["iperf3".to_owned()]).is_err());
    assert!(AllowList::with(vec!["bin/uperf".to_owned()]).is_err());
    let list = AllowList::with(vec!["nuttcp".to_owned()]).unwrap();
    let mut nuttcp = command("nuttcp -fparse -T2 -P5000 -p5001 10.0.0.2");
    nuttcp.environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
    assert_eq!(list.check_client(&nuttcp, "10.0.0.2"), Ok(()));
    assert_eq!(list.check_server(&command("nuttcp -S --nofork")), Ok(()));
    nuttcp.environment = vec![("LD_PRELOAD".to_owned(), "x".to_owned())];
    assert!(list.check_client(&nuttcp, "10.0.0.2").is_err());
    assert!(list.check_server(&nuttcp).is_err());
}

#[test]
fn no_environment_but_the_locale() {
    let mut iperf3 = command("iperf3 -c 10.0.0.2");
    iperf3.environment = vec![("LC_ALL".to_owned(), "C".to_owned())];
    let list = AllowList::default();
    assert_eq!(list.check_client(&iperf3, "10.0.0.2"), Ok(()));
    iperf3.environment = vec![("LD_PRELOAD".to_owned(), "x".to_owned())];
    assert!(list.check_client(&iperf3, "10.0.0.2").is_err());
    assert!(list.check_server(&iperf3).is_err());
}
