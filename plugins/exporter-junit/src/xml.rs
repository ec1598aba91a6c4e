//! JUnit's XML, laid out as ClusterLoader2's.
//!
//! Enters: cases with texts from anywhere. Leaves: a well-formed XML 1.0 document: what XML reserves is escaped, line
//! breaks in attributes survive the reader, and characters that XML 1.0 forbids in any form are left out.

use std::fmt::{self, Write};

use crate::cases::{Case, Suite};

/// The whole document.
pub(crate) fn document(suite: &Suite) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut text, suite);
    text
}

fn write(to: &mut String, suite: &Suite) -> fmt::Result {
    writeln!(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    let name = Escaped(&suite.name);
    writeln!(
        to,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{}\">",
        suite.cases.len(),
        suite.failed(),
        seconds(suite.length_ns)
    )?;
    for case in &suite.cases {
        write_case(to, case, &name)?;
    }
    writeln!(to, "  </testsuite>")
}

fn write_case(to: &mut String, case: &Case, class: &Escaped<'_>) -> fmt::Result {
    writeln!(
        to,
        "      <testcase name=\"{}\" classname=\"{class}\" time=\"{}\">",
        Escaped(&case.name),
        seconds(case.length_ns)
    )?;
    if !case.failures.is_empty() {
        writeln!(
            to,
            "          <failure type=\"Failure\">{}</failure>",
            Escaped(&case.failures.join("\n"))
        )?;
    }
    writeln!(to, "      </testcase>")
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Text that may stand in an attribute and between tags.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&#34;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' => f.write_str("&#x9;")?,
                '\n' => f.write_str("&#xA;")?,
                '\r' => f.write_str("&#xD;")?,
                c if is_allowed(c) => f.write_char(c)?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// `Char` of XML 1.0 without the three that are escaped; surrogates are no `char`.
fn is_allowed(c: char) -> bool {
    c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(text: &str) -> Suite {
        Suite {
            name: text.to_owned(),
            length_ns: 1_500_000_000,
            cases: vec![
                Case {
                    name: text.to_owned(),
                    length_ns: 250,
                    failures: vec![text.to_owned(), text.to_owned()],
                },
                Case {
                    name: "passes".to_owned(),
                    length_ns: 0,
                    failures: Vec::new(),
                },
            ],
        }
    }

    /// Every character there is below U+10000, and some above.
    #[test]
    fn any_text_comes_back_without_what_xml_forbids() {
        let all: String = (0..=0xffff_u32)
            .chain([0x1_0000, 0x1_f600, 0x10_fffd, 0x10_ffff])
            .filter_map(char::from_u32)
            .chain("]]> <!-- --> <![CDATA[ &amp; &#0;".chars())
            .collect();
        let kept: String = all
            .chars()
            .filter(|c| {
                matches!(*c, '\t' | '\n' | '\r')
                    || (*c >= ' ' && *c != '\u{fffe}' && *c != '\u{ffff}')
            })
            .collect();
        let text = document(&suite(&all));
        let parsed = roxmltree::Document::parse(&text).unwrap();
        let root = parsed.root_element();
        assert_eq!(root.attribute("name"), Some(kept.as_str()));
        let case = root.first_element_child().unwrap();
        assert_eq!(case.attribute("name"), Some(kept.as_str()));
        assert_eq!(case.attribute("classname"), Some(kept.as_str()));
        let failure = case.first_element_child().unwrap();
        assert_eq!(failure.text().unwrap(), format!("{kept}\n{kept}"));
    }

    #[test]
    fn the_layout_is_clusterloader2_s() {
        assert_eq!(
            document(&suite("a")),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             \x20 <testsuite name=\"a\" tests=\"2\" failures=\"1\" errors=\"0\" time=\"1.5\">\n\
             \x20     <testcase name=\"a\" classname=\"a\" time=\"0.00000025\">\n\
             \x20         <failure type=\"Failure\">a&#xA;a</failure>\n\
             \x20     </testcase>\n\
             \x20     <testcase name=\"passes\" classname=\"a\" time=\"0\">\n\
             \x20     </testcase>\n\
             \x20 </testsuite>\n"
        );
    }
}
