//! The helpers of the headers do what they say, in C and in C++, under the sanitizers where there are any.

use std::process::Command;

use abi_tests::{Language, STRICT, compilers, folder, must, source};

fn build_and_run(language: Language, standards: &[&str], name: &str) {
    let folder = folder();
    for compiler in compilers(language) {
        let sanitizers = compiler.sanitizers();
        for std in standards {
            let program = folder.path().join(format!("{}-{std}", compiler.program));
            let mut build = compiler.command();
            build.arg(format!("-std={std}")).args(STRICT).args(sanitizers).arg(source(name)).arg("-o").arg(&program);
            must(&mut build);
            assert_eq!(must(&mut Command::new(&program)), "0 failed\n", "{} as {std}", compiler.program);
        }
    }
}

#[test]
fn c_helpers_hold_in_c() {
    build_and_run(Language::C, &["c99", "c17"], "inline_functions.c");
}

#[test]
fn c_helpers_hold_in_cpp() {
    build_and_run(Language::Cpp, &["c++11", "c++20"], "inline_functions.c");
}

#[test]
fn cpp_layer_holds() {
    build_and_run(Language::Cpp, &["c++17", "c++20"], "cpp_layer.cpp");
}
