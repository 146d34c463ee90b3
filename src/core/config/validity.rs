//! The dates at which a key, or one of its entries, stops being valid.

use super::config_path::ConfigPath;
use super::diagnostic::{DiagnosticKind, Diagnostics, Message};
use super::timestamp::Timestamp;

/// What has an `expires_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A key as a whole.
    Key,
    /// One entry of its `api_key`.
    Entry,
}

enum ExpiryDiagnosticKind {
    /// `expires_at` is not after `not_before`.
    NeverValid,
    /// `expires_at` is past.
    Expired,
    /// `expires_at` is near.
    ExpiresSoon,
}

struct ExpiryDiagnostic(Subject, ExpiryDiagnosticKind);

impl DiagnosticKind for ExpiryDiagnostic {
    fn message(&self) -> Message {
        use ExpiryDiagnosticKind::{Expired, ExpiresSoon, NeverValid};
        match self {
            Self(Subject::Key, NeverValid) => Message::error(
                "expires_at is not after not_before, so the key is never valid",
                "set expires_at to a later time",
            ),
            Self(Subject::Entry, NeverValid) => Message::error(
                "expires_at is not after the key's not_before, so the entry is never valid",
                "set expires_at to a later time, or take the entry out",
            ),
            Self(Subject::Key, Expired) => Message::warning(
                "the key has expired, so every request with it is refused",
                "take the key out, or set a later expires_at",
            ),
            Self(Subject::Entry, Expired) => Message::warning(
                "the entry has expired, so every request with it is refused",
                "take the entry out, or set a later expires_at",
            ),
            Self(Subject::Key, ExpiresSoon) => Message::warning(
                "the key expires within two weeks",
                "make the next key now, or set a later expires_at",
            ),
            Self(Subject::Entry, ExpiresSoon) => Message::warning(
                "the entry expires within two weeks",
                "bring another entry of the key to its clients now, or set a later expires_at",
            ),
        }
    }
}

/// Checks an `expires_at`, which is at `path`, against the key's `not_before` and the current time.
pub fn check_expiry(
    subject: Subject,
    not_before: Option<Timestamp>,
    expires_at: Timestamp,
    now: Timestamp,
    path: &ConfigPath<'_>,
    diagnostics: &mut Diagnostics,
) {
    /// Two weeks: time to make the next key and to bring it to its clients.
    const SOON_SECONDS: i64 = 14 * 86_400;
    if not_before.is_some_and(|begin| expires_at <= begin) {
        diagnostics.add_bare(path, &ExpiryDiagnostic(subject, ExpiryDiagnosticKind::NeverValid));
    }
    let kind = if expires_at <= now {
        ExpiryDiagnosticKind::Expired
    } else if expires_at.0.saturating_sub(now.0) <= SOON_SECONDS {
        ExpiryDiagnosticKind::ExpiresSoon
    } else {
        return;
    };
    diagnostics.add(
        path,
        &format_args!("\"{expires_at}\""),
        &ExpiryDiagnostic(subject, kind),
    );
}
