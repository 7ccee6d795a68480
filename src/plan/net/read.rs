//! Values of a spec, read.

use std::net::IpAddr;

use super::{ANSWERED, NetworkPlanError};
use crate::spec::ZoneSpec;

/// Returns the addresses that the zone has although another machine answers for them.
pub fn answered(spec: &ZoneSpec) -> Result<Vec<IpAddr>, NetworkPlanError> {
    let texts = spec.attrs(ANSWERED).flat_map(|v| v.split(',')).map(str::trim);
    let read = |text: &str| {
        let why =
            || NetworkPlanError::new(format!("attr name={ANSWERED}"), format!("'{text}' is no address"));
        text.parse().map_err(|_| why())
    };
    texts.map(read).collect()
}

/// Reads a bandwidth in bits per second: a number with a suffix, powers of 1,000. No suffix is M, as
/// dladm(8) has it.
pub fn bandwidth(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = match text.chars().last()?.to_ascii_uppercase() {
        'K' => (&text[..text.len() - 1], 1_000.0),
        'M' => (&text[..text.len() - 1], 1_000_000.0),
        'G' => (&text[..text.len() - 1], 1_000_000_000.0),
        _ => (text, 1_000_000.0),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let bits = number.parse::<f64>().ok().filter(|_| plain)? * unit;
    // The limits: a byte per millisecond, and more than any link has.
    (8_000.0..=1e15).contains(&bits).then_some(bits as u64)
}
