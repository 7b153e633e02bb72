//! What the schema says about values that are written as text.

/// The schema of a type that serde reads from text; the format is also its name in the reference.
macro_rules! text_schema {
    ($name:ident, $format:literal $(, pattern = $pattern:literal)?) => {
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

/// The schema of an `IpNetwork`, which is of another crate.
pub(super) struct Cidr;

text_schema!(Cidr, "CIDR");
