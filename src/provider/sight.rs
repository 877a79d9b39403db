//! A sight: what one means, such as a BMC, says of a machine when it is asked, and why it says nothing.

use super::ProviderError;
use crate::model::machine::Power;

/// Why a means did not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MeansError {
    /// It answered, and will answer the same until a person mends something: a wrong password, say.
    #[error("{0}")]
    Refused(String),
    /// It did not answer, or not as it should. Asking again may help.
    #[error("{0}")]
    Failed(String),
    /// No answer in its time.
    #[error("no answer within {0} s")]
    Late(u64),
}

/// What a means sees of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// What it says of the power. It is one witness: whether it is believed is decided by who asked.
    pub power: Power,
    /// Watts that are drawn now, where it measures them.
    pub watts: Option<u32>,
}

impl From<ProviderError> for MeansError {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::TimedOut { seconds, .. } => Self::Late(seconds),
            ProviderError::NoSuchMachine { .. } | ProviderError::Refused { .. } => Self::Refused(error.to_string()),
            ProviderError::Failed { reason, .. } => Self::Failed(reason),
            ProviderError::NoList { .. } | ProviderError::Unverified { .. } => Self::Failed(error.to_string()),
        }
    }
}
