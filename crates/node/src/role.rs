//! The three roles. Any node may have any of them.

use std::{fmt, str::FromStr};

use apiary_core::suggest;
use serde::{Deserialize, Serialize};

use crate::{NodeError, Result};

/// What a node does for its colony.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Plans SQL and answers clients.
    Coordinator,
    /// Pulls tasks and executes them.
    Worker,
    /// Keeps the bucket healthy.
    Compactor,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Coordinator, Self::Worker, Self::Compactor];

    /// The word for people and protocols.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker => "worker",
            Self::Compactor => "compactor",
        }
    }

    /// Where the role's gRPC server listens unless told otherwise.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Coordinator => 7410,
            Self::Worker => 7420,
            Self::Compactor => 7430,
        }
    }

    /// Reads `coordinator,worker`; sorted, each once.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        let mut roles: Vec<Self> = words.map(str::parse).collect::<Result<_>>()?;
        roles.sort_unstable();
        roles.dedup();
        Ok(roles)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NodeError;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let near = suggest::nearest(text, Self::ALL.map(Self::as_str));
            let expected = near.map_or("coordinator, worker or compactor".to_owned(), |near| format!("'{near}'"));
            NodeError::setting("roles", format!("'{text}' is not a role; did you mean {expected}?"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_roles_is_read_in_any_order_and_case() {
        assert_eq!(Role::parse_list("Worker, coordinator,worker").unwrap(), [Role::Coordinator, Role::Worker]);
    }

    #[test]
    fn a_slip_gets_a_suggestion() {
        let error = Role::parse_list("cordinator").unwrap_err().to_string();
        assert!(error.contains("did you mean 'coordinator'?"), "{error}");
    }
}
