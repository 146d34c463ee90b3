//! The ASCII form of an internationalized host name (Punycode, RFC 3492, and the prefix `xn--` of RFC 5890), for a suggestion.
//!
//! Of IDNA's mapping it only lower-cases: the tables of the whole mapping are larger than the filter.

/// Returns the host in lower case, with each label that is not ASCII encoded, as browsers send it. `None` if a label has more than 63
/// characters.
pub fn host_to_ascii(host: &str) -> Option<String> {
    // Each character on its own: `str::to_lowercase` writes a final sigma in another way, and browsers do not.
    let lower: String = host.chars().flat_map(char::to_lowercase).collect();
    let labels: Option<Vec<String>> = lower.split('.').map(label_to_ascii).collect();
    Some(labels?.join("."))
}

fn label_to_ascii(label: &str) -> Option<String> {
    if label.is_ascii() {
        return Some(label.to_owned());
    }
    // Host names have no longer label, and the time to encode one is quadratic in its length.
    let fits = label.chars().count() <= 63;
    fits.then(|| encode(label))
        .flatten()
        .map(|encoded| format!("xn--{encoded}"))
}

const BASE: u32 = 36;
const T_MIN: u32 = 1;
const T_MAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;
const INITIAL_BIAS: u32 = 72;
const INITIAL_N: u32 = 128;

/// RFC 3492, section 6.3.
fn encode(label: &str) -> Option<String> {
    let mut output: String = label.chars().filter(char::is_ascii).collect();
    let basic = u32::try_from(output.len()).ok()?;
    let total = u32::try_from(label.chars().count()).ok()?;
    if basic > 0 {
        output.push('-');
    }
    let (mut n, mut delta, mut bias, mut handled) = (INITIAL_N, 0u32, INITIAL_BIAS, basic);
    while handled < total {
        let next = label.chars().map(u32::from).filter(|&c| c >= n).min()?;
        delta = delta.checked_add((next - n).checked_mul(handled + 1)?)?;
        n = next;
        for c in label.chars().map(u32::from) {
            if c < n {
                delta = delta.checked_add(1)?;
            }
            if c == n {
                push_integer(&mut output, delta, bias);
                bias = adapt(delta, handled + 1, handled == basic);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        n += 1;
    }
    Some(output)
}

fn push_integer(output: &mut String, mut value: u32, bias: u32) {
    for k in (BASE..).step_by(BASE as usize) {
        let threshold = k.saturating_sub(bias).clamp(T_MIN, T_MAX);
        if value < threshold {
            break;
        }
        output.extend(digit(threshold + (value - threshold) % (BASE - threshold)));
        value = (value - threshold) / (BASE - threshold);
    }
    output.extend(digit(value));
}

fn digit(value: u32) -> Option<char> {
    char::from_digit(value + if value < 26 { 10 } else { 0 }, BASE)
        .filter(|_| value < 26)
        .or_else(|| char::from_digit(value.checked_sub(26)?, 10))
}

/// RFC 3492, section 6.1.
fn adapt(delta: u32, points: u32, first: bool) -> u32 {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta += delta / points;
    let mut k = 0;
    while delta > ((BASE - T_MIN) * T_MAX) / 2 {
        delta /= BASE - T_MIN;
        k += BASE;
    }
    k + (BASE - T_MIN + 1) * delta / (delta + SKEW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_what_browsers_send() {
        for (host, ascii) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("Bücher.Example", "xn--bcher-kva.example"),
            ("münchen.de", "xn--mnchen-3ya.de"),
            ("例え.jp", "xn--r8jz45g.jp"),
            ("他们为什么不说中文.com", "xn--ihqwcrb4cv8a8dqg056pqjye.com"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            (
                "安室奈美恵-with-super-monkeys.example",
                "xn---with-super-monkeys-pc58ag80a8qai00g7n9n.example",
            ),
            // The bias adapts over one more round, or over none.
            ("abcàźб.example", "xn--abc-cla48ef3j.example"),
            ("abcëŭéб.example", "xn--abc-dmaj49eh4m.example"),
            ("ΟΔΟΣ.example", "xn--pxavbq.example"),
            ("plain.example", "plain.example"),
        ] {
            assert_eq!(host_to_ascii(host).as_deref(), Some(ascii), "{host}");
        }
    }
}
