//! Takes out of texts what nobody else may know: keys, certificates, tokens, passwords.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::{Captures, Regex};

/// What stands in the place of a secret.
pub const REDACTED: &str = "(redacted)";

/// Patterns of which everything is a secret but the groups `before` and `after`, and the quotes around `value`. With `file`
/// the value is where a secret is, which is none.
const PATTERNS: [&str; 7] = [
    // PEM, also as JSON has it, with `\n` for the ends of lines; and what is left of one that begins or ends elsewhere.
    r"(?s)(?P<before>-----BEGIN [A-Z0-9 ]+-----).*?(?P<after>-----END [A-Z0-9 ]+-----)",
    r"(?s)(?P<before>-----BEGIN [A-Z0-9 ]+-----)[^-]*$",
    r"(?s)^[A-Za-z0-9+/=\s]+(?P<after>-----END [A-Z0-9 ]+-----)",
    // JSON Web Tokens: those of service accounts.
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
    // Headers of HTTP.
    r"(?i)(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}",
    // User and password of a URL.
    r"(?P<before>[a-z][a-z0-9+.-]*://)[^\s/@]+:[^\s/@]+(?P<after>@)",
    // Fields by their names, as YAML, JSON, environments and command lines have them. A field whose value is in quotes ends with
    // them, another one with the line's next space. An object or a list is no value: those within have names of their own.
    r#"(?i)(?P<before>[\w.-]*(?:token|password|passwd|passphrase|secret|private[_-]?key|preshared[_-]?key|api[_-]?key|access[_-]?key|fastopen[_-]?key|client-key-data|client-certificate-data|certificate-authority-data|authorization)(?P<file>[_-]?file)?[\w.-]*\\?["']?\s*[:=]\s*)(?P<value>\\"[^"\\]*\\"|"(?:[^"\\]|\\.)*"|'[^']*'|[{\[]?[^\s,}\]{\["'][^\s,}\]"']*)"#,
];

static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = PATTERNS.iter();
    patterns
        .filter_map(|pattern| Regex::new(pattern).ok())
        .collect()
});

/// Keys of WireGuard, private ones as public ones: 32 bytes in base64.
static KEYS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=").ok());

/// Takes secrets out of texts.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    known: Vec<String>,
    public: Vec<String>,
}

impl Redactor {
    /// One that knows these secrets beside those that it finds by their looks, and keys that are no secrets.
    pub fn new(known: Vec<String>, public: Vec<String>) -> Self {
        let known = known.into_iter().filter(|secret| secret.len() > 3);
        Self {
            known: known.collect(),
            public,
        }
    }

    /// The text without secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.known {
            text = text.replace(secret, REDACTED);
        }
        for pattern in COMPILED.iter() {
            text = pattern.replace_all(&text, in_between).into_owned();
        }
        if let Some(keys) = &*KEYS {
            let judge = |found: &Captures<'_>| self.judge(&found[0]);
            text = keys.replace_all(&text, judge).into_owned();
        }
        text
    }

    /// Leaves what is known to be public, or is no key.
    fn judge(&self, found: &str) -> String {
        let is_public = self.public.iter().any(|key| key == found);
        let is_key = STANDARD.decode(found).is_ok_and(|bytes| bytes.len() == 32);
        if is_key && !is_public {
            REDACTED.to_owned()
        } else {
            found.to_owned()
        }
    }
}

fn in_between(found: &Captures<'_>) -> String {
    if found.name("file").is_some() {
        return found[0].to_owned();
    }
    let group = |name: &str| found.name(name).map_or("", |group| group.as_str());
    let quote = quote(group("value")).or_else(|| quote_of_key(group("before")));
    let quote = quote.unwrap_or_default();
    format!(
        "{}{quote}{REDACTED}{quote}{}",
        group("before"),
        group("after")
    )
}

const QUOTES: [&str; 3] = ["\\\"", "\"", "'"];

/// What a value is quoted with, so that JSON stays JSON.
fn quote(value: &str) -> Option<&'static str> {
    QUOTES.into_iter().find(|quote| value.starts_with(quote))
}

/// What the key is quoted with: of a number in JSON, say.
fn quote_of_key(before: &str) -> Option<&'static str> {
    let key = before.trim_end().strip_suffix([':', '='])?.trim_end();
    QUOTES.into_iter().find(|quote| key.ends_with(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(text: &str) -> String {
        Redactor::new(vec!["hunter2".to_owned()], Vec::new()).clean(text)
    }

    #[test]
    fn all_patterns_are_sound() {
        assert_eq!(COMPILED.len(), PATTERNS.len());
        assert!(KEYS.is_some());
    }

    #[test]
    fn json_stays_json() {
        for text in [
            r#"{"token": "a b\"c", "x": 1}"#,
            r#"{"said": "{\"token\":\"abcd\",\"x\":1}"}"#,
            r#"{"password": "", "privateKeyFile": "/etc/tls.key"}"#,
            r#"{"token": 3600, "x": 1}"#,
            r#"{"automountServiceAccountToken": true}"#,
            r#"{"secrets":null,"said": "{\"token\":1}"}"#,
            "{\"serviceAccountToken\": {\n \"secret\": \"a\", \"tokens\": [\n {\"x\": 1}]}}",
            r#"{"tokens":["x"],"secret":{"password":"b"}}"#,
        ] {
            let cleaned = clean(text);
            assert!(cleaned.contains(REDACTED), "{cleaned}");
            let read = serde_json::from_str::<serde_json::Value>(&cleaned);
            assert!(read.is_ok(), "{cleaned}");
        }
    }

    #[test]
    fn where_a_secret_is_is_none() {
        for text in [
            "privateKeyFile: /etc/tls.key",
            "--token-file=/run/token",
            "keyFile: \"\"",
        ] {
            assert_eq!(clean(text), text);
        }
    }

    #[test]
    fn secrets_of_each_kind_are_taken_out() {
        let key = STANDARD.encode([7; 32]);
        let pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nAbc=\n-----END EC PRIVATE KEY-----";
        let jwt = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2lnbmF0dXJl";
        for (text, secrets) in [
            (pem.to_owned(), vec!["MHcCAQEE", "Abc="]),
            (pem.replace('\n', "\\n"), vec!["MHcCAQEE", "Abc="]),
            (
                "MHcCAQEE\nAbc=\n-----END KEY-----".to_owned(),
                vec!["MHcCAQEE", "Abc="],
            ),
            (
                "x -----BEGIN KEY-----\nMHcCAQEE\n".to_owned(),
                vec!["MHcCAQEE"],
            ),
            (format!("got {jwt}, and"), vec![jwt, "c2lnbmF0dXJl"]),
            (
                "Authorization: Bearer abcdef0123".to_owned(),
                vec!["abcdef0123"],
            ),
            ("https://me:pass1@host/x".to_owned(), vec!["me:", "pass1"]),
            ("  password: open sesame".to_owned(), vec!["open"]),
            (
                "{\"token\": \"a b\\\"c\", \"x\": 1}".to_owned(),
                vec!["a b", "c\""],
            ),
            ("{\\\"token\\\":\\\"abcd\\\"}".to_owned(), vec!["abcd"]),
            ("WEIR_API_KEY=abcd --x".to_owned(), vec!["abcd"]),
            ("password={abcd".to_owned(), vec!["abcd"]),
            ("token: [abcd]".to_owned(), vec!["abcd"]),
            (
                "client-key-data: TFM0dExTMUNSVWRK".to_owned(),
                vec!["TFM0dExTMUNSVWRK"],
            ),
            ("tcp_fastopen_key = 1-2-3-4".to_owned(), vec!["1-2-3-4"]),
            ("stable_secret = fe80::1".to_owned(), vec!["fe80::1"]),
            (format!("PrivateKey = {key}"), vec![key.as_str()]),
            (format!("somewhere {key} stands"), vec![key.as_str()]),
            ("it is hunter2!".to_owned(), vec!["hunter2"]),
        ] {
            let cleaned = clean(&text);
            assert!(cleaned.contains(REDACTED), "{text}: {cleaned}");
            for secret in secrets {
                assert!(!cleaned.contains(secret), "{text}: {cleaned}");
            }
        }
    }

    #[test]
    fn all_else_stays() {
        let key = STANDARD.encode([9; 32]);
        let redactor = Redactor::new(Vec::new(), vec![key.clone()]);
        for text in [
            &format!("peer {key}"),
            "https://192.0.2.1:6443/readyz",
            "{\"name\": \"web\", \"x\": 1}",
            "0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(redactor.clean(text), text);
        }
        let rest = clean("{\"token\": \"abcd\", \"x\": 1}");
        assert_eq!(rest, "{\"token\": \"(redacted)\", \"x\": 1}");
    }
}
