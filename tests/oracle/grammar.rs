//! Documents made from the grammar: valid ones, ones that contradict themselves, and ones with something broken.

/// A small generator of numbers, the same for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % most as u64).unwrap()
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

const IDS: [&str; 6] = ["a", "b", "front", "wn", "x.y-z", "_n1"];
const NUMBERS: [&str; 8] =
    ["cpu.count", "memory.size", "price", "n", "disk.0.size", "ec3_max_instances", "n_min", "gpu.count"];
const TEXTS: [&str; 7] =
    ["t", "os", "disk.0.os.name", "net_interface.0.connection", "u", "version", "disk.0.image.url"];
const RECIPES: [&str; 8] = [
    "- tasks:\n  - name: t # kept\n    shell: echo {{ X }}",
    "---\n- hosts: all\n  vars: {a: 1, b: yes}",
    "",
    "a: b",
    "- roles: [x, {role: y, v: '0644', w: 0644}]\n",
    "text only",
    "- a: |\n    one\n\n     two\n  @end is here",
    "- {n: 1.5, m: null, l: [], k: {}}",
];

pub struct Maker<'d> {
    pub dice: &'d mut Dice,
    pub ec3: bool,
    /// No contradictions on purpose.
    pub calm: bool,
}

impl Maker<'_> {
    fn gap(&mut self) -> &'static str {
        if self.dice.chance(8) { self.dice.one(&["\n", "  ", "\t", "\n# c ( ' @begin\n", " \r\n "]) } else { " " }
    }

    fn comparator(&mut self) -> &'static str {
        self.dice.one(&["=", "=", "=", ">=", "<=", ">", "<"])
    }

    fn text(&mut self) -> String {
        let plain =
            ["x", "linux", "", "1.2", "a b", "it\\'s", "é", "a\\\\b", "two\nlines", "(", "#no", "yes", "random(x)"];
        format!("'{}'", self.dice.one(&plain))
    }

    fn number(&mut self) -> String {
        let digits = self.dice.one(&["0", "1", "2", "3", "4", "10", "2.5", "1.", "0.5", "4096"]);
        let unit = if self.ec3 { ["", "", "", "m", "G", "KB", "ECU"] } else { ["", "", "", "m", "GiB", "K", "x"] };
        let unit = self.dice.one(&unit);
        let space = if self.dice.chance(50) { " " } else { "" };
        if unit.is_empty() { digits.to_owned() } else { format!("{digits}{space}{unit}") }
    }

    fn feature(&mut self, depth: usize) -> String {
        match self.dice.below(if depth < 2 { 12 } else { 8 }) {
            0..=3 => format!("{} {} {}", self.dice.one(&NUMBERS), self.comparator(), self.number()),
            4..=6 => format!(
                "{} {} {}",
                self.dice.one(&TEXTS),
                if self.dice.chance(90) { "=" } else { self.comparator() },
                self.text()
            ),
            7 if self.ec3 => match self.dice.below(3) {
                0 => format!("ref = {} {}", self.dice.one(&["system", "network", "File"]), self.dice.one(&IDS)),
                1 => format!("outports contains {}", self.dice.one(&["'80'", "'22/tcp'", "'8000:8100'", "'22/tcp'"])),
                _ => format!(
                    "{} contains {}",
                    self.dice.one(&["set", "outports", "t"]),
                    self.dice.one(&["'q'", "1.5", "system wn", "3"])
                ),
            },
            7 => format!("urls = [{}]", self.dice.one(&["'a'", "'a','b'", "", "'a' , 'b'", "'', 'x'", "1"])),
            8 => {
                let weight = self.dice.one(&["1", "5", "10", "2.5", "0"]);
                format!("soft {weight} {}", self.parenthesis(depth + 1))
            }
            _ => {
                let name = self.dice.one(&["disk.0.applications", "disk.0.applications", "c"]);
                let inner = match self.dice.below(8) {
                    0 => self.parenthesis(depth + 1),
                    1 => "()".to_owned(),
                    2 => "(name = 5 and v = 'x')".to_owned(),
                    3 => "(id = 'i' and name = 'x')".to_owned(),
                    _ => format!(
                        "(name = '{}' and {} = '{}')",
                        self.dice.one(&["k", "l", "m"]),
                        self.dice.one(&["version", "path", "v"]),
                        self.dice.one(&["1", "1", "2"])
                    ),
                };
                format!("{name} contains {inner}")
            }
        }
    }

    fn parenthesis(&mut self, depth: usize) -> String {
        let mut text = format!("({}", self.gap());
        for at in 0..self.dice.below(if self.calm { 3 } else { 5 }) {
            if at > 0 {
                text.push_str(self.gap());
                text.push_str("and ");
            }
            text.push_str(&self.feature(depth));
        }
        text.push_str(self.gap());
        text.push(')');
        text
    }

    fn id(&mut self) -> String {
        // Mostly different ids: what is said twice is refused.
        if self.dice.chance(75) { format!("i{}", self.dice.below(1000)) } else { self.dice.one(&IDS).to_owned() }
    }

    fn sentence(&mut self) -> String {
        let id = self.id();
        match self.dice.below(12) {
            0..=3 => format!("system {id} {}", self.parenthesis(0)),
            4 | 5 => format!("network {id} {}", self.parenthesis(0)),
            6 if self.ec3 => {
                format!(
                    "{} {id} {}",
                    self.dice.one(&["include", "description", "File", "DeployScript", "Feature"]),
                    self.parenthesis(0)
                )
            }
            6 => format!("ansible {id} {}", self.parenthesis(0)),
            7 => format!("{} {id}", self.dice.one(&["system", "network", "configure"])),
            8 => {
                let cloud = self.dice.one(&["", "", " one"]);
                format!("deploy {id} {}{cloud}", self.dice.one(&["1", "0", "12", "2.5"]))
            }
            9 | 10 => {
                let body = self.dice.one(&RECIPES);
                let end = self.dice.one(&["\n@end\n)", "\n@end)", "\n@end # x\n)", "\n@end\n\n)"]);
                if self.dice.chance(8) && !self.ec3 {
                    format!("configure {id} ()")
                } else {
                    format!("configure {id} (\n@begin\n{body}{end}")
                }
            }
            _ => {
                let mut text = format!("contextualize {}(", self.dice.one(&["", "", "100 ", "2.5 "]));
                for _ in 0..self.dice.below(2) {
                    text.push_str(&format!(
                        " option {} = {}",
                        self.dice.one(&["o", "p"]),
                        self.dice.one(&["'v'", "3"])
                    ));
                }
                for _ in 0..self.dice.below(4) {
                    let tail = if self.ec3 {
                        ["", " step 1", " step 2", " step 0"]
                    } else {
                        ["", " step 1", " step 2", " with cloud_init"]
                    };
                    text.push_str(&format!(
                        " system {} configure {}{}",
                        self.dice.one(&IDS),
                        self.dice.one(&IDS),
                        self.dice.one(&tail)
                    ));
                }
                text + ")"
            }
        }
    }

    /// A whole document.
    pub fn document(&mut self) -> String {
        let mut text = String::new();
        if !self.ec3 && self.dice.chance(15) {
            text.push_str(&format!("description d {}\n", self.parenthesis(1)));
        }
        for _ in 0..self.dice.below(5) {
            text.push_str(&self.sentence());
            text.push_str(if self.ec3 || self.dice.chance(80) { "\n" } else { " " });
        }
        text
    }

    /// Something broken in it.
    pub fn broken(&mut self, text: &str) -> String {
        let junk = [
            "-",
            "!",
            "\"",
            "'",
            "(",
            ")",
            "[",
            "]",
            ",",
            "\n@end\n",
            "@begin",
            " @end",
            "$",
            "\n",
            " and ",
            " soft ",
            "=",
            "==",
            "\\",
            "'\\'",
            "1",
            "x",
            "@input.v@",
            "é",
            " system ",
            "contains",
            ";",
            "#",
            "'random(3)'",
            "'random(12)'",
            "\t",
            "%",
        ];
        let mut text: Vec<char> = text.chars().collect();
        for _ in 0..=self.dice.below(2) {
            let at = self.dice.below(text.len() + 1);
            match self.dice.below(4) {
                0 => {
                    let end = (at + 1 + self.dice.below(4)).min(text.len());
                    text.drain(at.min(end)..end);
                }
                1 => {
                    let end = (at + self.dice.below(12)).min(text.len());
                    let copy: Vec<char> = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                _ => {
                    let junk = self.dice.one(&junk);
                    text.splice(at..at, junk.chars());
                }
            }
        }
        text.into_iter().collect()
    }
}
