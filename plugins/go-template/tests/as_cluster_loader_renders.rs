//! What ClusterLoader2's own functions made of the same templates and data: `cluster-loader.json` holds its output.
//!
//! Left out: `YamlQuote` of texts that begin with a line break, which ClusterLoader2 indents into other texts.

use std::sync::Arc;

use go_template::functions::cluster_loader;
use go_template::{Functions, RenderOptions, Template};
use serde_json::{Value, json};

fn functions(seed: u64) -> Functions {
    let read_file = |path: &str| match path {
        "a.yaml" => Ok("kind: Pod".to_owned()),
        other => Err(format!("there is no file {other}")),
    };
    cluster_loader::functions(seed, Arc::new(read_file))
}

fn render(text: &str, data: &Value, functions: &Functions) -> Result<String, String> {
    Template::parse("case", text, functions)
        .and_then(|template| template.render(data, &RenderOptions::default()))
        .map_err(|error| error.to_string())
}

#[test]
fn output_is_cluster_loaders() {
    let table: Value = serde_json::from_str(include_str!("cluster-loader.json")).unwrap();
    let functions = functions(1);
    let mut wrong = Vec::new();
    for case in table["cases"].as_array().unwrap() {
        let text = case["template"].as_str().unwrap();
        let ours = render(text, &table["data"], &functions);
        let same = match (&ours, case["output"].as_str()) {
            (Ok(ours), Some(theirs)) if ours == theirs => true,
            // Quoted where that reader of YAML needs no quotes, for the sake of others.
            (Ok(ours), Some(theirs)) if text.contains("YamlQuote (") => {
                let read = |text: &str| -> String {
                    serde_yaml::from_str(text.trim_end_matches('|')).unwrap()
                };
                read(ours) == read(theirs)
            }
            (Err(_), None) => true,
            _ => false,
        };
        if !same {
            wrong.push(format!("{text:?}\n  ours:   {ours:?}\n  theirs: {case}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn random_values_repeat_with_the_seed_and_stay_in_bounds() {
    let text = "{{range 200}}{{RandInt 3}} {{RandIntRange -2 2}} {{end}}{{RandData 40}}";
    let with = |seed| render(text, &json!({}), &functions(seed)).unwrap();
    assert_eq!(with(1), with(1));
    assert_ne!(with(1), with(2));
    let text = with(3);
    let numbers: Vec<i64> = text
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    assert_eq!(numbers.len(), 400);
    for pair in numbers.chunks(2) {
        assert!(
            (0..=3).contains(&pair[0]) && (-2..=2).contains(&pair[1]),
            "{pair:?}"
        );
    }
    for bound in [0, 3] {
        assert!(numbers.chunks(2).any(|pair| pair[0] == bound));
    }
    for bound in [-2, 2] {
        assert!(numbers.chunks(2).any(|pair| pair[1] == bound));
    }
    let data = text.rsplit(' ').next().unwrap();
    assert!(data.len() == 40 && data.chars().all(|c| c.is_ascii_alphanumeric()));
}

#[test]
fn files_come_from_the_caller() {
    let functions = functions(1);
    let data = json!({"file": "a.yaml"});
    assert_eq!(
        render("{{IncludeFile .file}}", &data, &functions).unwrap(),
        "kind: Pod"
    );
    assert_eq!(
        render("{{IncludeEmbedFile \"a.yaml\"}}", &data, &functions).unwrap(),
        "kind: Pod"
    );
    assert_eq!(
        render("{{IncludeFile \"b\"}}", &data, &functions).unwrap_err(),
        "case:1:3: error calling IncludeFile: unable to read file: there is no file b"
    );
}

#[test]
fn lists_are_bounded() {
    let error = render("{{Loop 1e12}}", &json!({}), &functions(1)).unwrap_err();
    assert!(error.contains("is not within 0 to"), "{error}");
    let error = render(
        "{{range 100}}{{len (Loop 4000000)}}{{end}}",
        &json!({}),
        &functions(1),
    );
    assert!(error.unwrap_err().contains("steps"));
}
