//! Quantities of Kubernetes
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>), as whole numbers.

/// The value, rounded up. Beyond what fits it is the largest or the least that does.
pub fn value(text: &str) -> Result<i128, String> {
    parse(text).ok_or_else(|| format!("`{text}` is not a quantity such as 500k, 10M, 1.5G or 64Mi"))
}

fn parse(text: &str) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = rest.split_at(end.unwrap_or(rest.len()));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let digits: String = [whole, fraction].concat();
    let (base, exponent) = scale(suffix)?;
    let shift = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
    let mut value = digits
        .parse::<i128>()
        .unwrap_or(i128::MAX)
        .saturating_mul(base);
    if negative {
        value = -value;
    }
    Some(shifted(value, shift))
}

/// A factor, and a power of ten.
fn scale(suffix: &str) -> Option<(i128, i64)> {
    let decimal = |exponent| Some((1, exponent));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => Some((1 << 10, 0)),
        "Mi" => Some((1 << 20, 0)),
        "Gi" => Some((1 << 30, 0)),
        "Ti" => Some((1 << 40, 0)),
        "Pi" => Some((1 << 50, 0)),
        "Ei" => Some((1 << 60, 0)),
        other => decimal(other.strip_prefix(['e', 'E'])?.parse().ok()?),
    }
}

/// `value` times ten to the power of `shift`, rounded up.
fn shifted(mut value: i128, shift: i64) -> i128 {
    let mut is_exact = true;
    for _ in 0..shift.unsigned_abs().min(64) {
        if shift > 0 {
            value = value.saturating_mul(10);
        } else {
            is_exact &= value % 10 == 0;
            value /= 10;
        }
    }
    if is_exact || value < 0 {
        value
    } else {
        value + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suffix_has_its_value() {
        for (text, expected) in [
            ("0", 0),
            ("1", 1),
            ("10M", 10_000_000),
            ("1.5k", 1500),
            ("1Gi", 1 << 30),
            ("1P", 1_000_000_000_000_000),
            ("2E", 2_000_000_000_000_000_000),
            ("1e6", 1_000_000),
            ("1E3", 1000),
            ("12e-1", 2),
            ("1m", 1),
            ("1001m", 2),
            ("-5", -5),
            ("-1500m", -1),
            ("+7", 7),
            (".5k", 500),
            ("5.", 5),
            ("1e400", i128::MAX),
            ("0e400", 0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in [
            "", "M", "10MB", "10 M", "ten", "1..2", "1.2.3", "--1", "1e", "0x10", "10Mbit",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }
}
