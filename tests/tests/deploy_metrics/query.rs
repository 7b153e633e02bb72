//! Names and labels in a query of Prometheus. `promtool` looks at the rest of it.

/// Begin the names of what agents expose.
const PREFIXES: [&str; 2] = ["weir_", "kubeproxy_"];

/// The parts of a query that could be names, each with what follows it; texts are left out.
fn words(query: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(letter) = rest.chars().next() {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
        if letter == '"' {
            let end = rest[1..].find('"').map_or(rest.len(), |end| end + 2);
            rest = &rest[end..];
        } else if word(letter) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            found.push((rest[..end].to_owned(), &rest[end..]));
            rest = &rest[end..];
        } else {
            rest = &rest[letter.len_utf8()..];
        }
    }
    found
}

/// Series of agents that a query asks for.
pub(crate) fn series(query: &str) -> Vec<String> {
    let ours = |word: &String| PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    let names = words(query).into_iter().map(|(word, _)| word);
    names.filter(ours).collect()
}

/// Labels by which a query selects and groups.
pub(crate) fn labels(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut grouped = false;
    for (word, after) in words(query) {
        let after = after.trim_start();
        if grouped || ["=", "!=", "!~"].iter().any(|sign| after.starts_with(sign)) {
            found.push(word.clone());
        }
        grouped = match word.as_str() {
            "by" | "without" => true,
            _ => grouped && after.starts_with(','),
        };
    }
    found
}

/// Of a sample: its name and the names of its labels.
pub(crate) fn name_and_labels(sample: &str) -> (String, Vec<String>) {
    let end = sample.find(['{', ' ']).unwrap_or(sample.len());
    let inside = sample[end..].strip_prefix('{');
    let labels = inside
        .and_then(|inside| inside.rsplit_once('}'))
        .map(|(labels, _)| labels);
    (
        sample[..end].to_owned(),
        labels.map(self::labels).unwrap_or_default(),
    )
}

#[test]
fn names_and_labels_of_queries() {
    let query = r#"sum by (instance, le) (rate(weir_x_bucket{verb="A by b", code!~"0|11"}[5m])) > kubeproxy_y"#;
    assert_eq!(series(query), ["weir_x_bucket", "kubeproxy_y"]);
    assert_eq!(labels(query), ["instance", "le", "verb", "code"]);
    let (name, labels) = name_and_labels(r#"weir_x_total{reason="a=b",map="c"} 1"#);
    assert_eq!(
        (name.as_str(), labels),
        ("weir_x_total", vec!["reason".to_owned(), "map".to_owned()])
    );
}
