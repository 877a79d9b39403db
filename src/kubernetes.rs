//! Kubernetes: everything that is said to the API server. What comes back is turned into the model at
//! once, so that no kube type is seen above this floor.

pub mod client;
mod constraints;
pub mod convert;
pub mod drain;
pub mod events;
pub mod facts;
pub mod requests;
pub mod tell;
pub mod watch;

/// The annotation on a Job's pods that says how many of them are placed together, all or none.
pub const ALL_OR_NONE: &str = "marea.dev/all-or-none";
/// The annotation that marks a cordon as ours: only a node that carries it is ever uncordoned by Marea.
pub const CORDONED: &str = "marea.dev/cordoned";

/// The annotation by which Karpenter is told to leave a pod or node alone.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// The annotation by which Cluster Autoscaler is told whether a pod may be moved.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// The annotation by which Cluster Autoscaler is told to leave a node on.
pub const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// The taint `PreferNoSchedule` on a node that is meant to go off: new pods go elsewhere where they can.
pub const LEAVING: &str = "marea.dev/leaving";

/// Why something that was asked of the API server did not come about.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// There is no usable kubeconfig. Asking again does not help.
    #[error("kubeconfig {path} cannot be used: {reason}; run `marea bootstrap` or name another in the config")]
    Kubeconfig {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The API server could not be asked, or is not well. Asking again may help.
    #[error("{what} {object}: the API server did not do it: {reason}")]
    Unavailable {
        /// What was asked for.
        what: &'static str,
        /// Of which object.
        object: String,
        /// What it answered, or why it did not.
        reason: String,
    },
    /// The API server refused for good: rights, or an object that does not allow it.
    #[error("{what} {object}: the API server refused: {reason}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Of which object.
        object: String,
        /// Its answer.
        reason: String,
    },
    /// The object is not there.
    #[error("{what} {object}: there is no such object")]
    Missing {
        /// What was asked for.
        what: &'static str,
        /// Of which object.
        object: String,
    },
    /// Another object has taken the name: its UID is not the one that was decided about. Decide again.
    #[error("{what} {object}: it is not the object that was meant, its UID is another")]
    Replaced {
        /// What was asked for.
        what: &'static str,
        /// Of which object.
        object: String,
    },
    /// It was tried until its time was over.
    #[error("{what} {object} did not succeed within {seconds} s; last answer: {last}")]
    TimedOut {
        /// What was asked for.
        what: &'static str,
        /// Of which object.
        object: String,
        /// The limit.
        seconds: u64,
        /// The last reason that was seen.
        last: String,
    },
}

impl KubernetesError {
    /// True when the same call may succeed later without anybody changing anything.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable { .. } | Self::TimedOut { .. } => true,
            Self::Kubeconfig { .. } | Self::Refused { .. } | Self::Missing { .. } | Self::Replaced { .. } => false,
        }
    }

    /// Sorts what the client reports by what the caller may do about it.
    pub(crate) fn of(what: &'static str, object: &str, error: &kube::Error) -> Self {
        let object = object.to_owned();
        if let kube::Error::Api(status) = error {
            let reason = if status.message.is_empty() { status.reason.clone() } else { status.message.clone() };
            return match status.code {
                404 => Self::Missing { what, object },
                // Asked to wait, in conflict with another writer, or broken inside: all pass.
                408 | 409 | 429 | 500..=599 => Self::Unavailable { what, object, reason },
                code => Self::Refused { what, object, reason: format!("{code} {reason}") },
            };
        }
        // Everything else is transport: a refused connection, a cut stream, an answer that is no JSON.
        Self::Unavailable { what, object, reason: client::chain(error) }
    }
}
