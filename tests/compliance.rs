//! Ties every requirement to the code that meets it and to the tests that prove it.
//!
//! The tables are `docs/requirements/rfc*.toml`. Code and tests cite their ids in comments, as in
//! `//= RFCnnnn MUST-6, SHLD-7: why`; a case of `scripts/conformance` does it by its `@case("RFCnnnn MUST-6")`. What comes of
//! it is written to `docs/compliance.md`: `COMPLIANCE_WRITE=1 cargo test --test compliance` brings that page up to date.
//!
//! A citation in a function that is no test itself, such as an oracle of the simulation, counts for nothing: nobody
//! could say which test fails without it.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs};

use serde::Deserialize;

use support::source::{all_functions, complain, files_below, is_rust, root, test_lines};

const PAGE: &str = "docs/compliance.md";
const TABLES: &str = "docs/requirements";
const CASES: &str = "scripts/conformance/cases";
const CASE_IDS: &str = "scripts/conformance/requirements";

/// How many MUSTs of RFC 9293 may be waived.
const WAIVED_MUSTS_MAX: usize = 5;

/// A waiver is a sentence: fewer words than these give no reason.
const WAIVER_WORDS_MIN: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// What the RFC is about.
    title: String,
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    id: String,
    section: String,
    strength: Strength,
    text: String,
    #[serde(default)]
    done: bool,
    waived: Option<String>,
    /// What is to be known of it although it is done.
    note: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Strength {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
    #[serde(rename = "MAY")]
    May,
}

impl Strength {
    fn name(self) -> &'static str {
        match self {
            Strength::Must => "MUST",
            Strength::MustNot => "MUST NOT",
            Strength::Should => "SHOULD",
            Strength::ShouldNot => "SHOULD NOT",
            Strength::May => "MAY",
        }
    }

    fn is_must(self) -> bool {
        match self {
            Strength::Must | Strength::MustNot => true,
            Strength::Should | Strength::ShouldNot | Strength::May => false,
        }
    }
}

/// Where something is cited: a file, and the test in it if it is one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Code {
        file: String,
    },
    Test {
        file: String,
        name: String,
    },
    /// In a test's helper.
    Neither {
        file: String,
    },
}

impl Place {
    fn file(&self) -> &str {
        match self {
            Place::Code { file } | Place::Test { file, .. } | Place::Neither { file } => file,
        }
    }
}

/// An id with its RFC in front, such as `RFC9293 MUST-6`, and where it is cited.
type Citations = BTreeMap<String, BTreeSet<Place>>;

/// The tables by the number of their RFC.
fn tables() -> BTreeMap<u32, Table> {
    let files = files_below(&[TABLES], |path| path.extension().is_some_and(|it| it == "toml"));
    assert!(!files.is_empty(), "there are no tables in {TABLES}");
    let parse = |(name, text): (String, String)| {
        let number = name.rsplit('/').next().and_then(|file| file.strip_prefix("rfc")?.strip_suffix(".toml"));
        let number = number.and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("{name} is not named after an RFC"));
        let table = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (number, table)
    };
    files.into_iter().map(parse).collect()
}

/// Every citation in Rust code and in the cases of the conformance suite.
fn citations() -> Citations {
    let mut found = Citations::new();
    for (file, text) in files_below(&["src", "tests"], is_rust) {
        rust_citations(&file, &text, &mut found);
    }
    for (file, text) in files_below(&[CASES], |path| path.extension().is_some_and(|it| it == "py")) {
        case_citations(&file, &text, &mut found);
    }
    assert!(found.len() > 100, "only {} cited ids were found", found.len());
    found
}

fn rust_citations(file: &str, text: &str, found: &mut Citations) {
    let is_test_file = file.starts_with("tests/") || file.ends_with("/tests.rs") || file.contains("/tests/");
    let test_lines = test_lines(file, text);
    let functions = all_functions(file, text);
    for (line, text) in (1..).zip(text.lines()) {
        let Some((_, citation)) = text.split_once("//= RFC") else { continue };
        let place = if !is_test_file && !test_lines.iter().any(|lines| lines.contains(&line)) {
            Place::Code { file: file.to_owned() }
        } else {
            // It stands in the function, or before it; a function within another is the nearer one.
            let around = functions.iter().rev().find(|function| function.lines.contains(&line));
            let below = || functions.iter().find(|function| *function.lines.start() > line);
            match around.or_else(below) {
                Some(function) if function.is_test => {
                    Place::Test { file: file.to_owned(), name: function.name.clone() }
                }
                Some(_) | None => Place::Neither { file: file.to_owned() },
            }
        };
        for id in cited_ids(citation) {
            found.entry(id).or_default().insert(place.clone());
        }
    }
}

/// The ids of one comment, from what follows its "RFC": a number, and ids separated by commas; a colon or a bracket begins an
/// explanation.
fn cited_ids(citation: &str) -> Vec<String> {
    let Some((number, rest)) = citation.split_once(' ') else { return Vec::new() };
    let ids = rest.split(": ").next().unwrap_or_default().split(" (").next().unwrap_or_default();
    ids.trim_end_matches(':').split(", ").map(|id| format!("RFC{number} {}", id.trim())).collect()
}

fn case_citations(file: &str, text: &str, found: &mut Citations) {
    for case in text.split("\n@case(").skip(1) {
        let Some((_, behind)) = case.split_once("\ndef ") else { continue };
        let name = behind.split('(').next().unwrap_or_default();
        for id in leading_strings(case) {
            let place = Place::Test { file: file.to_owned(), name: name.to_owned() };
            found.entry(id.to_owned()).or_default().insert(place);
        }
    }
}

/// The strings with which a list of Python arguments begins: what has a name comes after them.
fn leading_strings(arguments: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = arguments;
    while let Some(inner) = rest.trim_start_matches([',', ' ', '\n']).strip_prefix('"') {
        let Some((string, behind)) = inner.split_once('"') else { break };
        found.push(string);
        rest = behind;
    }
    found
}

/// The ids of the conformance suite, each with its strength.
fn case_ids() -> BTreeMap<String, String> {
    let files = files_below(&[CASE_IDS], |path| path.extension().is_some_and(|it| it == "tsv"));
    let rows = files.values().flat_map(|text| text.lines());
    rows.filter_map(|row| {
        let mut cells = row.split('\t');
        Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
    })
    .collect()
}

/// Each requirement with its id and RFC in front.
fn all(tables: &BTreeMap<u32, Table>) -> impl Iterator<Item = (String, &Requirement)> {
    tables
        .iter()
        .flat_map(|(rfc, table)| table.requirement.iter().map(move |it| (format!("RFC{rfc} {}", it.id), it)))
}

fn places<'a>(citations: &'a Citations, id: &str) -> (Vec<&'a Place>, Vec<&'a Place>) {
    let cited = citations.get(id).into_iter().flatten();
    let cited = cited.filter(|place| !matches!(place, Place::Neither { .. }));
    cited.partition(|place| matches!(place, Place::Code { .. }))
}

/// Ids that are cited and stand in no table, of those RFCs that have one.
fn unknown(
    tables: &BTreeMap<u32, Table>,
    others: &BTreeMap<String, String>,
    citations: &Citations,
) -> Vec<String> {
    let known: BTreeSet<String> = all(tables).map(|(id, _)| id).chain(others.keys().cloned()).collect();
    let mut offences = Vec::new();
    for (id, places) in citations {
        let rfc = id.strip_prefix("RFC").and_then(|id| id.split(' ').next()?.parse().ok());
        let has_table = rfc.is_some_and(|rfc| tables.contains_key(&rfc));
        if has_table && !known.contains(id) {
            let files: BTreeSet<&str> = places.iter().map(Place::file).collect();
            offences.push(format!("{id}: {}", files.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    offences
}

/// Requirements that are neither done nor waived for a reason, or are there twice.
fn unanswered(tables: &BTreeMap<u32, Table>) -> Vec<String> {
    let (mut offences, mut seen) = (Vec::new(), BTreeSet::new());
    for (id, requirement) in all(tables) {
        match (requirement.done, &requirement.waived) {
            (true, None) => {}
            (true, Some(_)) => offences.push(format!("{id} is both done and waived")),
            (false, None) => offences.push(format!("{id} is neither done nor waived")),
            (false, Some(reason)) => {
                let is_sentence =
                    reason.split_whitespace().count() >= WAIVER_WORDS_MIN && reason.ends_with('.');
                if !is_sentence {
                    offences.push(format!("{id} is waived for no reason of a sentence: {reason:?}"));
                }
            }
        }
        if !seen.insert(id.clone()) {
            offences.push(format!("{id} is there twice"));
        }
    }
    offences
}

/// Requirements that are done, and cited by no code or by no test.
fn uncited(tables: &BTreeMap<u32, Table>, citations: &Citations) -> Vec<String> {
    let mut offences = Vec::new();
    for (id, requirement) in all(tables).filter(|(_, requirement)| requirement.done) {
        let (code, tests) = places(citations, &id);
        if code.is_empty() {
            offences.push(format!("{id}: no code cites it: {}", requirement.text));
        }
        if tests.is_empty() {
            offences.push(format!("{id}: no test cites it: {}", requirement.text));
        }
    }
    offences
}

#[test]
fn nothing_cites_a_requirement_that_is_in_no_table() {
    complain("an id is cited that no table has", &unknown(&tables(), &case_ids(), &citations()));
}

#[test]
fn every_requirement_is_done_or_waived_for_a_reason() {
    complain("a requirement is done, or waived for a reason", &unanswered(&tables()));
}

#[test]
fn what_is_done_is_cited_by_code_and_by_a_test() {
    let offences = uncited(&tables(), &citations());
    complain("what is done has its place in the code and its proof in a test", &offences);
}

#[test]
fn few_musts_of_tcp_are_waived() {
    let tables = tables();
    let tcp = &tables.get(&9293).expect("TCP has a table").requirement;
    assert!(tcp.len() >= 126, "only {} of the requirements of RFC 9293 are there", tcp.len());
    let waived = tcp.iter().filter(|it| it.strength.is_must() && it.waived.is_some());
    let waived: Vec<String> = waived.map(|it| it.id.clone()).collect();
    assert!(waived.len() <= WAIVED_MUSTS_MAX, "{} MUSTs are waived: {waived:?}", waived.len());
}

#[test]
fn the_conformance_suite_has_the_same_requirements() {
    let (mut offences, tables, cases) = (Vec::new(), tables(), case_ids());
    for (id, requirement) in all(&tables) {
        match cases.get(&id) {
            Some(strength) if *strength == requirement.strength.name() => {}
            Some(strength) => offences.push(format!("{id} is a {strength} there")),
            None => offences.push(format!("{id} is missing there")),
        }
    }
    complain(&format!("{CASE_IDS} has what {TABLES} has"), &offences);
}

#[test]
fn the_page_is_up_to_date() {
    let page = page(&tables(), &citations());
    let path = root().join(PAGE);
    if env::var_os("COMPLIANCE_WRITE").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differing = page.lines().zip(written.lines()).find(|(new, old)| new != old);
    assert!(
        page == written,
        "{PAGE} is not up to date: COMPLIANCE_WRITE=1 cargo test --test compliance writes it.\nFirst difference: \
         {differing:?}"
    );
}

const PAGE_START: &str = "\
# Compliance

<!-- Written by `COMPLIANCE_WRITE=1 cargo test --test compliance`; without that, the test fails if it is out of date. -->

Each requirement of the tables in [requirements/](requirements/) with the code that meets it and the tests that prove it. The
links lead to files; within a file the requirement is cited by its id, as [requirements/README.md](requirements/README.md)
explains. Tests below `cases/` are those of the [conformance suite](../scripts/conformance/README.md).

";

fn page(tables: &BTreeMap<u32, Table>, citations: &Citations) -> String {
    let mut page = String::from(PAGE_START);
    page.push_str("| RFC | requirements | done | waived | MUSTs waived |\n|---|---|---|---|---|\n");
    for (rfc, table) in tables {
        let all = &table.requirement;
        let waived = all.iter().filter(|it| it.waived.is_some());
        let (done, musts) =
            (all.iter().filter(|it| it.done), waived.clone().filter(|it| it.strength.is_must()));
        let counts = [all.len(), done.count(), waived.count(), musts.count()].map(|count| count.to_string());
        let _ = writeln!(page, "| [{rfc}](#rfc-{rfc}) {} | {} |", table.title, counts.join(" | "));
    }
    for (rfc, table) in tables {
        let _ = writeln!(page, "\n## RFC {rfc}\n\n{}.\n", table.title);
        page.push_str(
            "| id | section | strength | requirement | code | tests |\n|---|---|---|---|---|---|\n",
        );
        for requirement in &table.requirement {
            page.push_str(&row(requirement, &places(citations, &format!("RFC{rfc} {}", requirement.id))));
        }
    }
    page
}

fn row(requirement: &Requirement, (code, tests): &(Vec<&Place>, Vec<&Place>)) -> String {
    let Requirement { id, section, strength, text, waived, note, done: _ } = requirement;
    let code: Vec<String> = code.iter().map(|place| link(place)).collect();
    let tests: Vec<String> = tests.iter().map(|place| link(place)).collect();
    let code = match waived {
        Some(reason) => format!("*waived*: {reason}"),
        None => code.join("<br>"),
    };
    let note = note.as_ref().map_or(String::new(), |note| format!(" *{note}*"));
    let text = format!("{text}{note}").replace('|', "\\|");
    format!("| {id} | {section} | {} | {text} | {code} | {} |\n", strength.name(), tests.join("<br>"))
}

/// A link that doesn't rot: to the file, by what is said in it.
fn link(place: &Place) -> String {
    let file = place.file();
    let short = file.trim_start_matches("src/proto/").trim_start_matches("scripts/conformance/");
    match place {
        Place::Test { name, .. } => format!("[{short}](../{file}): {name}"),
        Place::Code { .. } | Place::Neither { .. } => format!("[{short}](../{file})"),
    }
}

mod this_test {
    //! The reading of citations and the judging of them, on small texts.

    use super::*;

    /// A comment that cites, put together here so that this file cites nothing itself.
    fn cite(ids: &str) -> String {
        format!("//{} {ids}\n", "= RFC1")
    }

    fn read(file: &str, text: &str) -> Vec<(String, Place)> {
        let mut found = Citations::new();
        rust_citations(file, text, &mut found);
        found
            .into_iter()
            .flat_map(|(id, places)| places.into_iter().map(move |place| (id.clone(), place)))
            .collect()
    }

    fn code(id: &str, file: &str) -> (String, Place) {
        (id.to_owned(), Place::Code { file: file.to_owned() })
    }

    fn test(id: &str, file: &str, name: &str) -> (String, Place) {
        (id.to_owned(), Place::Test { file: file.to_owned(), name: name.to_owned() })
    }

    #[test]
    fn ids_end_at_a_comma_and_the_list_at_a_colon_or_bracket() {
        assert_eq!(cited_ids("1 MUST-2/r1, SHLD-3: since it is, so"), ["RFC1 MUST-2/r1", "RFC1 SHLD-3"]);
        assert_eq!(cited_ids("1 MUST-2 (Karn, 1987)"), ["RFC1 MUST-2"]);
        assert_eq!(cited_ids("1 3.2 in window"), ["RFC1 3.2 in window"]);
        assert_eq!(cited_ids("1 4.2:"), ["RFC1 4.2"]);
    }

    #[test]
    fn code_is_what_is_no_test() {
        let cited = cite("A");
        let text =
            format!("{cited}fn f() {{}}\n#[cfg(test)]\nmod tests {{\n#[test]\nfn t() {{\n{cited}}}\n}}\n");
        assert_eq!(read("src/a.rs", &text), [code("RFC1 A", "src/a.rs"), test("RFC1 A", "src/a.rs", "t")]);
        let tests = read("src/a/tests.rs", &format!("#[test]\nfn t() {{\n{cited}}}\n"));
        assert_eq!(tests, [test("RFC1 A", "src/a/tests.rs", "t")]);
    }

    #[test]
    fn a_citation_belongs_to_the_test_around_or_below_it() {
        let (a, b) = (cite("A"), cite("B"));
        let text = format!(
            "{a}#[test]\nfn t() {{\n}}\n#[test]\n#[should_panic]\nfn u() {{\n{b}}}\nfn helper() {{\n{a}}}\n"
        );
        let neither = ("RFC1 A".to_owned(), Place::Neither { file: "tests/a.rs".to_owned() });
        assert_eq!(
            read("tests/a.rs", &text),
            [test("RFC1 A", "tests/a.rs", "t"), neither, test("RFC1 B", "tests/a.rs", "u")]
        );
    }

    #[test]
    fn tests_within_a_macro_are_tests() {
        let text = format!("proptest! {{\n#[test]\nfn t(n in 0..9u8) {{\n{}}}\n}}\n", cite("A"));
        assert_eq!(read("tests/a.rs", &text), [test("RFC1 A", "tests/a.rs", "t")]);
    }

    #[test]
    fn a_case_cites_by_the_strings_it_begins_with() {
        let text = "\n@case(\"RFC1 A\", \"RFC1 B c\",\n      linux=\"RFC1 D\")\n@parametrize(\"x\", [1])\ndef it_is_so(net):\n";
        let mut found = Citations::new();
        case_citations("a.py", text, &mut found);
        let place = Place::Test { file: "a.py".to_owned(), name: "it_is_so".to_owned() };
        let expected = ["RFC1 A", "RFC1 B c"].map(|id| (id.to_owned(), BTreeSet::from([place.clone()])));
        assert_eq!(found, Citations::from(expected));
    }

    fn small_table() -> BTreeMap<u32, Table> {
        let row = |id: &str, answer: &str| {
            format!(
                "[[requirement]]\nid = {id:?}\nsection = \"1\"\nstrength = \"MUST\"\ntext = \"Text.\"\n{answer}\n"
            )
        };
        let rows = [
            row("A", "done = true"),
            row("B", "waived = \"Nobody has missed it in forty years.\""),
            row("C", ""),
            row("D", "waived = \"Later.\""),
            row("E", "done = true\nwaived = \"Nobody has missed it in forty years.\""),
            row("A", "done = true"),
        ];
        let text = format!("title = \"Small\"\n{}", rows.concat());
        BTreeMap::from([(1, toml::from_str(&text).unwrap())])
    }

    fn cited_by(places: &[(String, Place)]) -> Citations {
        let mut citations = Citations::new();
        for (id, place) in places {
            citations.entry(id.clone()).or_default().insert(place.clone());
        }
        citations
    }

    #[test]
    fn what_has_no_answer_or_two_is_found() {
        assert_eq!(
            unanswered(&small_table()),
            [
                "RFC1 C is neither done nor waived",
                "RFC1 D is waived for no reason of a sentence: \"Later.\"",
                "RFC1 E is both done and waived",
                "RFC1 A is there twice",
            ]
        );
    }

    #[test]
    fn what_is_done_without_code_or_without_a_test_is_found() {
        let (by_code, by_test) = (code("RFC1 A", "src/a.rs"), test("RFC1 A", "src/a.rs", "t"));
        let e = [code("RFC1 E", "src/a.rs"), test("RFC1 E", "src/a.rs", "t")];
        let offences =
            |places: &[(String, Place)]| uncited(&small_table(), &cited_by(&[&e[..], places].concat()));
        assert_eq!(offences(&[by_code.clone(), by_test.clone()]), Vec::<String>::new());
        assert_eq!(offences(&[by_code])[0], "RFC1 A: no test cites it: Text.");
        assert_eq!(offences(&[by_test])[0], "RFC1 A: no code cites it: Text.");
        let neither = ("RFC1 A".to_owned(), Place::Neither { file: "tests/a.rs".to_owned() });
        assert_eq!(offences(&[neither]).len(), 4, "both, for each of the rows with that id");
    }

    #[test]
    fn an_unknown_id_is_found_where_its_rfc_has_a_table() {
        let places =
            ["RFC1 A", "RFC1 section 7", "RFC1 other", "RFC2 section 7"].map(|id| code(id, "src/a.rs"));
        let others = BTreeMap::from([("RFC1 other".to_owned(), "MUST".to_owned())]);
        assert_eq!(unknown(&small_table(), &others, &cited_by(&places)), ["RFC1 section 7: src/a.rs"]);
    }
}
