use super::*;

fn label(key: &str, value: &str) -> Label {
    Label {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn valid() -> Template {
    Template {
        series: "LIST /api/v1/pods".to_owned(),
        method: "GET".to_owned(),
        path: "/api/v1/pods?limit=500".to_owned(),
        headers: vec![label("Accept", "application/json")],
        body: Vec::new(),
        kind: String::new(),
        capture: vec!["/metadata/continue".to_owned()],
        hints: Vec::new(),
    }
}

fn refused(change: impl FnOnce(&mut Template)) -> String {
    let mut template = valid();
    change(&mut template);
    check_all(vec![template], &Limits::default()).unwrap_err()
}

#[test]
fn a_valid_template_passes_and_header_names_are_lower_case() {
    let specs = check_all(vec![valid()], &Limits::default()).unwrap();
    assert_eq!(specs[0].headers[0].0.as_str(), "accept");
    assert_eq!(specs[0].kind, ExchangeKind::Request);
}

#[test]
fn each_field_is_refused_by_name() {
    type Change = fn(&mut Template);
    let cases: &[(Change, &str)] = &[
        (|t| t.method = "get".into(), "`get` is not an HTTP method"),
        (|t| t.method = "G T".into(), "`G T` is not an HTTP method"),
        (|t| t.method = "CONNECT".into(), "not an HTTP method"),
        (|t| t.path = "api".into(), "does not start with `/`"),
        (|t| t.path = "/a b".into(), "is not one"),
        (|t| t.path = "/a\r\nx: y".into(), "is not one"),
        (|t| t.path = "/a#b".into(), "fragment"),
        (|t| t.series = String::new(), "series name"),
        (|t| t.series = "a\nb".into(), "control characters"),
        (|t| t.kind = "exec".into(), "`exec` is not known"),
        (|t| t.kind = "watch".into(), "needs the hint `hold-ms`"),
        (
            |t| t.capture = vec!["metadata".into()],
            "not a JSON pointer",
        ),
        (|t| t.capture = vec!["/a~2".into()], "not a JSON pointer"),
    ];
    for (change, said) in cases {
        let error = refused(change);
        assert!(error.contains(said), "{error} lacks {said}");
        assert!(error.starts_with("template 0"), "{error}");
    }
}

#[test]
fn headers_of_connection_and_identity_are_the_hosts() {
    for name in [
        "Authorization",
        "Connection",
        "Transfer-Encoding",
        "TE",
        "Upgrade",
        "Host",
        "Content-Length",
        "Impersonate-User",
        "impersonate-extra-scopes",
    ] {
        let error = refused(|t| t.headers = vec![label(name, "x")]);
        assert!(error.contains("is the host's to set"), "{name}: {error}");
    }
    let error = refused(|t| t.headers = vec![label("x-a", "s3cret\r\nx-b: c")]);
    assert!(
        error.contains("`x-a`") && !error.contains("s3cret"),
        "{error}"
    );
    assert!(refused(|t| t.headers = vec![label("x a", "")]).contains("not a header name"));
}

#[test]
fn a_watch_is_held_for_a_sane_time() {
    let mut template = valid();
    template.kind = "watch".into();
    template.hints = vec![label("hold-ms", "1500"), label("other", "ignored")];
    let specs = check_all(vec![template], &Limits::default()).unwrap();
    let hold = Duration::from_millis(1500);
    assert_eq!(specs[0].kind, ExchangeKind::Watch { hold });
    for wrong in ["0", "-1", "1s", "99999999999999"] {
        let error = refused(|t| {
            t.kind = "watch".into();
            t.hints = vec![label("hold-ms", wrong)];
        });
        assert!(error.contains("hold-ms"), "{wrong}: {error}");
    }
}

#[test]
fn the_number_of_templates_is_bounded() {
    let none = check_all(Vec::new(), &Limits::default()).unwrap_err();
    assert!(none.contains("0 templates"), "{none}");
    let many = check_all(vec![valid(); 10_001], &Limits::default()).unwrap_err();
    assert!(many.contains("10001 templates, 1 to 10000"), "{many}");
}
