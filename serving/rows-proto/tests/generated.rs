//! The committed code is what the contract generates; `UPDATE_GENERATED=1` writes it anew.

use std::fs;
use std::path::Path;

use protox::Compiler;

/// The formatter is a feature of `prost-build`, which is therefore a dev-dependency of its own: without it, the text
/// would depend on which other crates are built beside this one.
#[test]
fn generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = Compiler::new([root.join("proto")]).expect("a folder");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("marquee/rows/v1/rows.proto").expect("the contract");
    let out = tempfile::tempdir().expect("a folder");
    let documented = compiler.file_descriptor_set();
    let code = tonic_prost_build::configure().build_transport(false).out_dir(out.path());
    code.compile_fds(documented).expect("generated code");
    let code = fs::read(out.path().join("marquee.rows.v1.rs")).expect("a file");
    compiler.include_source_info(false);
    let descriptors = compiler.encode_file_descriptor_set();

    for (name, fresh) in [("marquee.rows.v1.rs", code), ("marquee.rows.v1.bin", descriptors)] {
        let committed = root.join("src/generated").join(name);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs::write(&committed, &fresh).expect("a file");
        }
        let same = fs::read(&committed).is_ok_and(|committed| committed == fresh);
        assert!(same, "{name} is out of date; run: UPDATE_GENERATED=1 cargo test -p marquee-rows-proto");
    }
}
