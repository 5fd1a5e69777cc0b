//! Decimal numbers with 38 exact digits: `mantissa * 10^exponent`.

/// A decimal number. Its mantissa has no trailing zero, so equal numbers are equal values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// Longest number that is written without an exponent, in digits.
const PLAIN_DIGITS: usize = 40;

impl Decimal {
    /// The number `mantissa * 10^exponent`.
    fn new(mut mantissa: i128, mut exponent: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self { mantissa: 0, exponent: 0 });
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.checked_add(1)?;
        }
        Some(Self { mantissa, exponent })
    }

    /// Reads a number as JSON writes it (RFC 8259, section 6), a leading `+` allowed. `None`: it is
    /// no number, or has more digits than fit.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (negative, number) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut mantissa: i128 = 0;
        for byte in whole.bytes().chain(fraction.trim_end_matches('0').bytes()) {
            let digit = i128::from(char::from(byte).to_digit(10)?);
            let digit = if negative { -digit } else { digit };
            mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
        }
        let places = i32::try_from(fraction.trim_end_matches('0').len()).ok()?;
        Self::new(mantissa, exponent.checked_sub(places)?)
    }

    /// The mantissa when written with a lower exponent.
    fn mantissa_at(self, exponent: i32) -> Option<i128> {
        let shift = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(shift)?)
    }

    /// The exact sum. `None`: it has too many digits.
    pub(crate) fn checked_add(self, other: Self) -> Option<Self> {
        if self.mantissa == 0 {
            return Some(other);
        }
        if other.mantissa == 0 {
            return Some(self);
        }
        let exponent = self.exponent.min(other.exponent);
        let sum = self.mantissa_at(exponent)?.checked_add(other.mantissa_at(exponent)?)?;
        Self::new(sum, exponent)
    }

    /// The exact difference. `None`: it has too many digits.
    pub(crate) fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(Self { mantissa: other.mantissa.checked_neg()?, ..other })
    }

    /// The exact product. `None`: it has too many digits.
    pub(crate) fn checked_mul(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Self::new(mantissa, self.exponent.checked_add(other.exponent)?)
    }

    /// The exact quotient. `None`: it has too many digits, or never ends, or `other` is zero.
    pub(crate) fn checked_div(self, other: Self) -> Option<Self> {
        if other.mantissa == 0 {
            return None;
        }
        let common = gcd(self.mantissa.unsigned_abs(), other.mantissa.unsigned_abs());
        let common = i128::try_from(common).ok()?;
        let numerator = self.mantissa.checked_div(common)?;
        let mut denominator = other.mantissa.checked_div(common)?;
        let twos = strip(&mut denominator, 2);
        let fives = strip(&mut denominator, 5);
        // A quotient ends if and only if its reduced denominator is made of twos and fives.
        if denominator.unsigned_abs() != 1 {
            return None;
        }
        let places = twos.max(fives);
        let mantissa = numerator
            .checked_mul(denominator)?
            .checked_mul(2_i128.checked_pow(places - twos)?)?
            .checked_mul(5_i128.checked_pow(places - fives)?)?;
        let exponent = self.exponent.checked_sub(other.exponent)?;
        Self::new(mantissa, exponent.checked_sub(i32::try_from(places).ok()?)?)
    }

    /// Whether it is zero.
    pub(crate) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// The number as JSON: no `.0`, no exponent unless it saves many zeros.
    pub(crate) fn to_json(self) -> String {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        let exponent = self.exponent;
        if let Ok(zeros) = usize::try_from(exponent)
            && digits.len() + zeros <= PLAIN_DIGITS
        {
            return format!("{sign}{digits}{}", "0".repeat(zeros));
        }
        let places = usize::try_from(exponent.unsigned_abs()).unwrap_or(usize::MAX);
        if exponent < 0 && places < PLAIN_DIGITS {
            let padded = format!("{digits:0>width$}", width = places + 1);
            let (whole, fraction) = padded.split_at(padded.len() - places);
            return format!("{sign}{whole}.{fraction}");
        }
        let (first, rest) = digits.split_at(1);
        let power = i64::from(exponent) + i64::try_from(rest.len()).unwrap_or(i64::MAX);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e{power}")
    }
}

/// Divides `number` by `factor` as often as it goes, and says how often.
fn strip(number: &mut i128, factor: i128) -> u32 {
    let mut times = 0;
    while *number % factor == 0 {
        *number /= factor;
        times += 1;
    }
    times
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn numbers_are_read_and_written_exactly() {
        for (text, json) in [
            ("42", "42"),
            ("-0", "0"),
            ("6.0", "6"),
            ("0.10", "0.1"),
            ("-12.5e1", "-125"),
            ("1e30", "1000000000000000000000000000000"),
            ("1.5e-3", "0.0015"),
            ("2.5e100", "2.5e100"),
            ("1e-50", "1e-50"),
            ("9007199254740993", "9007199254740993"),
            (
                "-170141183460469231731687303715884105728",
                "-170141183460469231731687303715884105728",
            ),
        ] {
            assert_eq!(decimal(text).to_json(), json, "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_too_long_is_refused() {
        for text in ["", "-", "x", "1e", "1.2.3", "0x10", "1 2", "NaN", &"9".repeat(60)] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn arithmetic_is_exact() {
        let (tenth, fifth) = (decimal("0.1"), decimal("0.2"));
        assert_eq!(tenth.checked_add(fifth), Some(decimal("0.3")));
        assert_eq!(tenth.checked_sub(tenth), Some(decimal("0")));
        assert_eq!(decimal("1e20").checked_mul(decimal("1e20")), Some(decimal("1e40")));
        assert_eq!(decimal("1").checked_div(decimal("8")), Some(decimal("0.125")));
        assert_eq!(decimal("-6").checked_div(decimal("0.5")), Some(decimal("-12")));
        assert_eq!(decimal("5").checked_div(decimal("-1000")), Some(decimal("-0.005")));
        assert_eq!(decimal("1").checked_div(decimal("3")), None);
        assert_eq!(decimal("1").checked_div(decimal("0")), None);
    }

    #[test]
    fn what_does_not_fit_is_none_and_never_wrong() {
        let largest = Decimal::parse(&i128::MAX.to_string()).unwrap();
        assert_eq!(largest.checked_add(decimal("1")), None);
        assert_eq!(largest.checked_mul(largest), None);
        assert_eq!(decimal("1e100").checked_add(decimal("1")), None);
        let smallest = Decimal::parse(&i128::MIN.to_string()).unwrap();
        assert_eq!(smallest.checked_div(decimal("-1")), None);
        assert_eq!(smallest.checked_sub(smallest), None);
    }
}
