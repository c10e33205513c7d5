//! Ties every requirement to the code that meets it and to the tests that prove it.
//!
//! The tables are `docs/requirements/rfc*.toml`. Code and tests cite their ids in comments, as in
//! `//= RFCnnnn MUST-6, SHLD-7: why`; a case of `scripts/conformance` does it by its `@case("RFCnnnn MUST-6")`. What comes of
//! it is written to `docs/compliance.md`: `COMPLIANCE_WRITE=1 cargo test --test compliance` brings that page up to date.
//!
//! A section may be cited as well (`//= RFCnnnn section 3.2`), unless a table has requirements of that section.
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

/// A reason is a sentence: fewer words than these give none.
const REASON_WORDS_MIN: usize = 5;

/// The RFCs of which the conformance suite lists all requirements, and more that it has found itself. Of the others it lists
/// those that can be seen from outside, and no other.
const WHOLLY_IN_THE_SUITE: [u32; 6] = [5681, 5961, 6056, 6298, 6528, 9293];

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
    /// Why it is met without a line of code that could be wrong: there is nothing that could break it.
    holds: Option<String>,
    /// Why it is not met.
    waived: Option<String>,
    /// What is to be known of it although it is done.
    note: Option<String>,
}

/// What is done about a requirement.
#[derive(Clone, Copy, Debug)]
enum Answer<'a> {
    /// Code does it, and a test proves it.
    Done,
    /// It is true by construction, for this reason.
    Holds(&'a str),
    /// It is not met, for this reason.
    Waived(&'a str),
}

impl Requirement {
    /// The only answer that the table gives; else what is wrong with it.
    fn answer(&self) -> Result<Answer<'_>, &'static str> {
        match (self.done, self.holds.as_deref(), self.waived.as_deref()) {
            (true, None, None) => Ok(Answer::Done),
            (false, Some(reason), None) => Ok(Answer::Holds(reason)),
            (false, None, Some(reason)) => Ok(Answer::Waived(reason)),
            (false, None, None) => Err("has no answer"),
            (true | false, Some(_), _) | (true, None, Some(_)) => Err("has two answers"),
        }
    }
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

/// Ids that are cited and stand in no table, of those RFCs that have one; and sections of which there are ids to be cited.
fn unknown(
    tables: &BTreeMap<u32, Table>,
    others: &BTreeMap<String, String>,
    citations: &Citations,
) -> Vec<String> {
    let known: BTreeSet<String> = all(tables).map(|(id, _)| id).chain(others.keys().cloned()).collect();
    let sections: BTreeSet<(u32, &str)> = tables
        .iter()
        .flat_map(|(rfc, table)| table.requirement.iter().map(move |it| (*rfc, it.section.as_str())))
        .collect();
    let mut offences = Vec::new();
    for (id, places) in citations {
        let Some((rfc, id_there)) = id.strip_prefix("RFC").and_then(|id| id.split_once(' ')) else {
            continue;
        };
        let Some(rfc) = rfc.parse().ok().filter(|rfc| tables.contains_key(rfc)) else { continue };
        let section = id_there.strip_prefix("section ").and_then(|behind| behind.split(' ').next());
        let is_known = section.map_or(known.contains(id), |section| !sections.contains(&(rfc, section)));
        if !is_known {
            let files: BTreeSet<&str> = places.iter().map(Place::file).collect();
            offences.push(format!("{id}: {}", files.into_iter().collect::<Vec<_>>().join(", ")));
        }
    }
    offences
}

/// Requirements that have no answer or two, or one without a reason, or are there twice.
fn unanswered(tables: &BTreeMap<u32, Table>) -> Vec<String> {
    let (mut offences, mut seen) = (Vec::new(), BTreeSet::new());
    for (id, requirement) in all(tables) {
        match requirement.answer() {
            Ok(Answer::Done) => {}
            Ok(Answer::Holds(reason) | Answer::Waived(reason)) if is_sentence(reason) => {}
            Ok(Answer::Holds(reason)) => {
                offences.push(format!("{id} holds for no reason of a sentence: {reason:?}"))
            }
            Ok(Answer::Waived(reason)) => {
                offences.push(format!("{id} is waived for no reason of a sentence: {reason:?}"));
            }
            Err(trouble) => offences.push(format!("{id} {trouble}")),
        }
        if !seen.insert(id.clone()) {
            offences.push(format!("{id} is there twice"));
        }
    }
    offences
}

fn is_sentence(reason: &str) -> bool {
    reason.split_whitespace().count() >= REASON_WORDS_MIN && reason.ends_with('.')
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
fn every_requirement_is_done_or_holds_or_is_waived_for_a_reason() {
    complain("a requirement is done, or holds or is waived for a reason", &unanswered(&tables()));
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
    let ours: BTreeMap<String, &str> = all(&tables).map(|(id, it)| (id, it.strength.name())).collect();
    let is_seen_in_part = |rfc: u32| tables.contains_key(&rfc) && !WHOLLY_IN_THE_SUITE.contains(&rfc);
    for (id, strength) in &cases {
        let rfc = id.strip_prefix("RFC").and_then(|id| id.split(' ').next()?.parse().ok());
        match ours.get(id) {
            Some(here) if here == strength => {}
            Some(here) => offences.push(format!("{id} is a {strength} there and a {here} here")),
            None if rfc.is_some_and(is_seen_in_part) => {
                offences.push(format!("{id} is missing here"));
            }
            None => {}
        }
    }
    let whole = tables.iter().filter(|(rfc, _)| WHOLLY_IN_THE_SUITE.contains(rfc));
    for (rfc, table) in whole {
        let ids = table.requirement.iter().map(|it| format!("RFC{rfc} {}", it.id));
        offences.extend(ids.filter(|id| !cases.contains_key(id)).map(|id| format!("{id} is missing there")));
    }
    complain(&format!("{CASE_IDS} and {TABLES} have the same"), &offences);
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

Each requirement of the tables in [requirements/](requirements/) with the code that meets it and the tests that prove it, or why it
holds without either, or why it is waived. The links lead to files; within a file the requirement is cited by its id, as [requirements/README.md](requirements/README.md)
explains. Tests below `cases/` are those of the [conformance suite](../scripts/conformance/README.md).

";

fn page(tables: &BTreeMap<u32, Table>, citations: &Citations) -> String {
    let mut page = String::from(PAGE_START);
    page.push_str(
        "| RFC | requirements | done | hold | waived | MUSTs waived |\n|---|---|---|---|---|---|\n",
    );
    for (rfc, table) in tables {
        let all = &table.requirement;
        let waived = all.iter().filter(|it| it.waived.is_some());
        let musts = waived.clone().filter(|it| it.strength.is_must());
        let done = all.iter().filter(|it| it.done);
        let hold = all.iter().filter(|it| it.holds.is_some());
        let counts = [all.len(), done.count(), hold.count(), waived.count(), musts.count()];
        let counts = counts.map(|count| count.to_string()).join(" | ");
        let _ = writeln!(page, "| [{rfc}](#rfc-{rfc}) {} | {counts} |", table.title);
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
    let Requirement { id, section, strength, text, note, .. } = requirement;
    let code: Vec<String> = code.iter().map(|place| link(place)).collect();
    let tests: Vec<String> = tests.iter().map(|place| link(place)).collect();
    let code = match requirement.answer() {
        Ok(Answer::Holds(reason)) => format!("*holds*: {reason}"),
        Ok(Answer::Waived(reason)) => format!("*waived*: {reason}"),
        Ok(Answer::Done) | Err(_) => code.join("<br>"),
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
            row("F", "holds = \"There is no link layer here at all.\""),
            row("G", "holds = \"By construction.\""),
            row("H", "holds = \"There is no link layer here at all.\"\ndone = true"),
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
                "RFC1 C has no answer",
                "RFC1 D is waived for no reason of a sentence: \"Later.\"",
                "RFC1 E has two answers",
                "RFC1 A is there twice",
                "RFC1 G holds for no reason of a sentence: \"By construction.\"",
                "RFC1 H has two answers",
            ]
        );
    }

    #[test]
    fn what_is_done_without_code_or_without_a_test_is_found() {
        let (by_code, by_test) = (code("RFC1 A", "src/a.rs"), test("RFC1 A", "src/a.rs", "t"));
        let e = ["RFC1 E", "RFC1 H"].map(|id| [code(id, "src/a.rs"), test(id, "src/a.rs", "t")]).concat();
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
        let places = ["RFC1 A", "RFC1 Z", "RFC1 other", "RFC2 Z"].map(|id| code(id, "src/a.rs"));
        let others = BTreeMap::from([("RFC1 other".to_owned(), "MUST".to_owned())]);
        assert_eq!(unknown(&small_table(), &others, &cited_by(&places)), ["RFC1 Z: src/a.rs"]);
    }

    #[test]
    fn a_section_is_cited_only_where_it_has_no_ids() {
        let places =
            ["RFC1 section 1", "RFC1 section 1.2", "RFC1 section 1 b"].map(|id| code(id, "src/a.rs"));
        let offences = unknown(&small_table(), &BTreeMap::new(), &cited_by(&places));
        assert_eq!(offences, ["RFC1 section 1: src/a.rs", "RFC1 section 1 b: src/a.rs"]);
    }
}
