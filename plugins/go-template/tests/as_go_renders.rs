//! What Go's own `text/template` made of the same templates and data: `go-text-template.json` holds its output.

use go_template::{Functions, RenderOptions, Template};
use serde_json::Value;

/// Go renders these; here they are errors that say so.
const NOT_SUPPORTED: [&str; 2] = ["{{0x1p4}}", "{{1i}}"];

#[test]
fn output_is_gos_and_errors_are_where_gos_are() {
    let table: Value = serde_json::from_str(include_str!("go-text-template.json")).unwrap();
    let data = &table["data"];
    let mut wrong = Vec::new();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 200);
    for case in cases {
        let text = case["template"].as_str().unwrap();
        let ours = Template::parse("case", text, &Functions::new())
            .and_then(|template| template.render(data, &RenderOptions::default()));
        let same = match (&ours, case["output"].as_str()) {
            (Ok(ours), Some(gos)) => ours == gos,
            (Err(_), None) => true,
            (Err(error), Some(_)) if NOT_SUPPORTED.contains(&text) => {
                error.message.contains("not supported")
            }
            _ => false,
        };
        if !same {
            wrong.push(format!("{text:?}\n  ours: {ours:?}\n  Go's: {case}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
