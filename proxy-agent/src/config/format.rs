//! What the schema says about values that are written as text.

/// The schema of a type that serde reads from text; the format is also its name in the reference.
macro_rules! text_schema {
    ($name:ident, $format:literal $(, pattern = $pattern:expr)?) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "format": $format
                    $(, "pattern": $pattern)?
                })
            }
        }
    };
}
pub(super) use text_schema;

/// An address as a regular expression.
macro_rules! address_pattern {
    (v4) => {
        r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])){3}"
    };
    (v6) => {
        r"[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+"
    };
}
pub(super) use address_pattern;

/// The length of a prefix as a regular expression: no longer than an address.
macro_rules! length_pattern {
    (v4) => {
        r"/(3[0-2]|[12]?[0-9])"
    };
    (v6) => {
        r"/(12[0-8]|1[01][0-9]|[1-9]?[0-9])"
    };
}
pub(super) use length_pattern;

/// The schema of an `IpNetwork`, which is of another crate. Without a length it is one address.
pub(super) struct Cidr;

text_schema!(
    Cidr,
    "CIDR",
    pattern = concat!(
        "^(",
        address_pattern!(v4),
        "(",
        length_pattern!(v4),
        ")?|",
        address_pattern!(v6),
        "(",
        length_pattern!(v6),
        ")?)$"
    )
);
