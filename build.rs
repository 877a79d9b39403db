//! Links `marea-supervisor` statically, because it runs in images that have no C library. Cargo has no flags for one
//! program of a package, so the linker is led by its search path: `-lc` finds a script that names `libc.a`.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("TARGET").is_ok_and(|t| !t.ends_with("linux-gnu")) {
        return Ok(());
    }
    let folder = Path::new(&env::var_os("OUT_DIR").unwrap_or_default()).join("static");
    fs::create_dir_all(&folder)?;
    for name in ["util", "rt", "pthread", "m", "dl"] {
        fs::write(folder.join(format!("lib{name}.so")), format!("INPUT(-l:lib{name}.a)\n"))?;
    }
    fs::write(folder.join("libgcc_s.so"), "INPUT(-l:libgcc_eh.a -l:libgcc.a)\n")?;
    fs::write(folder.join("libc.so"), "GROUP(-l:libc.a -l:libgcc_eh.a -l:libgcc.a)\n")?;
    for argument in [format!("-L{}", folder.display()), "-static-pie".to_owned()] {
        println!("cargo::rustc-link-arg-bin=marea-supervisor={argument}");
    }
    Ok(())
}
