//! A virtual machine of an infrastructure: its number there, its name, its state, and how far it is made.

use serde_json::Value;

use super::fragment;

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vm {
    /// Its number in the infrastructure.
    pub id: String,
    /// The name that it bears; empty when it bears none.
    pub name: String,
    /// Its state, as the Infrastructure Manager says it.
    pub state: String,
    /// How far it is made.
    pub made: Made,
}

/// How far a virtual machine is made. While an order to add is carried out, the Infrastructure Manager gives what it
/// begins a number for the time being; at the end of any such order all of that is dropped from its list, and what that
/// order made is put in anew. So numbers are given twice, and what was begun when it was killed is forgotten by it later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It stays until somebody removes it.
    Whole,
    /// The order that makes it is still carried out.
    UnderWay,
    /// Nobody makes it any more: the Infrastructure Manager was killed in the middle.
    Left,
    /// Another has its number, so that no order reaches it: orders that were carried out side by side.
    Hidden,
    /// Its cloud refused it, so that nothing runs there. It stays in the list for as long as that cloud cannot be reached.
    Refused,
}

impl Vm {
    /// It is on, or comes on.
    pub(super) fn is_up(&self) -> bool {
        self.made == Made::Whole && matches!(self.state.as_str(), "pending" | "running" | "configured" | "unconfigured")
    }

    /// It is there and needs only be started.
    pub(super) fn is_down(&self) -> bool {
        self.made == Made::Whole && matches!(self.state.as_str(), "stopped" | "off")
    }
}

/// The virtual machines of an infrastructure's export. None where it is not to be understood.
pub(super) fn exported(text: &str) -> Option<Vec<Vm>> {
    let outer: Value = serde_json::from_str(text).ok()?;
    let inner: Value = serde_json::from_str(outer.get("data")?.as_str()?).ok()?;
    let mut all: Vec<Vm> = Vec::new();
    for entry in inner.get("vm_list")?.as_array()? {
        let is = |key: &str| entry.get(key).and_then(Value::as_bool);
        if is("destroy") == Some(true) {
            continue;
        }
        let id = entry.get("im_id")?.to_string();
        let state = entry.get("state")?.as_str()?.to_owned();
        // What a cloud made has an ID of the cloud's.
        let was_refused = state == "failed" && entry.get("id").is_some_and(Value::is_null);
        let radl = entry.get("info").and_then(Value::as_str).unwrap_or_default();
        let made = match (is("creating"), is("configured")) {
            _ if all.iter().any(|vm| vm.id == id) => Made::Hidden,
            // Whether it is configured is not known until it is made, unless it was read from the database.
            (Some(true), Some(false)) => Made::Left,
            (Some(true), _) => Made::UnderWay,
            _ if was_refused => Made::Refused,
            _ => Made::Whole,
        };
        all.push(Vm { name: fragment::name(radl, &id).unwrap_or_default(), id, state, made });
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_says_how_far_each_is_made() {
        let entry = |id: u32, name: &str, rest: &str| {
            let radl = format!("system wn (net_interface.0.dns_name = '{name}')");
            format!("{{\"im_id\": {id}, \"state\": \"running\", \"info\": \"{radl}\", {rest}}}")
        };
        let list = [
            entry(0, "a", r#""creating": false, "destroy": false, "configured": true"#),
            entry(1, "gone", r#""creating": false, "destroy": true, "configured": true"#),
            entry(2, "b", r#""creating": true, "destroy": false, "configured": null"#),
            entry(3, "c", r#""creating": true, "destroy": false, "configured": false"#),
            entry(0, "d", r#""creating": false, "destroy": false, "configured": null"#),
            entry(4, "e", r#""creating": false, "destroy": false, "configured": null, "id": null"#)
                .replace("running", "failed"),
            entry(5, "f", r#""creating": false, "destroy": false, "configured": null, "id": "7""#)
                .replace("running", "failed"),
        ];
        let inner = format!("{{\"vm_list\": [{}]}}", list.join(","));
        let text = serde_json::json!({ "data": inner }).to_string();
        let all: Vec<_> = exported(&text).unwrap().into_iter().map(|vm| (vm.id, vm.name, vm.made)).collect();
        let vm = |id: &str, name: &str, made| (id.to_owned(), name.to_owned(), made);
        let expected = [
            vm("0", "a", Made::Whole),
            vm("2", "b", Made::UnderWay),
            vm("3", "c", Made::Left),
            vm("0", "d", Made::Hidden),
            vm("4", "e", Made::Refused),
            vm("5", "f", Made::Whole),
        ];
        assert_eq!(all, expected);
        assert!(exported("{}").is_none() && exported("<html>").is_none());
    }
}
