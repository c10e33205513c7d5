//! Keeps the house as its plan has it: which room may use which, no clock in the core, `unsafe` in one file,
//! and nothing too long.
//!
//! Everything is read from tokens, so that neither comments nor strings nor formatting deceive; what stands
//! under `#[cfg(test)]` counts only towards the length of its file.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use support::source::{
    complain, every_level, files_below, functions, group, is_ident, is_punct, is_rust, root, sources, tokens,
};

/// Rooms, and the rooms of the same crate that each may use.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("time", &["time"]),
    ("rng", &["rng"]),
    ("proto", &["proto", "time", "rng"]),
    ("sim", &["sim", "proto", "time", "rng"]),
    ("device", &["device", "proto::packet", "time"]),
    ("runtime", &["runtime", "device", "sim", "proto", "time", "rng"]),
    ("net", &["net", "runtime", "device", "proto", "time", "rng"]),
    ("app", &["app", "sim", "net", "runtime", "device", "proto", "time", "rng"]),
    ("main", &["app"]),
];

/// The only file with `unsafe` in it.
const UNSAFE_HERE: &str = "src/device/sys.rs";

/// Crates that the core must not see, though features of `std` would let it.
const NOT_IN_PROTO: &[&str] = &["std", "rustix", "log", "tun_tap", "libc"];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

/// Files that are longer, with the length they must not exceed. The list may only shrink.
const LONG_FILES: &[(&str, usize)] = &[];

/// Functions that are longer, as `file::function`, with the length they must not exceed. The list may only
/// shrink.
const LONG_FUNCTIONS: &[(&str, usize)] = &[];

/// Every path in the file, as its segments; `use a::{b, c::d}` gives `a::b` and `a::c::d`.
fn paths(tokens: &[TokenTree]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    every_level(tokens, &mut |level| {
        for (at, token) in level.iter().enumerate() {
            let continues = at >= 2 && is_punct(&level[at - 1], ':') && is_punct(&level[at - 2], ':');
            if matches!(token, TokenTree::Ident(_)) && !continues {
                found.extend(paths_from(&level[at..]));
            }
        }
    });
    found
}

/// The paths that start with the first of these tokens.
fn paths_from(tokens: &[TokenTree]) -> Vec<Vec<String>> {
    let [TokenTree::Ident(first), rest @ ..] = tokens else { return Vec::new() };
    let first = first.to_string();
    let tails = match rest {
        [a, b, tail @ ..] if is_punct(a, ':') && is_punct(b, ':') => match tail {
            [inner, ..] if group(inner, Delimiter::Brace).is_some() => {
                let inner = group(inner, Delimiter::Brace).expect("just seen");
                inner.split(|token| is_punct(token, ',')).flat_map(paths_from).collect()
            }
            _ => paths_from(tail),
        },
        _ => Vec::new(),
    };
    match tails.is_empty() {
        true => vec![vec![first]],
        false => tails.into_iter().map(|tail| [vec![first.clone()], tail].concat()).collect(),
    }
}

/// The module that a file is, as its path in the crate: `src/proto/ip/mod.rs` is `proto::ip`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

/// The path from the crate's root, if it leads into this crate.
fn within_crate(module: &[String], path: &[String]) -> Option<Vec<String>> {
    match path.first().map(String::as_str) {
        Some("crate" | "tunstack") => Some(path[1..].to_vec()),
        Some("super") => {
            let ups = path.iter().take_while(|segment| *segment == "super").count();
            // Inside an inline module `super` reaches less far than this takes it to: too strict, never too lax.
            let base = &module[..module.len().saturating_sub(ups)];
            Some([base, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// The names that `proto` re-exports from `proto::packet`.
fn packet_names() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/proto/mod.rs")).expect("the core has a root");
    let paths = paths(&tokens("src/proto/mod.rs", &text));
    paths.into_iter().filter(|path| path[0] == "packet").filter_map(|path| path.get(1).cloned()).collect()
}

#[test]
fn dependencies_point_one_way() {
    let packet = packet_names();
    assert!(
        packet.iter().any(|name| name == "Egress"),
        "the re-exports of proto::packet were not understood"
    );
    let (mut offences, mut seen) = (Vec::new(), 0);
    for (name, text) in sources() {
        let module = module_of(&name);
        let Some(room) = module.first() else { continue };
        let (_, allowed) = DIRECTIONS.iter().find(|(known, _)| known == room).unwrap_or_else(|| {
            panic!("{name} is in no room of the plan: give {room} its directions here");
        });
        for path in paths(&tokens(&name, &text)) {
            let Some(mut target) = within_crate(&module, &path) else { continue };
            seen += 1;
            // What the crate re-exports for its users is no room of its own.
            if target.is_empty() || target[0] == "ipnet" {
                continue;
            }
            if target[0] == "proto" && target.get(1).is_some_and(|name| packet.contains(name)) {
                target.insert(1, "packet".to_owned());
            }
            let target = target.join("::");
            let may = allowed.iter().any(|room| target == *room || target.starts_with(&format!("{room}::")));
            if !may {
                offences.push(format!("{name} uses {target}"));
            }
        }
    }
    assert!(seen > 50, "only {seen} paths within the crate were found");
    complain(
        "dependencies point app -> net -> runtime -> {device, proto}, and device sees proto::packet alone",
        &offences,
    );
}

#[test]
fn the_core_knows_no_clock_no_system_and_no_lock() {
    let mut offences = Vec::new();
    for (name, text) in sources() {
        if !name.starts_with("src/proto/") {
            continue;
        }
        for path in paths(&tokens(&name, &text)) {
            if path.len() > 1 && NOT_IN_PROTO.contains(&path[0].as_str()) {
                offences.push(format!("{name}: {}", path.join("::")));
            }
            if path.iter().any(|segment| segment == "SystemTime") {
                offences.push(format!("{name}: {}", path.join("::")));
            }
        }
    }
    complain("time, randomness and secrets come into src/proto as values", &offences);
}

#[test]
fn unsafe_stands_in_one_file_alone() {
    let mut offences = Vec::new();
    for (name, text) in files_below(&["src", "tests", "examples", "fuzz/src", "fuzz/fuzz_targets"], is_rust) {
        if name == UNSAFE_HERE {
            continue;
        }
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        every_level(&stream.into_iter().collect::<Vec<_>>(), &mut |level| {
            for token in level.iter().filter(|token| is_ident(token, "unsafe")) {
                offences.push(format!("{name}:{}", token.span().start().line));
            }
        });
    }
    complain(&format!("unsafe belongs into {UNSAFE_HERE}"), &offences);
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    let Ok(text) = fs::read_to_string(root().join(UNSAFE_HERE)) else { return };
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut offences = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let opens = line.contains("unsafe {") || line.starts_with("unsafe impl");
        if !opens || line.starts_with("//") {
            continue;
        }
        let reason = lines[..at].iter().rev().take(8).any(|line| line.starts_with("// SAFETY:"));
        if !reason {
            offences.push(format!("{UNSAFE_HERE}:{}", at + 1));
        }
    }
    complain("an unsafe block needs a `// SAFETY:` line above it", &offences);
}

/// Compares sizes with the limit and with the list of exceptions, which must be exact.
fn check_lengths(what: &str, limit: usize, exceptions: &[(&str, usize)], sizes: &BTreeMap<String, usize>) {
    let mut offences = Vec::new();
    for (name, size) in sizes {
        let exception = exceptions.iter().find(|(known, _)| known == name);
        let ceiling = exception.map_or(limit, |(_, ceiling)| *ceiling);
        if *size > ceiling {
            offences.push(format!("{name} has {size} lines, and {ceiling} are allowed"));
        }
    }
    for (name, ceiling) in exceptions {
        let size = sizes.get(*name).copied().unwrap_or(0);
        if size <= limit {
            offences.push(format!("{name} has {size} lines: strike it from the list of exceptions"));
        } else if size < *ceiling {
            offences.push(format!("{name} has {size} lines: lower its ceiling of {ceiling}"));
        }
    }
    complain(what, &offences);
}

#[test]
fn no_file_is_too_long() {
    let files =
        files_below(&["src", "tests", "examples", "benches", "fuzz/src", "fuzz/fuzz_targets"], is_rust);
    let sizes = files.iter().map(|(name, text)| (name.clone(), text.lines().count())).collect();
    check_lengths("files are too long", FILE_LINES_MAX, LONG_FILES, &sizes);
}

#[test]
fn no_function_is_too_long() {
    let mut sizes = BTreeMap::new();
    for (name, text) in files_below(&["src", "examples"], is_rust) {
        every_level(&tokens(&name, &text), &mut |level| {
            for function in functions(level) {
                let size = sizes.entry(format!("{name}::{}", function.name)).or_insert(0);
                *size = function.lines.count().max(*size);
            }
        });
    }
    assert!(sizes.len() > 100, "only {} functions were found", sizes.len());
    check_lengths("functions are too long", FUNCTION_LINES_MAX, LONG_FUNCTIONS, &sizes);
}

#[test]
fn no_file_holds_a_path_of_somebodys_machine() {
    // Put together here, so that this file doesn't hold them itself.
    let patterns = ["/home", "/Users", "/root", "/work", "/tmp/bash"].map(|start| format!("{start}/"));
    let directories = [
        "src",
        "tests",
        "examples",
        "benches",
        "fuzz",
        "docs",
        "scripts",
        ".ci",
        "README.md",
        "CHANGELOG.md",
        "Cargo.toml",
    ];
    let is_text = |path: &Path| {
        !path.components().any(|part| part.as_os_str() == "target" || part.as_os_str() == "corpus")
    };
    let mut offences = Vec::new();
    for (name, text) in files_below(&directories.map(|name| name), is_text) {
        for (line, text) in text.lines().enumerate() {
            if patterns.iter().any(|pattern| text.contains(pattern.as_str())) {
                offences.push(format!("{name}:{}: {}", line + 1, text.trim()));
            }
        }
    }
    complain("paths of a machine don't belong into the project", &offences);
}

mod this_test {
    //! The reading of tokens itself, on small texts.

    use super::*;

    /// The paths with a root. (What stands in the braces of a `use` is found once more without it.)
    fn read(text: &str) -> Vec<String> {
        let rooted =
            |path: &Vec<String>| path.len() > 1 && matches!(path[0].as_str(), "crate" | "super" | "std");
        paths(&tokens("text", text)).into_iter().filter(rooted).map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_found_in_uses_types_expressions_and_macros() {
        assert_eq!(
            read("use crate::{a::B, c::{D, e::F}, g};"),
            ["crate::a::B", "crate::c::D", "crate::c::e::F", "crate::g"]
        );
        assert_eq!(read("fn f(x: crate::a::B) { std::mem::drop(x) }"), ["crate::a::B", "std::mem::drop"]);
        assert_eq!(read("assert!(crate::a::ok(super::b::C));"), ["crate::a::ok", "super::b::C"]);
    }

    #[test]
    fn comments_strings_and_tests_are_passed_over() {
        assert_eq!(read("/// crate::a\n// crate::b\nconst C: &str = \"crate::d\";"), Vec::<String>::new());
        assert_eq!(
            read("#[cfg(test)]\n#[rustfmt::skip]\nmod tests { use std::time; } use crate::a;"),
            ["crate::a"]
        );
        assert_eq!(read("mod m { #[cfg(test)] use std::time; use crate::a; }"), ["crate::a"]);
        assert_eq!(read("#[cfg(not(test))] use std::time;"), ["std::time"]);
    }

    #[test]
    fn super_leads_upwards_from_the_files_module() {
        let resolve = |file: &str, path: &str| {
            let path: Vec<String> = path.split("::").map(str::to_owned).collect();
            within_crate(&module_of(file), &path).map(|path| path.join("::"))
        };
        assert_eq!(resolve("src/proto/ip/mod.rs", "super::super::net::Net").as_deref(), Some("net::Net"));
        assert_eq!(
            resolve("src/device/plain.rs", "super::super::proto::Stack").as_deref(),
            Some("proto::Stack")
        );
        assert_eq!(resolve("src/device/plain.rs", "super::sys").as_deref(), Some("device::sys"));
        assert_eq!(resolve("src/main.rs", "tunstack::app::run").as_deref(), Some("app::run"));
        assert_eq!(resolve("src/main.rs", "std::process::exit"), None);
    }

    #[test]
    fn functions_are_measured_from_their_first_line_to_their_last() {
        let text = "impl A {\n fn one() {\n  x();\n }\n fn two(f: fn(u8) -> u8);\n fn three() {}\n}";
        let mut found = Vec::new();
        every_level(&tokens("text", text), &mut |level| found.extend(functions(level)));
        let sizes: Vec<_> = found.into_iter().map(|found| (found.name, found.lines.count())).collect();
        assert_eq!(sizes, [("one".to_owned(), 3), ("three".to_owned(), 1)]);
    }
}
