//! Units: what a number with a unit amounts to. In IM's dialect `K M G T` are powers of 1000 and
//! `Ki Mi Gi Ti` powers of 1024, with or without a `B`, in either case. (EC3's dialect reads `G` as
//! 1024 cubed: a dialect has its own `factor`.)

use super::syntax::Number;

/// An amount in billionths, so that decimals stay exact.
pub(super) type Nano = u128;

/// One, as an amount.
pub(super) const ONE: Nano = 1_000_000_000;

/// Why a number cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The unit is none that RADL has.
    Unit,
    /// Too large, or too many decimals.
    Range,
}

/// What a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// No unit.
    Plain,
    /// Bytes.
    Bytes,
    /// The performance of a CPU.
    Performance,
}

/// What one of `unit` amounts to, and what it measures.
pub(super) fn factor(unit: &str) -> Option<(u128, Measure)> {
    let mut lower = [0_u8; 4];
    let lower = lower.get_mut(..unit.len())?;
    lower.copy_from_slice(unit.as_bytes());
    lower.make_ascii_lowercase();
    let bytes = |factor| Some((factor, Measure::Bytes));
    match &*lower {
        b"b" => bytes(1),
        b"k" | b"kb" => bytes(1000),
        b"m" | b"mb" => bytes(1_000_000),
        b"g" | b"gb" => bytes(1_000_000_000),
        b"t" | b"tb" => bytes(1_000_000_000_000),
        b"ki" | b"kib" => bytes(1 << 10),
        b"mi" | b"mib" => bytes(1 << 20),
        b"gi" | b"gib" => bytes(1 << 30),
        b"ti" | b"tib" => bytes(1 << 40),
        b"ecu" | b"gceu" | b"hrz" => Some((1, Measure::Performance)),
        _ => None,
    }
}

/// What a unit measures; a number without one is plain.
pub(super) fn measure(number: &Number<'_>) -> Option<Measure> {
    number.unit.map_or(Some(Measure::Plain), |unit| factor(unit.text).map(|(_, measure)| measure))
}

/// What a number amounts to.
pub(super) fn amount(number: &Number<'_>) -> Result<Nano, Fault> {
    let scale = match number.unit {
        None => 1,
        Some(unit) => factor(unit.text).ok_or(Fault::Unit)?.0,
    };
    let (whole, fraction) = number.digits.split_once('.').unwrap_or((number.digits, ""));
    let fraction = fraction.trim_end_matches('0');
    // Nine decimals of the number itself are kept exactly.
    let missing = 9_usize.checked_sub(fraction.len()).ok_or(Fault::Range)?;
    let power = 10_u128.pow(u32::try_from(missing).map_err(|_| Fault::Range)?);
    let whole: u128 = whole.parse().map_err(|_| Fault::Range)?;
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| Fault::Range)? };
    let plain = whole.checked_mul(ONE).and_then(|nano| nano.checked_add(part * power));
    plain
        .and_then(|nano| nano.checked_mul(scale))
        .filter(|nano| *nano / ONE <= u128::from(u64::MAX))
        .ok_or(Fault::Range)
}

/// A whole amount.
pub(super) fn whole(nano: Nano) -> Option<u64> {
    if nano.is_multiple_of(ONE) { u64::try_from(nano / ONE).ok() } else { None }
}

/// An amount as a person writes it.
pub(super) fn show(nano: Nano) -> String {
    let fraction = nano % ONE;
    if fraction == 0 {
        return (nano / ONE).to_string();
    }
    format!("{}.{fraction:09}", nano / ONE).trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Span;
    use crate::radl::syntax::Name;

    fn read(digits: &'static str, unit: &'static str) -> Result<Nano, Fault> {
        let span = Span { start: 0, end: 0 };
        amount(&Number { digits, unit: (!unit.is_empty()).then_some(Name { text: unit, span }), span })
    }

    #[test]
    fn units_of_im() {
        for (digits, unit, want) in [
            ("4", "g", 4_000_000_000),
            ("4", "GB", 4_000_000_000),
            ("4", "GiB", 4 << 30),
            ("1.5", "Ki", 1536),
            ("2", "Ti", 2 << 40),
            ("7", "", 7),
            ("7.", "", 7),
            ("3", "ECU", 3),
        ] {
            assert_eq!(read(digits, unit).map(whole), Ok(Some(want)), "{digits} {unit}");
        }
        assert_eq!(read("0.5", "").map(whole), Ok(None));
        assert_eq!(read("0.5", "").map(show), Ok("0.5".to_owned()));
        assert_eq!(read("1", "e5"), Err(Fault::Unit), "an exponent is no unit");
        assert_eq!(read("1", "gigabytes"), Err(Fault::Unit));
        assert_eq!(read("99999999999999999999999999999999999999999", ""), Err(Fault::Range));
        assert_eq!(read("18446744073709551616", ""), Err(Fault::Range));
        assert_eq!(read("0.0000000001", ""), Err(Fault::Range));
    }
}
