//! Values that are told as text: by flags and by the environment.

use serde_json::Value;

use super::{
    Configuration, Fault, Origin,
    definition::{Setting, Shape, join, put},
    effective::Given,
};

/// The value that a text stands for, if the setting takes it.
pub(super) fn given(setting: &Setting, text: &str, origin: Origin) -> Result<Given, Fault> {
    let value =
        value(setting, text).map_err(|cause| Fault::value(origin.clone(), &setting.path, cause))?;
    if let Err((path, cause)) = try_alone(&setting.path, &value) {
        return Err(Fault::value(origin, &path, cause));
    }
    Ok(Given {
        path: setting.path.clone(),
        value,
        origin,
    })
}

fn value(setting: &Setting, text: &str) -> Result<Value, String> {
    Ok(match setting.shape {
        Shape::Bool => Value::Bool(
            text.parse()
                .map_err(|_none| format!("`{text}` is neither true nor false"))?,
        ),
        Shape::Number => {
            let number: u64 = text
                .parse()
                .map_err(|_none| format!("`{text}` is not a whole number"))?;
            number.into()
        }
        Shape::Text if text.is_empty() && setting.default.is_null() => Value::Null,
        Shape::Text => text.into(),
        Shape::List => list(text),
    })
}

/// `a,b`, or as YAML has it: `[a, b]`. Nothing is the empty list.
fn list(text: &str) -> Value {
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let items = inner.unwrap_or(text).split(',').map(str::trim);
    let items = items.filter(|item| !item.is_empty());
    items
        .map(|item| Value::from(item.trim_matches('"')))
        .collect()
}

/// Whether a configuration with nothing but this value can be read; else what of it cannot, and why.
pub(super) fn try_alone(path: &str, value: &Value) -> Result<(), (String, String)> {
    let mut tree = Value::Object(serde_json::Map::new());
    put(&mut tree, path, value.clone());
    match serde_path_to_error::deserialize::<_, Configuration>(tree) {
        Ok(_) => Ok(()),
        Err(error) => {
            let place = error.path().to_string();
            let place = if place == "." { join("", path) } else { place };
            Err((place, error.into_inner().to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::definition::DEFINITION;

    fn read(path: &str, text: &str) -> Result<Value, String> {
        let setting = DEFINITION.setting(path).unwrap();
        let origin = Origin::Flag("--set".to_owned());
        given(setting, text, origin)
            .map(|given| given.value)
            .map_err(|fault| format!("{fault}; {}", fault.hint))
    }

    #[test]
    fn every_default_can_be_told_as_text() {
        for setting in &DEFINITION.settings {
            let text = match &setting.default {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(
                read(&setting.path, &text).as_ref(),
                Ok(&setting.default),
                "{}",
                setting.path
            );
        }
    }

    #[test]
    fn texts_of_every_shape() {
        let expected = json!(["eth*", "wg?"]);
        for text in ["eth*,wg?", "[eth*, wg?]", "[\"eth*\",\"wg?\"]"] {
            assert_eq!(read("node.links.include", text), Ok(expected.clone()));
        }
        assert_eq!(read("maps.cidrs", "7"), Ok(json!(7)));
        for (path, text, expected) in [
            (
                "maps.cidrs",
                "-1",
                "--set: maps.cidrs: `-1` is not a whole number; maps.cidrs takes number, and is 0 unless told",
            ),
            (
                "cni.install",
                "yes",
                "--set: cni.install: `yes` is neither true nor false; cni.install takes true or false, and is false unless told",
            ),
            (
                "node.podCIDRs",
                "10.0.0.0/8,300.0.0.0/8",
                "--set: node.podCIDRs[1]: invalid address: 300.0.0.0/8; node.podCIDRs takes list of CIDR, and is [] unless told",
            ),
        ] {
            assert_eq!(read(path, text), Err(expected.to_owned()));
        }
        let huge = read("maps.size", "huge").unwrap_err();
        assert!(
            huge.starts_with("--set: maps.size: unknown variant `huge`"),
            "{huge}"
        );
        assert!(huge.contains("takes large or small"), "{huge}");
    }
}
