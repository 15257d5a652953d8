//! Amounts of money, in the currency that the user configured, else in units.

/// An amount with two digits that say something, and its currency: `1.50 EUR`, `0.07 units`.
pub fn cost(units: f64, currency: Option<&str>) -> String {
    format!("{} {}", amount(units), currency.unwrap_or("units"))
}

/// The number alone, where its currency is said already: `0.0012`; `0` for none.
pub fn amount(units: f64) -> String {
    if !units.is_finite() || units <= 0.0 {
        return "0".into();
    }
    let decimals = if units >= 0.1 {
        2
    } else {
        (1.0 - units.max(1e-9).log10().floor()) as usize
    };
    let text = format!("{units:.decimals$}");
    // 0.070 says no more than 0.07.
    match text.strip_suffix('0') {
        Some(shorter) if decimals > 2 => shorter.into(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_never_nothing() {
        for (units, text) in [
            (0.0, "0"),
            (f64::NAN, "0"),
            (12.0, "12.00"),
            (0.25, "0.25"),
            (0.07, "0.07"),
            (0.0716, "0.072"),
            (0.00123, "0.0012"),
            (1e-9, "0.000000001"),
        ] {
            assert_eq!(amount(units), text);
        }
        assert_eq!(cost(0.0716, Some("EUR")), "0.072 EUR");
        assert_eq!(cost(0.0716, None), "0.072 units");
    }
}
