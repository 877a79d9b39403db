//! RADL: a mixed corpus read in both dialects, and large documents read, checked and lowered to a cluster, with IM's own
//! parser beside on the same text.

use std::time::Instant;

use marea::radl::dialect::Dialect;
use marea::radl::{self, File};

use super::Figure;

#[path = "../oracle/python.rs"]
mod python;

/// What documents of people look like: features, long keys, comments, softs, recipes.
fn corpus(dialect: Dialect, pieces: usize) -> String {
    let key = "MIIEpAIBAAKCAQEA7x0Ak9n2\n".repeat(24);
    let mut text = String::new();
    for i in 0..pieces {
        let ports = if dialect == Dialect::Ec3 {
            "outports contains '22/tcp' and outports contains '80/tcp'"
        } else {
            "outports = '22/tcp,80/tcp'"
        };
        text.push_str(&format!(
            "# part {i}\nnetwork n{i} ( outbound = 'yes' and {ports} )\n\
             system s{i} (\n  cpu.count >= {} and memory.size >= {}m and # enough\n  net_interface.0.connection = 'n{i}' and\n  \
             net_interface.0.dns_name = 's{i}-#N#' and\n  disk.0.os.name = 'linux' and\n  disk.0.os.credentials.private_key = '{key}' and\n  \
             disk.0.applications contains (name = 'kubernetes' and version = '1.37.2') and\n  soft 10 (cpu.arch = 'x86_64') and\n  soft 5 (gpu.count >= 1)\n)\n\
             configure s{i} (\n@begin\n---\n  - vars: {{a: 1}}\n    tasks:\n    - name: a step # kept\n      shell: echo {i} && true\n    - name: another\n      template: src=x dest=/etc/x\n@end\n)\n\
             deploy s{i} {}\n",
            i % 8 + 1,
            (i % 16 + 1) * 512,
            i % 3,
        ));
    }
    text
}

/// One front-end and many pools.
fn cluster(systems: usize) -> String {
    let mut text = String::from(
        "network private ()\nsystem front ( cpu.count = 2 and memory.size = 4 GiB and net_interface.0.connection = 'private' )\ndeploy front 1\n",
    );
    for i in 0..systems {
        text.push_str(&format!(
            "system node{i} (\n  cpu.arch = 'x86_64' and\n  cpu.count >= {} and\n  memory.size >= {}m and\n  net_interface.0.connection = 'private' and\n  net_interface.0.dns_name = 'node{i}-#N#' and\n  disk.0.os.name = 'linux' and\n  disk.0.image.url = 'mock0://linux.for.ev.er/{i}' and\n  disk.0.os.credentials.username = 'user' and\n  disk.0.applications contains (name='app' and version='1.{}')\n)\ndeploy node{i} {}\n",
            1 + i % 8,
            512 * (1 + i % 16),
            i % 7,
            1 + i % 3
        ));
    }
    text
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    let once = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..rounds).map(|_| once(&mut work)).fold(f64::INFINITY, f64::min)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes with two decimals")]
fn throughput(dialect: Dialect) -> f64 {
    let text = corpus(dialect, 10_000);
    let seconds = best(5, || {
        let (tree, findings) = radl::parse_in(&text, dialect);
        assert!(findings.is_empty(), "{:?}", findings.first());
        std::hint::black_box(tree);
    });
    text.len() as f64 / 1e6 / seconds
}

fn whole(systems: usize, rounds: usize) -> f64 {
    let files: Vec<File> = vec![("cluster.radl".to_owned(), cluster(systems))];
    let seconds = best(rounds, || {
        let loaded = radl::load(&files);
        assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
        std::hint::black_box(loaded.spec);
    });
    seconds * 1e3
}

pub(super) fn figures() -> Vec<Figure> {
    let mut oracle = python::Oracle::start().ok();
    let mut time = |text: String, check: bool| {
        let reply = oracle.as_mut()?.ask(&serde_json::json!({"op": "time", "text": text}));
        Some(reply["parse"].as_f64()? + if check { reply["check"].as_f64()? } else { 0.0 })
    };
    let mixed = corpus(Dialect::Im, 300);
    #[expect(clippy::cast_precision_loss, reason = "megabytes with two decimals")]
    let megabytes = mixed.len() as f64 / 1e6;
    let python_speed = time(mixed, false).map(|seconds| megabytes / seconds);
    let python_whole = time(cluster(10_000), true).map(|seconds| seconds * 1e3);
    let ten = whole(10_000, 5);
    let hundred = whole(100_000, 2);
    vec![
        Figure {
            name: "radl/parse-im",
            value: throughput(Dialect::Im),
            unit: "MB/s",
            peer: python_speed,
            how: "parse a mixed corpus of IM's dialect, best of 5; the peer on 300 pieces of it",
        },
        Figure {
            name: "radl/parse-ec3",
            value: throughput(Dialect::Ec3),
            unit: "MB/s",
            peer: None,
            how: "the same corpus in EC3's dialect",
        },
        Figure {
            name: "radl/10000-systems",
            value: ten,
            unit: "ms",
            peer: python_whole,
            how: "10,000 systems parsed, checked and lowered, best of 5; the peer parses and checks",
        },
        Figure {
            name: "radl/100000-systems",
            value: hundred,
            unit: "ms",
            peer: None,
            how: "100,000 systems, best of 2",
        },
        Figure {
            name: "radl/growth",
            value: hundred / ten,
            unit: "times",
            peer: None,
            how: "100,000 systems over 10,000: 10 is linear",
        },
    ]
}
