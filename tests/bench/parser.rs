//! The parser: how fast a text of our own is read, beside the Python parser that IM uses.

use std::process::Command;
use std::time::Instant;

use super::Figure;

/// Systems like those of the shipped examples, with networks, softs and recipes.
fn document(systems: usize) -> String {
    let mut text = String::from("network public (outbound = 'yes' and outports = '22,6443')\n");
    for i in 0..systems {
        text.push_str(&format!(
            "system s{i} (\n  cpu.count >= {} and memory.size >= {}m and\n  net_interface.0.connection = 'public' and # a comment\n  disk.0.os.name = 'linux' and\n  disk.0.applications contains (name = 'containerd') and\n  disk.0.applications contains (name = 'kubernetes' and version = '1.37.2') and\n  soft 10 (cpu.arch = 'x86_64')\n)\nconfigure c{i} (\n@begin\n---\n- tasks:\n  - name: step {i}\n    command: /bin/true\n@end\n)\ndeploy s{i} 1\n",
            i % 8 + 1,
            (i % 16 + 1) * 512
        ));
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
pub(super) fn figures() -> Vec<Figure> {
    let text = document(40_000);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let (tree, findings) = marea::radl::parse(&text);
        best = best.min(start.elapsed().as_secs_f64());
        assert!(findings.is_empty(), "{:?}", findings.first());
        std::hint::black_box(tree);
    }
    #[expect(clippy::cast_precision_loss, reason = "megabytes with two decimals")]
    let megabytes = text.len() as f64 / 1e6;
    let value = megabytes / best;
    vec![Figure {
        name: "parser/throughput",
        value,
        unit: "MB/s",
        peer: peer(),
        how: "parse a document of 40,000 systems, best of 5",
    }]
}

/// The Python parser on 100 systems, in an environment of its own; nothing where PyPI is out of reach.
fn peer() -> Option<f64> {
    let folder = std::env::temp_dir().join("marea-bench-radl");
    let python = folder.join("bin/python");
    if !python.exists() {
        Command::new("python3").args(["-m", "venv"]).arg(&folder).output().ok()?;
        let done = Command::new(folder.join("bin/pip")).args(["install", "-q", "RADL==1.3.5"]).output().ok()?;
        if !done.status.success() {
            return None;
        }
    }
    let file = folder.join("document.radl");
    std::fs::write(&file, document(100)).ok()?;
    let script = "import sys,time\nfrom radl import radl_parse\nd=open(sys.argv[1]).read()\nb=9e9\nfor _ in range(3):\n  t=time.time(); radl_parse.parse_radl(d); b=min(b,time.time()-t)\nprint(len(d)/1e6/b)";
    let out = Command::new(python).current_dir(&folder).args(["-c", script]).arg(&file).output().ok()?;
    String::from_utf8_lossy(&out.stdout).trim().lines().last()?.parse().ok()
}
