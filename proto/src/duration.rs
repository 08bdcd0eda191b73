//! Durations as people write them: `90s`, `30m`, `8h`, `1h30m`.

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDuration {
    /// Not of the form `1h30m`.
    #[error("a duration is written like 90s, 30m, 8h or 1h30m")]
    Form,
    /// A number without a unit.
    #[error("a duration needs a unit: 90s, 30m, 8h or 1h30m")]
    NoUnit,
    /// More seconds than 32 bits hold.
    #[error("the duration is too long")]
    TooLong,
    /// Zero where something must last.
    #[error("the duration must be longer than zero")]
    Zero,
}

/// Seconds per unit, from the largest to the smallest; in a duration they stand in this order.
const UNITS: [(char, u32); 3] = [('h', 3600), ('m', 60), ('s', 1)];

/// Reads a duration, zero included, as seconds.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<u32, InvalidDuration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidDuration::NoUnit);
    }
    let mut rest = text;
    let mut total: u32 = 0;
    for (unit, seconds) in UNITS {
        let Some((number, after)) = rest.split_once(unit) else {
            continue;
        };
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDuration::Form);
        }
        let number: u32 = number.parse().map_err(|_| InvalidDuration::TooLong)?;
        total = number
            .checked_mul(seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or(InvalidDuration::TooLong)?;
        rest = after;
    }
    if rest.is_empty() && !text.is_empty() {
        Ok(total)
    } else {
        Err(InvalidDuration::Form)
    }
}

/// Reads a duration that is longer than zero, as seconds.
///
/// # Errors
/// What is wrong with it.
pub fn parse_positive(text: &str) -> Result<u32, InvalidDuration> {
    match parse(text)? {
        0 => Err(InvalidDuration::Zero),
        seconds => Ok(seconds),
    }
}

/// Writes seconds the way [`parse`] reads them.
#[must_use]
pub fn format(seconds: u32) -> String {
    let mut text = String::new();
    let mut rest = seconds;
    for (unit, size) in UNITS {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("90s", 90),
            ("30m", 1800),
            ("8h", 28_800),
            ("1h30m", 5400),
            ("1h1m1s", 3661),
            ("1h5s", 3605),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "h", "m5", "5x", "-5m", "+5m", "1.5h", " 5m", "5m ", "30m1h", "5m5m", "1hm", "٣m",
        ] {
            assert_eq!(parse(text), Err(InvalidDuration::Form), "{text:?}");
        }
        assert_eq!(parse("300"), Err(InvalidDuration::NoUnit));
        for text in ["4294967296s", "99999999999999999999h", "1193047h"] {
            assert_eq!(parse(text), Err(InvalidDuration::TooLong), "{text}");
        }
        assert_eq!(parse_positive("0h"), Err(InvalidDuration::Zero));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 1, 59, 60, 61, 3600, 5400, 86_400, u32::MAX] {
            assert_eq!(parse(&format(seconds)), Ok(seconds));
        }
        assert_eq!(format(5400), "1h30m");
    }
}
