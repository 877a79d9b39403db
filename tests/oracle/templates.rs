//! Sets of EC3 templates: a main one, others laid over it, pieces added, with inheritance, includes and expressions.

use std::collections::BTreeMap;

use super::grammar::Dice;

/// What a launch is given.
#[derive(Debug)]
pub struct Launch {
    pub templates: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
    pub names: Vec<String>,
    pub adds: Vec<String>,
}

pub const MAIN: &str = "description main ( kind = 'main' and short = 's' and content = 'c' )
network public ( outbound = 'yes' and outports contains '22/tcp' )
network private ()
system front ( cpu.count>=2 and memory.size>=4g and net_interface.0.connection = 'private' and net_interface.0.dns_name = 'front' and net_interface.1.connection = 'public' and disk.0.os.name='linux' and disk.0.image.url = 'one://host/1' and ec3_max_instances = 1 )
system wn ( cpu.count>=1 and memory.size>=2048m and net_interface.0.connection = 'private' and disk.0.image.url = 'one://host/2' and ec3_max_instances = 10 )
deploy front 1
configure front (
@begin
- vars: {QS: one, N: 2}
  tasks: [{name: first, shell: echo}]
@end
)
configure wn (
@begin
- tasks:
  - name: on the worker
    copy: {dest: /x, mode: 0644, content: \"yes\"}
@end
)
contextualize ( system front configure front step 1 system wn configure wn step 1 )
";

fn feature(dice: &mut Dice) -> String {
    match dice.below(9) {
        0 => format!("cpu.count {} {}", dice.one(&[">=", "=", "<="]), dice.one(&["1", "2", "4"])),
        1 => format!("memory.size {} {}", dice.one(&[">=", "="]), dice.one(&["1g", "4g", "512m"])),
        2 => format!("ec3_max_instances = {}", dice.one(&["3", "10"])),
        3 => format!("disk.0.os.flavour = '{}'", dice.one(&["ubuntu", "debian", "it\\'s"])),
        4 | 5 => format!(
            "disk.0.applications contains ( name = '{}' and version = '{}' )",
            dice.one(&["ansible.roles.x", "k", "l"]),
            dice.one(&["1", "2"])
        ),
        6 => format!("spot = '{}'", dice.one(&["yes", "no"])),
        7 => format!("soft {} ( cpu.arch = 'x86_64' )", dice.one(&["5", "7"])),
        _ => format!("queue_system = '{}'", dice.one(&["slurm", "torque"])),
    }
}

fn features(dice: &mut Dice) -> String {
    // A property may be said once in a template.
    let mut seen = Vec::new();
    let mut all = Vec::new();
    for _ in 0..=dice.below(3) {
        let feature = feature(dice);
        let name = feature.split(' ').next().unwrap().to_owned();
        if !seen.contains(&name) {
            seen.push(name);
            all.push(feature);
        }
    }
    all.join(" and ")
}

fn recipe(dice: &mut Dice) -> String {
    let mut text = String::new();
    for _ in 0..=dice.below(2) {
        text.push_str(dice.one(&[
            "- tasks: [{name: more}]\n",
            "- ec3_prio: 10\n  tasks: [{name: late}]\n",
            "- ec3_prio: -1\n  roles: [{role: r, x: 'y'}]\n",
            "- ec3_append: wn\n",
            "- vars:\n    F: {ec3_file: side.conf}\n    Q: {ec3_xpath: /system/front/disk.0.image.url}\n",
            "- vars:\n    J: {ec3_jpath: /system/wn/*}\n    M: {ec3_jpath: /system/front/ec3_max_instances}\n",
            "- vars:\n    S: {ec3_jpath: /system/*}\n",
            "- vars:\n    O: {ec3_xpath: /network/public/outports}\n    W: {ec3_jpath: /network/public/*}\n",
        ]));
    }
    text
}

fn sentence(dice: &mut Dice, at: usize) -> String {
    let who = dice.one(&["front", "wn"]);
    match dice.below(9) {
        0..=2 => format!("system {who} ( {} )\n", features(dice)),
        3 => format!("network public ( outports contains '{}' )\n", dice.one(&["80/tcp", "8080-80/tcp", "443"])),
        4 | 5 => format!("configure {who} (\n@begin\n{}@end\n)\n", recipe(dice)),
        6 => format!("system wn{at} ( ec3_inherit_from = system wn and {} )\n", features(dice)),
        7 => format!("configure extra{at} (\n@begin\n{}@end\n)\n", recipe(dice)),
        _ => format!("contextualize ( system {who} configure {who} step {} )\n", dice.one(&["1", "2", "3"])),
    }
}

pub fn launch(dice: &mut Dice) -> Launch {
    let mut templates = BTreeMap::from([("main".to_owned(), MAIN.to_owned())]);
    let mut names = vec!["main".to_owned()];
    for at in 0..dice.below(4) {
        let mut text = String::new();
        for n in 0..=dice.below(3) {
            let sentence = sentence(dice, at * 10 + n);
            // A template says a thing once.
            let head: Vec<&str> = sentence.split(' ').take(2).collect();
            if !text.contains(&head.join(" ")) {
                text.push_str(&sentence);
            }
        }
        if dice.chance(40) {
            text.push_str(&format!("include i{at} ( template = 'side {}' )\n", dice.one(&["", "main", "t0"])));
        }
        templates.insert(format!("t{at}"), text);
        if dice.chance(80) {
            names.push(format!("t{at}"));
        }
    }
    templates.entry("t0".to_owned()).or_default();
    let side = (0..=dice.below(2)).map(|_| format!("system wn ( {} )\n", feature(dice))).next().unwrap();
    templates.insert("side".to_owned(), side);
    let adds = (0..dice.below(3)).map(|_| format!("system wn ( {} )", feature(dice))).collect();
    let files = BTreeMap::from([("side.conf".to_owned(), "a {{ b }}\nc: d\n".to_owned())]);
    Launch { templates, files, names, adds }
}
