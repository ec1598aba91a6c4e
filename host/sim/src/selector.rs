//! Label and field selectors: parsed once per request, matched against stored objects.

use serde_json::Value;

use crate::{registry::Resource, status::Status};

/// A conjunction of label requirements; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LabelSelector(Vec<LabelRequirement>);

#[derive(Clone, Debug, PartialEq)]
struct LabelRequirement {
    key: String,
    test: LabelTest,
}

#[derive(Clone, Debug, PartialEq)]
enum LabelTest {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
    GreaterThan(i64),
    LessThan(i64),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Equals,
    DoubleEquals,
    NotEquals,
    Not,
    Open,
    Close,
    Comma,
    Greater,
    Less,
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Not => "!",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Greater => ">",
            Self::Less => "<",
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        match c {
            ' ' | '\t' | '\r' | '\n' => {
                chars.next();
            }
            '(' | ')' | ',' | '>' | '<' => {
                chars.next();
                out.push(match c {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    ',' => Token::Comma,
                    '>' => Token::Greater,
                    _ => Token::Less,
                });
            }
            '=' => {
                chars.next();
                out.push(if chars.next_if_eq(&'=').is_some() {
                    Token::DoubleEquals
                } else {
                    Token::Equals
                });
            }
            '!' => {
                chars.next();
                out.push(if chars.next_if_eq(&'=').is_some() {
                    Token::NotEquals
                } else {
                    Token::Not
                });
            }
            _ => {
                let mut word = String::new();
                while let Some(c) = chars.next_if(|c| !" \t\r\n(),=!<>".contains(*c)) {
                    word.push(c);
                }
                out.push(Token::Word(word));
            }
        }
    }
    out
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn take(&mut self) -> Token {
        self.tokens.next().unwrap_or(Token::End)
    }

    fn peek(&mut self) -> Token {
        self.tokens.peek().cloned().unwrap_or(Token::End)
    }

    fn requirement(&mut self) -> Result<LabelRequirement, String> {
        let negated = self.peek() == Token::Not;
        if negated {
            self.take();
        }
        let key = match self.take() {
            Token::Word(key) => key,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        check_key(&key)?;
        if negated {
            return Ok(LabelRequirement {
                key,
                test: LabelTest::Missing,
            });
        }
        let test = match self.peek() {
            Token::End | Token::Comma => LabelTest::Exists,
            Token::Equals | Token::DoubleEquals => {
                self.take();
                LabelTest::In(vec![self.value()?])
            }
            Token::NotEquals => {
                self.take();
                LabelTest::NotIn(vec![self.value()?])
            }
            token @ (Token::Greater | Token::Less) => {
                self.take();
                let text = self.value()?;
                let number = text
                    .parse()
                    .map_err(|_| format!("values[0]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"))?;
                if token == Token::Greater {
                    LabelTest::GreaterThan(number)
                } else {
                    LabelTest::LessThan(number)
                }
            }
            Token::Word(word) if word == "in" || word == "notin" => {
                self.take();
                let values = self.set()?;
                if word == "in" {
                    LabelTest::In(values)
                } else {
                    LabelTest::NotIn(values)
                }
            }
            other => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.text()
                ));
            }
        };
        Ok(LabelRequirement { key, test })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            // `key=` selects the empty value.
            Token::End | Token::Comma => Ok(String::new()),
            Token::Word(word) => {
                self.take();
                check_value(&word)?;
                Ok(word)
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, String> {
        match self.take() {
            Token::Open => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        loop {
            match self.take() {
                Token::Word(word) => {
                    check_value(&word)?;
                    values.push(word);
                    match self.take() {
                        Token::Comma => {}
                        Token::Close => return Ok(values),
                        other => {
                            return Err(format!("found '{}', expected: ',' or ')'", other.text()));
                        }
                    }
                }
                Token::Comma => values.push(String::new()),
                Token::Close => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        other.text()
                    ));
                }
            }
        }
    }
}

fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check_key(key: &str) -> Result<(), String> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if is_name(name) {
        Ok(())
    } else {
        Err(format!(
            "key: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ))
    }
}

fn check_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_name(value) {
        Ok(())
    } else {
        Err(format!(
            "values[0]: Invalid value: {value:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ))
    }
}

impl LabelSelector {
    /// Parses the whole grammar: `=`, `==`, `!=`, `in`, `notin`, existence, `!`, `>`, `<`.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        let mut parser = Parser {
            tokens: tokens(text).into_iter().peekable(),
        };
        let mut requirements = Vec::new();
        if parser.peek() == Token::End {
            return Ok(Self(requirements));
        }
        let bad = |e: String| Status::bad_request(format!("unable to parse requirement: {e}"));
        let mut expected = "!, identifier, or 'end of string'";
        loop {
            let next = parser.peek();
            if !matches!(next, Token::Word(_) | Token::Not) {
                return Err(Status::bad_request(format!(
                    "found '{}', expected: {expected}",
                    next.text()
                )));
            }
            expected = "identifier after ','";
            requirements.push(parser.requirement().map_err(bad)?);
            match parser.take() {
                Token::End => return Ok(Self(requirements)),
                Token::Comma => {}
                other => {
                    return Err(Status::bad_request(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        other.text()
                    )));
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key).and_then(Value::as_str);
            match (&requirement.test, value) {
                (LabelTest::In(values), Some(value)) => values.iter().any(|v| v == value),
                (LabelTest::NotIn(values), Some(value)) => values.iter().all(|v| v != value),
                (LabelTest::Exists, value) => value.is_some(),
                (LabelTest::Missing, value) => value.is_none(),
                (LabelTest::NotIn(_), None) => true,
                (LabelTest::GreaterThan(n), Some(value)) => {
                    value.parse().is_ok_and(|v: i64| v > *n)
                }
                (LabelTest::LessThan(n), Some(value)) => value.parse().is_ok_and(|v: i64| v < *n),
                (LabelTest::In(_) | LabelTest::GreaterThan(_) | LabelTest::LessThan(_), None) => {
                    false
                }
            }
        })
    }
}

/// A conjunction of field requirements; empty matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSelector(Vec<FieldRequirement>);

#[derive(Clone, Debug, PartialEq)]
struct FieldRequirement {
    path: String,
    equal: bool,
    value: String,
}

/// Fields a kind can be selected by besides `metadata.name` and `metadata.namespace`.
fn fields_of(resource: &Resource) -> &'static [&'static str] {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("", "pods") => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["spec.unschedulable"],
        ("", "namespaces") => &["status.phase"],
        ("", "secrets") => &["type"],
        ("", "services") => &["spec.clusterIP", "spec.type"],
        ("", "replicationcontrollers") | ("apps", "replicasets") => &["status.replicas"],
        ("", "events") => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("batch", "jobs") => &["status.successful"],
        _ => &[],
    }
}

impl FieldSelector {
    /// Parses `a=b,c!=d` and refuses fields the kind cannot be selected by.
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, Status> {
        let mut requirements = Vec::new();
        for term in text.split(',').filter(|t| !t.is_empty()) {
            let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
                (path, false, value)
            } else if let Some((path, value)) = term.split_once("==") {
                (path, true, value)
            } else if let Some((path, value)) = term.split_once('=') {
                (path, true, value)
            } else {
                return Err(Status::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            let own = fields_of(resource);
            if path != "metadata.name" && path != "metadata.namespace" && !own.contains(&path) {
                return Err(Status::bad_request(if own.is_empty() && !resource.custom {
                    format!(
                        "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    )
                } else {
                    format!("field label not supported: {path}")
                }));
            }
            requirements.push(FieldRequirement {
                path: path.to_owned(),
                equal,
                value: value.to_owned(),
            });
        }
        Ok(Self(requirements))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|requirement| {
            let found = field(object, &requirement.path);
            (found.as_ref() == requirement.value.as_str()) == requirement.equal
        })
    }
}

fn field<'a>(object: &'a Value, path: &str) -> std::borrow::Cow<'a, str> {
    let path = match path {
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        "status.podIPs" => "status.podIP",
        other => other,
    };
    let found = path.split('.').fold(object, |value, key| &value[key]);
    match found {
        Value::String(text) => text.as_str().into(),
        Value::Null => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
            "status.replicas" | "status.succeeded" => "0".into(),
            _ => "".into(),
        },
        other => other.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(selector: &str, labels: Value) -> bool {
        LabelSelector::parse(selector)
            .unwrap()
            .matches(&json!({"metadata": {"labels": labels}}))
    }

    #[test]
    fn label_grammar() {
        let labels = json!({"app": "sim", "tier": "web", "n": "5", "empty": ""});
        for (selector, expected) in [
            ("", true),
            ("app=sim", true),
            ("app==sim,tier=web", true),
            ("app = sim , tier != db", true),
            ("app!=sim", false),
            ("other!=x", true),
            ("app in (sim, x)", true),
            ("app in (x)", false),
            ("app notin (x,y)", true),
            ("other notin (x)", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("empty=", true),
            ("n>4", true),
            ("n<5", false),
            ("in in (in)", false),
        ] {
            assert_eq!(matches(selector, labels.clone()), expected, "{selector}");
        }
    }

    #[test]
    fn bad_label_selectors_are_bad_requests() {
        for selector in [
            "app in", "app in (", "=x", "app=(", "a b", "app=x y", "a,", "-a=b", "a=b!", "n>x",
        ] {
            let error = LabelSelector::parse(selector).expect_err(selector);
            assert_eq!(error.code, 400, "{selector}");
        }
    }

    #[test]
    fn field_selectors_know_their_kind() {
        let registry = crate::registry::Registry::builtin();
        let pods = registry.find("", "v1", "pods").unwrap();
        let configmaps = registry.find("", "v1", "configmaps").unwrap();
        let selector =
            FieldSelector::parse("spec.nodeName=node-1,status.phase!=Failed", &pods).unwrap();
        assert!(
            selector
                .matches(&json!({"spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}))
        );
        assert!(!selector.matches(&json!({"spec": {"nodeName": "node-2"}})));
        assert_eq!(
            FieldSelector::parse("spec.foo=1", &pods)
                .unwrap_err()
                .message,
            "field label not supported: spec.foo"
        );
        assert!(
            FieldSelector::parse("data.x=1", &configmaps)
                .unwrap_err()
                .message
                .starts_with("\"data.x\" is not a known field selector")
        );
    }
}
