//! What the rules need to know of a Rust file, from its tokens: every path mentioned, every function, which lines are tests.
//! Input: the text. Output: [`RustFile`]. Tokens rather than a syntax tree, because code inside macro calls counts as well;
//! it must never look into comments or string literals.

use std::ops::RangeInclusive;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A path written in the code: `a::b::c`, a single name, or one leaf of a `use` tree with its prefix put before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    /// The names between the `::`; the last is `*` for a glob.
    pub segments: Vec<String>,
    /// Line of the first name written here, from 1.
    pub line: usize,
    /// The punctuation just before: `.` for a method.
    pub before: Option<char>,
    /// What comes just after: `(` for a call, `!` for a macro.
    pub after: Option<char>,
}

impl Mention {
    /// True when the last segments are `tail`.
    pub fn ends_with(&self, tail: &[&str]) -> bool {
        self.segments.len() >= tail.len()
            && self.segments[self.segments.len() - tail.len()..].iter().zip(tail).all(|(have, want)| have == want)
    }
}

/// A Rust file taken apart.
pub struct RustFile {
    /// All tokens, in nested groups.
    pub tokens: TokenStream,
    /// Every path in the order of the text, macro calls included.
    pub mentions: Vec<Mention>,
    tests: Vec<RangeInclusive<usize>>,
    constants: Vec<RangeInclusive<usize>>,
}

impl RustFile {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// The lexer's words when the text is not made of Rust tokens.
    pub fn read(text: &str) -> Result<RustFile, String> {
        let tokens = TokenStream::from_str(text).map_err(|error| error.to_string())?;
        let (mut mentions, mut tests, mut constants) = (Vec::new(), Vec::new(), Vec::new());
        each_level(&tokens, &mut |level| {
            collect_mentions(level, &mut mentions);
            collect_tests(level, &mut tests);
            collect_constants(level, &mut constants);
        });
        Ok(RustFile { tokens, mentions, tests, constants })
    }

    /// True when `line` (from 1) is inside an item that is only built for tests.
    pub fn is_test_line(&self, line: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&line))
    }

    /// True when `line` (from 1) is inside the value of a constant or a `const { }`: a panic there stops the build, not the program.
    pub fn is_constant_line(&self, line: usize) -> bool {
        self.constants.iter().any(|range| range.contains(&line))
    }
}

/// Calls `visit` with the tokens of the file and of every group in it, however deep. The inside of `{...}` of a `use` tree is
/// left out: its names mean nothing without their prefix.
pub fn each_level(tokens: &TokenStream, visit: &mut dyn FnMut(&[TokenTree])) {
    let level: Vec<TokenTree> = tokens.clone().into_iter().collect();
    visit(&level);
    for (index, token) in level.iter().enumerate() {
        if let TokenTree::Group(group) = token
            && !is_use_group(&level, index)
        {
            each_level(&group.stream(), visit);
        }
    }
}

/// First line of a token, from 1.
pub fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// The group at `index` when it is delimited so.
pub fn group_at(level: &[TokenTree], index: usize, delimiter: Delimiter) -> Option<&Group> {
    match level.get(index) {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
    }
}

/// The name at `index`.
pub fn ident_at(level: &[TokenTree], index: usize) -> Option<String> {
    match level.get(index) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// True when the token at `index` is this punctuation.
pub fn is_punct(level: &[TokenTree], index: usize, wanted: char) -> bool {
    matches!(level.get(index), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// The body's `{...}` of the item that starts before `from`: the first braces before a `;`.
pub fn body_after(level: &[TokenTree], from: usize) -> Option<&Group> {
    for index in from..level.len() {
        if is_punct(level, index, ';') {
            return None;
        }
        if let Some(body) = group_at(level, index, Delimiter::Brace) {
            return Some(body);
        }
    }
    None
}

fn is_separator(level: &[TokenTree], index: usize) -> bool {
    is_punct(level, index, ':') && is_punct(level, index + 1, ':')
}

fn is_use_group(level: &[TokenTree], index: usize) -> bool {
    index >= 2 && is_separator(level, index - 2) && group_at(level, index, Delimiter::Brace).is_some()
}

fn collect_mentions(level: &[TokenTree], out: &mut Vec<Mention>) {
    let mut index = 0;
    while index < level.len() {
        index = if ident_at(level, index).is_some() { read_path(level, index, &[], out) } else { index + 1 };
    }
}

/// Reads the path whose first name is at `start`, and gives the index after it.
fn read_path(level: &[TokenTree], start: usize, prefix: &[String], out: &mut Vec<Mention>) -> usize {
    let mut segments = prefix.to_vec();
    segments.extend(ident_at(level, start));
    let mut end = start + 1;
    while is_separator(level, end) {
        if let Some(name) = ident_at(level, end + 2) {
            segments.push(name);
        } else if is_punct(level, end + 2, '*') {
            segments.push("*".to_owned());
        } else if let Some(group) = group_at(level, end + 2, Delimiter::Brace) {
            read_use_group(group, &segments, out);
            return end + 3;
        } else {
            // A turbofish: what follows it stands by itself.
            break;
        }
        end += 3;
    }
    // `use a::{self}` names `a` itself.
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let before = start.checked_sub(1).and_then(|previous| edge(level, previous));
    out.push(Mention { segments, line: line_of(&level[start]), before, after: edge(level, end) });
    end
}

fn read_use_group(group: &Group, prefix: &[String], out: &mut Vec<Mention>) {
    let level: Vec<TokenTree> = group.stream().into_iter().collect();
    let mut index = 0;
    while index < level.len() {
        index = match ident_at(&level, index).as_deref() {
            // The new name of `x as y` is not a path.
            Some("as") => index + 2,
            Some(_) => read_path(&level, index, prefix, out),
            None if is_punct(&level, index, '*') => {
                let segments = prefix.iter().cloned().chain(["*".to_owned()]).collect();
                out.push(Mention { segments, line: line_of(&level[index]), before: None, after: None });
                index + 1
            }
            None => index + 1,
        };
    }
}

fn edge(level: &[TokenTree], index: usize) -> Option<char> {
    match level.get(index)? {
        TokenTree::Punct(punct) => Some(punct.as_char()),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => Some('('),
        _ => None,
    }
}

fn collect_tests(level: &[TokenTree], out: &mut Vec<RangeInclusive<usize>>) {
    for index in 0..level.len() {
        if !is_punct(level, index, '#') {
            continue;
        }
        let first = line_of(&level[index]);
        if let Some(attribute) = group_at(level, index + 1, Delimiter::Bracket) {
            if is_test_attribute(attribute) {
                out.push(first..=item_end(level, index + 2));
            }
        } else if is_punct(level, index + 1, '!')
            && group_at(level, index + 2, Delimiter::Bracket).is_some_and(is_test_attribute)
        {
            // An inner attribute speaks for all that is around it.
            let last = level.last().map_or(first, |token| token.span().end().line);
            out.push(first..=last);
        }
    }
}

fn collect_constants(level: &[TokenTree], out: &mut Vec<RangeInclusive<usize>>) {
    for index in 0..level.len() {
        let named = ident_at(level, index + 1).is_some() && is_punct(level, index + 2, ':');
        let block = group_at(level, index + 1, Delimiter::Brace).is_some();
        if ident_at(level, index).as_deref() == Some("const") && (named || block) {
            out.push(line_of(&level[index])..=item_end(level, index));
        }
    }
}

fn is_test_attribute(attribute: &Group) -> bool {
    let level: Vec<TokenTree> = attribute.stream().into_iter().collect();
    if ident_at(&level, 0).as_deref() == Some("cfg") {
        return group_at(&level, 1, Delimiter::Parenthesis).is_some_and(needs_test);
    }
    // `test`, `tokio::test`, `tokio::test(flavor = "...")`.
    let path = level.iter().take_while(|token| !matches!(token, TokenTree::Group(_)));
    let last = path.filter(|token| matches!(token, TokenTree::Ident(_))).last();
    last.is_some_and(|name| name.to_string() == "test")
}

/// True when the condition can't hold outside tests: `test` itself, or inside `all(...)`. `any` and `not` promise no such thing.
fn needs_test(condition: &Group) -> bool {
    let level: Vec<TokenTree> = condition.stream().into_iter().collect();
    (0..level.len()).any(|index| match ident_at(&level, index).as_deref() {
        Some("test") => true,
        Some("all") => group_at(&level, index + 1, Delimiter::Parenthesis).is_some_and(needs_test),
        _ => false,
    })
}

/// Last line of the item that begins at `from`.
fn item_end(level: &[TokenTree], from: usize) -> usize {
    // A `const { }` is over with its braces.
    if let Some(block) = group_at(level, from + 1, Delimiter::Brace) {
        return block.span_close().end().line;
    }
    // Braces don't end these: `const A: B = B { ... };`
    let ends_with_semicolon = |name: &str| matches!(name, "use" | "const" | "static" | "let" | "type");
    let mut first_word = None;
    let mut last = from;
    for index in from..level.len() {
        last = index;
        let name = ident_at(level, index).filter(|name| name != "pub");
        // `const fn` is a function.
        if first_word.is_none() || (first_word.as_deref() == Some("const") && name.as_deref() == Some("fn")) {
            first_word = name.or(first_word);
        }
        let braces = group_at(level, index, Delimiter::Brace).is_some();
        if is_punct(level, index, ';') || (braces && !first_word.as_deref().is_some_and(ends_with_semicolon)) {
            break;
        }
    }
    level.get(last).map_or(0, |token| token.span().end().line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RustFile {
        RustFile::read(text).unwrap()
    }

    fn paths(text: &str) -> Vec<String> {
        read(text).mentions.iter().map(|mention| mention.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_are_spread_into_whole_paths() {
        let found = paths("use std::{io::{self, Read as R}, fmt::*, time::Instant};");
        assert_eq!(found, ["use", "std::io", "std::io::Read", "std::fmt::*", "std::time::Instant"]);
    }

    #[test]
    fn paths_inside_macro_calls_are_seen_and_strings_are_not() {
        let found = paths(r#"fn f() { log!("crate::no", crate::queue::depth()); } // crate::no"#);
        assert!(found.contains(&"crate::queue::depth".to_owned()), "{found:?}");
        assert!(!found.iter().any(|path| path.contains("no")), "{found:?}");
    }

    #[test]
    fn a_method_call_is_told_from_a_function_of_that_name() {
        let file = read("fn f() { a.unwrap(); unwrap(); panic!(); Vec::<u8>::new() }");
        let find = |name: &str| file.mentions.iter().filter(|m| m.ends_with(&[name])).collect::<Vec<_>>();
        let unwraps = find("unwrap");
        assert_eq!((unwraps[0].before, unwraps[0].after), (Some('.'), Some('(')));
        assert_eq!((unwraps[1].before, unwraps[1].after), (Some(';'), Some('(')));
        assert_eq!(find("panic")[0].after, Some('!'));
        assert_eq!(find("Vec")[0].line, 1);
    }

    #[test]
    fn test_code_is_known_by_its_attribute() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[tokio::test(x = 1)]\nasync fn d() {\n}\n";
        let file = read(text);
        let tests: Vec<usize> = (1..=10).filter(|line| file.is_test_line(*line)).collect();
        assert_eq!(tests, [2, 3, 4, 5, 7, 8, 9]);
    }

    #[test]
    fn conditions_that_may_hold_outside_tests_are_product_code() {
        for condition in ["not(test)", "any(test, unix)", "feature = \"test\"", "all(unix, not(test))"] {
            assert!(!read(&format!("#[cfg({condition})] mod a {{}}")).is_test_line(1), "{condition}");
        }
        for condition in ["test", "all(unix, test)"] {
            assert!(read(&format!("#[cfg({condition})] mod a {{}}")).is_test_line(1), "{condition}");
        }
    }

    #[test]
    fn a_test_only_import_ends_at_its_semicolon() {
        let file = read("#[cfg(test)]\nuse a::{\n    b,\n    c,\n};\nfn d() {}\n");
        assert!(file.is_test_line(5));
        assert!(!file.is_test_line(6));
        let file = read("#[cfg(test)]\npub const fn f() {\n}\nfn d() {}\n");
        assert!(file.is_test_line(3));
        assert!(!file.is_test_line(4));
    }

    #[test]
    fn values_of_constants_are_known_from_the_code_around_them() {
        let text = "const A: u8 = match B {\n  _ => 1,\n};\nconst fn f() {\n  g()\n}\nfn h() {\n  const {\n    1\n  };\n  g()\n}\n";
        let file = read(text);
        let constant: Vec<usize> = (1..=13).filter(|line| file.is_constant_line(*line)).collect();
        assert_eq!(constant, [1, 2, 3, 8, 9, 10]);
    }

    #[test]
    fn an_inner_test_attribute_covers_the_whole_file() {
        let file = read("//! doc\n#![cfg(test)]\nfn a() {}\nfn b() {}\n");
        assert!(file.is_test_line(4));
    }
}
