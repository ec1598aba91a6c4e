//! Errors, missing keys, functions and limits.

use go_template::{Arity, Functions, MissingKey, RenderOptions, Template, TemplateError};
use serde_json::{Value, json};

fn render_with(text: &str, data: &Value, options: &RenderOptions) -> Result<String, String> {
    let mut functions = Functions::new();
    functions.insert("double", Arity::exactly(1), |arguments| {
        match &arguments[0] {
            Value::Number(number) => Ok(json!(number.as_i64().unwrap_or(0) * 2)),
            other => Err(format!("{other} is not a number")),
        }
    });
    Template::parse("density.yaml", text, &functions)
        .and_then(|template| template.render(data, options))
        .map_err(|error| error.to_string())
}

fn render(text: &str, data: &Value) -> Result<String, String> {
    render_with(text, data, &RenderOptions::default())
}

#[test]
fn errors_say_where_and_what() {
    let data = json!({"n": 1, "name": "a", "list": []});
    for (text, message) in [
        (
            "a\nb\n  größe: {{foo 1}}",
            "density.yaml:3:12: function \"foo\" not defined",
        ),
        (
            "{{call .f}}",
            "density.yaml:1:3: function \"call\" of Go's templates is not supported",
        ),
        ("{{$x}}", "density.yaml:1:3: undefined variable \"$x\""),
        (
            "{{if .n}}\nx",
            "density.yaml:2:2: unexpected end of the template in if: {{end}} is missing",
        ),
        ("x\n{{end}}", "density.yaml:2:1: unexpected {{end}}"),
        ("{{.n", "density.yaml:1:3: unclosed action: }} is missing"),
        ("{{\"a}}", "density.yaml:1:3: unterminated quoted string"),
        ("{{break}}", "density.yaml:1:3: {{break}} outside {{range}}"),
        (
            "{{.name.first}}",
            "density.yaml:1:3: can't evaluate field first in type string",
        ),
        (
            "{{lt 1 \"a\"}}",
            "density.yaml:1:3: error calling lt: incompatible types for comparison: int and string",
        ),
        (
            "{{index .list 2}}",
            "density.yaml:1:3: error calling index: index out of range: 2",
        ),
        (
            "{{len}}",
            "density.yaml:1:3: wrong number of args for len: want 1 got 0",
        ),
        (
            "{{double \"x\"}}",
            "density.yaml:1:3: error calling double: \"x\" is not a number",
        ),
        (
            "{{double}}",
            "density.yaml:1:3: wrong number of args for double: want 1 got 0",
        ),
        (
            "{{template \"x\"}}",
            "density.yaml:1:12: template \"x\" not defined",
        ),
        (
            "{{.n | printf \"%*d\" 3}}",
            "density.yaml:1:8: error calling printf: '*' in a format is not supported: \"%*d\"",
        ),
    ] {
        assert_eq!(render(text, &data).unwrap_err(), message);
    }
    let error = Template::parse("a", "\n {{foo}}", &Functions::new()).unwrap_err();
    let expected = TemplateError {
        name: "a".to_owned(),
        line: 2,
        column: 4,
        message: "function \"foo\" not defined".to_owned(),
    };
    assert_eq!(error, expected);
}

#[test]
fn missing_keys_are_what_the_options_say() {
    let data = json!({"a": {}, "null": null});
    let with = |missing_key, text: &str| {
        let options = RenderOptions {
            missing_key,
            ..RenderOptions::default()
        };
        render_with(text, &data, &options)
    };
    let text = "{{.a.b}}|{{.c}}|{{.null}}|{{if .c}}x{{else}}y{{end}}";
    let no_value = "<no value>|<no value>|<no value>|y";
    assert_eq!(with(MissingKey::NoValue, text).unwrap(), no_value);
    assert_eq!(with(MissingKey::Empty, text).unwrap(), "|||y");
    let error = |text| with(MissingKey::Error, text).unwrap_err();
    assert_eq!(error(text), "density.yaml:1:3: .a.b has no value");
    assert_eq!(
        error("{{if .c}}{{end}}"),
        "density.yaml:1:6: .c has no value"
    );
    assert_eq!(
        error("{{$x := .a}}{{$x.b.c}}"),
        "density.yaml:1:15: $x.b has no value"
    );
    assert_eq!(with(MissingKey::Error, "{{.null}}").unwrap(), "<no value>");
}

#[test]
fn what_had_no_value_is_noted_where_it_was_printed() {
    let text = "{{.a}}\n{{if .b}}{{end}}{{range .c}}{{end}}{{range 2}} {{$.d.e}}{{end}}{{printf \"%v\" .f}}";
    let template = Template::parse("t", text, &Functions::new()).unwrap();
    let rendered = template
        .render_with_notes(&json!({}), &RenderOptions::default())
        .unwrap();
    let missing: Vec<_> = rendered
        .missing
        .iter()
        .map(|missing| (missing.line, missing.column, missing.expression.as_str()))
        .collect();
    assert_eq!(missing, [(1, 3, ".a"), (2, 50, "$.d.e"), (2, 78, ".f")]);
}

#[test]
fn registered_functions_are_called_and_come_first() {
    let mut functions = Functions::new();
    functions.insert("len", Arity::at_least(0), |arguments| Ok(json!(arguments)));
    let template = Template::parse("t", "{{len 1 \"a\"}} {{.x | len 2}}", &functions).unwrap();
    let text = template.render(&json!({"x": true}), &RenderOptions::default());
    assert_eq!(text.unwrap(), "[1 a] [2 true]");
    assert_eq!(
        render("{{double .n}} {{.n | double | double}}", &json!({"n": 21})).unwrap(),
        "42 84"
    );
}

#[test]
fn hostile_templates_end_in_errors() {
    let small = RenderOptions {
        max_output_bytes: 1_000,
        max_steps: 10_000,
        ..RenderOptions::default()
    };
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(5_000), close.repeat(5_000));
    for (text, message) in [
        (
            "{{range 1000000000}}x{{end}}".to_owned(),
            "output longer than 1000 bytes",
        ),
        (
            "{{range 1000000000}}{{end}}".to_owned(),
            "more than 10000 steps",
        ),
        (
            "{{define \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}".to_owned(),
            "nested deeper than 200 levels",
        ),
        (
            "{{define \"a\"}}{{template \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}"
                .to_owned(),
            "nested deeper",
        ),
        (
            "{{template \"density.yaml\"}}".to_owned(),
            "nested deeper than 200 levels",
        ),
        (
            "{{printf \"%900000d\" 1}}".to_owned(),
            "text longer than 1000 bytes",
        ),
        (
            "{{printf \"%9000000d\" 1}}".to_owned(),
            "a width or precision above 1000000",
        ),
        (
            "{{$x := \"aaaaaaaaaaaaaaaa\"}}{{range 100}}{{$x = print $x $x}}{{end}}".to_owned(),
            "text longer than 1000 bytes",
        ),
        (deep("{{if 1}}", "{{end}}"), "nested deeper than 100 levels"),
        (deep("{{if 1}}{{else ", "{{end}}"), "{{else {{"),
        (
            format!("{{{{if 1}}}}{}{{{{end}}}}", "{{else if 1}}".repeat(5_000)),
            "nested deeper than 100 levels",
        ),
        (
            format!("{{{{{}1{}}}}}", "(".repeat(5_000), ")".repeat(5_000)),
            "nested deeper than 100 levels",
        ),
    ] {
        let error = render_with(&text, &json!({}), &small).unwrap_err();
        let start: String = text.chars().take(60).collect();
        let expected = if message == "{{else {{" {
            "unexpected"
        } else {
            message
        };
        assert!(error.contains(expected), "{start}: {error}");
    }
}

#[test]
fn the_deepest_that_is_allowed_fits_the_stack() {
    let nested = format!(
        "{}{}{}",
        "{{if 1}}".repeat(45),
        "{{((((.n))))}}",
        "{{end}}".repeat(45)
    );
    assert_eq!(render(&nested, &json!({"n": 1})).unwrap(), "1");
    let recursive = "{{define \"a\"}}{{with $x := .next}}{{(print (print 1))}}{{template \"a\" .}}{{end}}{{end}}{{template \"a\" .}}";
    let data = (0..90).fold(json!({}), |next, _| json!({"next": next, "n": 1}));
    assert_eq!(render(recursive, &data).unwrap(), "1".repeat(89));
}

/// Cheap and seeded; the tests need no better.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % count
    }
}

#[test]
fn no_template_panics() {
    let table: Value = serde_json::from_str(include_str!("go-text-template.json")).unwrap();
    let data = &table["data"];
    let templates: Vec<Vec<char>> = table["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["template"].as_str().unwrap().chars().collect())
        .collect();
    let options = RenderOptions {
        max_steps: 2_000,
        max_output_bytes: 100_000,
        ..RenderOptions::default()
    };
    let spice: Vec<char> = "{}{}-.$|()\"'`\\:=,0x9é_ \n%*abf/".chars().collect();
    let mut dice = Dice(7);
    let (mut rendered, mut refused) = (0, 0);
    for _ in 0..40_000 {
        let mut text = templates[dice.below(templates.len())].clone();
        for _ in 0..=dice.below(3) {
            let at = dice.below(text.len() + 1);
            match dice.below(4) {
                0 if at < text.len() => {
                    text.remove(at);
                }
                1 => text.insert(at, spice[dice.below(spice.len())]),
                2 => text.truncate(at),
                _ => {
                    let other = &templates[dice.below(templates.len())];
                    let from = dice.below(other.len() + 1);
                    text.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        let text: String = text.into_iter().collect();
        let result = Template::parse("t", &text, &Functions::new())
            .and_then(|template| template.render_with_notes(data, &options));
        match result {
            Ok(_) => rendered += 1,
            Err(error) => {
                assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
                refused += 1;
            }
        }
    }
    assert!(rendered > 1_000 && refused > 1_000, "{rendered} {refused}");
}
