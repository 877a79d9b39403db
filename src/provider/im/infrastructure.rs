//! An infrastructure as it is written down: its ID, and how each machine of ours is added to it. Written before it is
//! made, with a mark of our own, so that one whose ID was lost on the way is found again by that mark.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::client::{ImClient, ImError};
use super::fragment::{self, Fragment, Terms};

/// The file in the state folder.
pub const FILE: &str = "im.json";
/// The property that holds the mark.
const MARK: &str = "marea_mark";

/// What is known of an infrastructure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Infrastructure {
    /// Its ID, once it has one.
    pub id: Option<String>,
    /// The mark on its front-end.
    pub mark: String,
    /// How machines of each pool are added.
    pub fragments: BTreeMap<String, Fragment>,
    /// What EC3 says of each pool besides.
    pub terms: BTreeMap<String, Terms>,
    /// The image that machines of a pool are made from, where one was made of the first of them.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// The machines, and the pool of each.
    pub machines: BTreeMap<String, String>,
}

impl Infrastructure {
    /// Reads what was written down; none when nothing was.
    pub fn read(state: &Path) -> Result<Option<Self>, String> {
        let path = state.join(FILE);
        match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(format!("{}: {e}", path.display())),
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|e| format!("{} is damaged: {e}", path.display()))
            }
        }
    }

    /// How each machine is added, by its name.
    pub fn by_machine(&self) -> BTreeMap<String, Fragment> {
        let of = |(name, pool): (&String, &String)| {
            let fragment = self.fragments.get(pool)?;
            let image = self.images.get(pool);
            Some((name.clone(), image.map_or_else(|| fragment.clone(), |url| fragment.from_image(url))))
        };
        self.machines.iter().filter_map(of).collect()
    }

    /// The RADL that makes it with its front-end in it. Where nothing is configured by Ansible, that is said, or the
    /// Infrastructure Manager would wait for an SSH that it need not have.
    pub fn first(&self, front_end: &str) -> Option<String> {
        let fragment = self.fragments.get(self.machines.get(front_end)?)?;
        let quiet = if fragment.configure { "" } else { "contextualize ()\n" };
        let radl = fragment.of(front_end);
        let place = "net_interface.0.dns_name";
        Some(radl.replacen(place, &format!("{MARK} = '{}' and\n    {place}", self.mark), 1) + quiet)
    }

    /// The infrastructure that bears our mark, if there is one: it was made, and the answer was lost.
    pub async fn lost(&self, client: &ImClient) -> Result<Option<String>, ImError> {
        for id in client.infrastructures().await? {
            // One that goes in between, or is still empty, is not ours.
            let Ok(states) = client.states(&id).await else { continue };
            let Some(first) = states.keys().next() else { continue };
            let Ok(radl) = client.machine(&id, first).await else { continue };
            if fragment::value(&radl, MARK).as_deref() == Some(self.mark.as_str()) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }
}
