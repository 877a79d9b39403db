//! A selector: what labels must be like. Pods select nodes and other pods with it, claims select volumes.

use serde::{Deserialize, Serialize};

/// How a selector compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// The value is one of these.
    In,
    /// The value is none of these, or the key is absent.
    NotIn,
    /// The key is there.
    Exists,
    /// The key is absent.
    DoesNotExist,
    /// The value, an integer, is greater.
    Gt,
    /// The value, an integer, is smaller.
    Lt,
}

/// One comparison on a label (or field).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Requirement {
    /// Label key, or `metadata.name` for a field.
    pub key: String,
    /// How it compares.
    pub operator: Operator,
    /// What it compares with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// One term of a required node affinity: all of it must hold. A term with nothing in it matches no node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Term {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields; Kubernetes knows only `metadata.name`.
    pub fields: Vec<Requirement>,
}

/// A label selector: all of it must hold, so that one with nothing in it matches everything. Where the API
/// leaves a selector out it matches nothing, which is `None` here.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector {
    /// What must hold.
    pub requirements: Vec<Requirement>,
}
