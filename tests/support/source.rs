//! Reading the project's own source, as tokens: neither comments nor strings nor formatting deceive.

// Each test uses some of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below these directories for which `wanted` holds, by its path from the root.
pub(crate) fn files_below(directories: &[&str], wanted: impl Fn(&Path) -> bool) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut pending: Vec<PathBuf> = directories.iter().map(|directory| root().join(directory)).collect();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a directory of the project can be read");
            pending.extend(entries.map(|entry| entry.expect("an entry can be read").path()));
        } else if wanted(&path) {
            let name = path.strip_prefix(root()).expect("it lies below the root").display().to_string();
            if let Ok(text) = fs::read_to_string(&path) {
                files.insert(name, text);
            }
        }
    }
    files
}

pub(crate) fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

pub(crate) fn sources() -> BTreeMap<String, String> {
    let files = files_below(&["src"], is_rust);
    assert!(files.len() > 20, "only {} source files were found", files.len());
    files
}

/// The tokens of a file, those under `#[cfg(test)]` left out.
pub(crate) fn tokens(name: &str, text: &str) -> Vec<TokenTree> {
    without_tests(parse(name, text))
}

/// All tokens of a file.
fn parse(name: &str, text: &str) -> Vec<TokenTree> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
    stream.into_iter().collect()
}

/// Leaves out every item under `#[cfg(test)]`, in groups as well.
fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    split_tests(tokens).0
}

/// The tokens of one level: those that stay, and each item under `#[cfg(test)]`.
fn split_tests(tokens: Vec<TokenTree>) -> (Vec<TokenTree>, Vec<Vec<TokenTree>>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let cfg_test = is_punct(&token, '#') && rest.peek().is_some_and(is_cfg_test);
        if !cfg_test {
            kept.push(token);
            continue;
        }
        // The item ends with its body or with a semicolon; the attributes before it are groups in brackets.
        let mut item = vec![token];
        for token in rest.by_ref() {
            let ends = is_punct(&token, ';') || group(&token, Delimiter::Brace).is_some();
            item.push(token);
            if ends {
                break;
            }
        }
        left_out.push(item);
    }
    (kept, left_out)
}

/// The lines of every item under `#[cfg(test)]`.
pub(crate) fn test_lines(name: &str, text: &str) -> Vec<RangeInclusive<usize>> {
    let mut found = Vec::new();
    collect_test_lines(parse(name, text), &mut found);
    found
}

fn collect_test_lines(tokens: Vec<TokenTree>, found: &mut Vec<RangeInclusive<usize>>) {
    let (kept, left_out) = split_tests(tokens);
    for item in left_out {
        if let [first, .., last] = &item[..] {
            found.push(first.span().start().line..=last.span().end().line);
        }
    }
    for token in kept {
        if let TokenTree::Group(group) = token {
            collect_test_lines(group.stream().into_iter().collect(), found);
        }
    }
}

fn is_cfg_test(token: &TokenTree) -> bool {
    group(token, Delimiter::Bracket).is_some_and(|inner| {
        let words: Vec<String> = inner.iter().map(ToString::to_string).collect();
        matches!(words.as_slice(), [cfg, condition] if cfg == "cfg" && condition == "(test)")
    })
}

pub(crate) fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

pub(crate) fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

/// The tokens of a group with this delimiter, those under `#[cfg(test)]` left out.
pub(crate) fn group(token: &TokenTree, delimiter: Delimiter) -> Option<Vec<TokenTree>> {
    match token {
        TokenTree::Group(group) if group.delimiter() == delimiter => {
            Some(without_tests(group.stream().into_iter().collect()))
        }
        _ => None,
    }
}

/// Calls `visit` on the tokens of every level, from the outermost inwards.
pub(crate) fn every_level(tokens: &[TokenTree], visit: &mut impl FnMut(&[TokenTree])) {
    visit(tokens);
    for token in tokens {
        if let TokenTree::Group(inner) = token {
            let inner = group(token, inner.delimiter()).expect("it is such a group");
            every_level(&inner, visit);
        }
    }
}

/// A function with a body.
#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// From `fn` to the closing brace.
    pub(crate) lines: RangeInclusive<usize>,
    /// It stands under `#[test]`.
    pub(crate) is_test: bool,
}

/// The functions of one level.
pub(crate) fn functions(level: &[TokenTree]) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, token) in level.iter().enumerate() {
        // `fn(u8) -> u8` is a type: it has no name.
        let [TokenTree::Ident(name), rest @ ..] = &level[at + 1..] else { continue };
        if !is_ident(token, "fn") {
            continue;
        }
        let end = rest.iter().find(|token| is_punct(token, ';') || is_brace(token));
        if let Some(body) = end.filter(|token| is_brace(token)) {
            let lines = token.span().start().line..=body.span().end().line;
            found.push(Function { name: name.to_string(), lines, is_test: is_under_test(&level[..at]) });
        }
    }
    found
}

/// Every function of a file with its tests, from the first line to the last.
pub(crate) fn all_functions(name: &str, text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    collect_functions(&parse(name, text), &mut found);
    found.sort_by_key(|function| *function.lines.start());
    found
}

fn collect_functions(level: &[TokenTree], found: &mut Vec<Function>) {
    found.extend(functions(level));
    for token in level {
        if let TokenTree::Group(group) = token {
            collect_functions(&group.stream().into_iter().collect::<Vec<_>>(), found);
        }
    }
}

/// Whether `#[test]` is among the attributes with which these tokens end.
fn is_under_test(before: &[TokenTree]) -> bool {
    let attributes = before.iter().rev().take_while(|token| !is_punct(token, ';') && !is_brace(token));
    attributes
        .filter_map(|token| group(token, Delimiter::Bracket))
        .any(|inner| matches!(&inner[..], [word] if is_ident(word, "test")))
}

fn is_brace(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

pub(crate) fn complain(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}
