//! How long a function may be, in Rust, C, C++ and Python; tests' functions too.
//! Input: one source. Output: violations. Rust is counted by tokens; for the others matching braces and indents is exact
//! enough. It must never count comments before a function, nor judge fixtures and generated headers.

use proc_macro2::TokenTree;

use crate::rust::{RustFile, body_after, each_level, ident_at, line_of};
use crate::{Source, Violation, is_fixture, is_generated};

/// Lines from the one with the name to the one that closes the body.
const MAX_FUNCTION_LINES: usize = 70;

/// A function and the lines (from 1) it begins and ends on.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    first: usize,
    last: usize,
}

/// A function has at most 70 lines.
pub fn function_length(source: &Source) -> Vec<Violation> {
    if is_fixture(&source.path) || is_generated(source) {
        return Vec::new();
    }
    let functions = match (source.rust(), source.extension()) {
        (Some(rust), _) => rust_functions(rust),
        (None, "c" | "h" | "hpp" | "cc" | "cpp") => c_functions(&source.text),
        (None, "py") => python_functions(&source.text),
        _ => Vec::new(),
    };
    let long = functions.into_iter().filter_map(|function| {
        let lines = function.last - function.first + 1;
        (lines > MAX_FUNCTION_LINES).then(|| {
            Violation::new(
                &source.path,
                function.first,
                "function length",
                format!("`{}` has {lines} lines, {MAX_FUNCTION_LINES} allowed", function.name),
                "give its parts names of their own",
            )
        })
    });
    long.collect()
}

fn rust_functions(rust: &RustFile) -> Vec<Function> {
    let mut found = Vec::new();
    each_level(&rust.tokens, &mut |level: &[TokenTree]| {
        for index in 0..level.len() {
            if ident_at(level, index).as_deref() != Some("fn") {
                continue;
            }
            // `fn(` is the type of a function pointer.
            let Some(name) = ident_at(level, index + 1) else { continue };
            if let Some(body) = body_after(level, index) {
                let (first, last) = (line_of(&level[index]), body.span_close().end().line);
                found.push(Function { name, first, last });
            }
        }
    });
    found
}

/// What an open brace of C or C++ belongs to.
enum Frame {
    /// A namespace, class or `extern "C"`: functions may stand directly inside.
    Container,
    /// An initialiser, an enum, or a block inside a function.
    Other,
    /// The body of a function.
    Body { name: String, first: usize },
}

fn c_functions(text: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let mut frames: Vec<Frame> = Vec::new();
    // What was read since the last `;`, `{` or `}`, and the line its first word is on.
    let mut header = String::new();
    let (mut line, mut header_line) = (1, 1);
    for c in code_only(text).chars() {
        match c {
            '{' => {
                let open = frames.iter().all(|frame| matches!(frame, Frame::Container));
                frames.push(if open { classify(&header, header_line) } else { Frame::Other });
                header.clear();
            }
            '}' => {
                if let Some(Frame::Body { name, first }) = frames.pop() {
                    found.push(Function { name, first, last: line });
                }
                header.clear();
            }
            ';' => header.clear(),
            ':' if matches!(header.trim(), "public" | "private" | "protected") => header.clear(),
            c if header.is_empty() && c.is_whitespace() => {}
            c => {
                if header.is_empty() {
                    header_line = line;
                }
                header.push(c);
            }
        }
        line += usize::from(c == '\n');
    }
    found
}

/// Tells what the brace after `header` opens, where functions may stand.
fn classify(header: &str, first: usize) -> Frame {
    let header = header.trim();
    let Some((before, _)) = header.split_once('(') else {
        let is_enum = header.split_whitespace().any(|word| word == "enum");
        return if header.is_empty() || header.ends_with('=') || is_enum { Frame::Other } else { Frame::Container };
    };
    let words: Vec<&str> = before.split_whitespace().collect();
    let is_type = words.iter().any(|word| matches!(*word, "class" | "struct" | "union"));
    // `struct a f(void)` returns a struct; `struct ALIGNED(8) a` is one, and `namespace a VISIBLE(b)` is never a function.
    if (is_type && !header.ends_with(')')) || words.contains(&"namespace") {
        return Frame::Container;
    }
    if before.contains('=') && !before.contains("operator") {
        return Frame::Other;
    }
    let name = words.last().map_or("", |word| word.trim_start_matches(['*', '&']));
    Frame::Body { name: name.to_owned(), first }
}

/// The text with comments, literals and preprocessor lines blanked, so that only real braces are left. Lines stay in place.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = out.chars().next_back();
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' if before == Some('R') => raw_string(rest),
            // A quote after a digit parts thousands in C++.
            '\'' if before.is_some_and(|c| c.is_alphanumeric()) => 0,
            '"' | '\'' => quoted(rest, first),
            '#' if out.rsplit('\n').next().is_none_or(|line| line.trim().is_empty()) => directive(rest),
            _ => 0,
        };
        if length == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    out
}

/// Bytes of the literal that begins with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// Bytes of the C++ raw string that begins with the quote after its `R`.
fn raw_string(text: &str) -> usize {
    let Some(open) = text.find('(') else { return quoted(text, '"') };
    let end = format!("){}\"", &text[1..open]);
    text.find(&end).map_or(text.len(), |at| at + end.len())
}

/// Bytes of a preprocessor directive with its continued lines and the comments that begin in it.
fn directive(text: &str) -> usize {
    let mut end = 0;
    while let Some(found) = text[end..].find(['\n', '/']) {
        let (before, from) = text[end..].split_at(found);
        if from.starts_with("/*") {
            end += found + from.find("*/").map_or(from.len(), |close| close + 2);
        } else if from.starts_with('\n') && !before.trim_end().ends_with('\\') {
            return end + found;
        } else {
            end += found + 1;
        }
    }
    text.len()
}

/// A Python function still open at the line being read.
struct Open {
    name: String,
    indent: usize,
    first: usize,
    last: usize,
    /// False while the header's brackets are open: its closing `)` stands at the function's own indent.
    in_body: bool,
}

fn python_functions(text: &str) -> Vec<Function> {
    let (mut found, mut open): (Vec<Function>, Vec<Open>) = (Vec::new(), Vec::new());
    let mut in_text = false;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let was_in_text = in_text;
        in_text ^= (line.matches("\"\"\"").count() + line.matches("'''").count()) % 2 == 1;
        if code.is_empty() || (code.starts_with('#') && !was_in_text) {
            continue;
        }
        if !was_in_text {
            while open.last().is_some_and(|function| function.in_body && indent <= function.indent) {
                found.extend(open.pop().map(|f| Function { name: f.name, first: f.first, last: f.last }));
            }
            if let Some(rest) = code.strip_prefix("async def ").or_else(|| code.strip_prefix("def ")) {
                let name = rest.split('(').next().unwrap_or_default().trim().to_owned();
                open.push(Open { name, indent, first: number, last: number, in_body: false });
            }
        }
        for function in &mut open {
            function.last = number;
        }
        if let Some(function) = open.last_mut().filter(|function| !function.in_body) {
            let code = code.split(" #").next().unwrap_or_default().trim_end();
            function.in_body = code.ends_with(':') || (number == function.first && code.contains("):"));
        }
    }
    found.extend(open.into_iter().map(|f| Function { name: f.name, first: f.first, last: f.last }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, first: usize, last: usize) -> Function {
        Function { name: name.to_owned(), first, last }
    }

    #[test]
    fn a_rust_function_of_71_lines_is_too_long_and_one_of_70_is_not() {
        let file = |inner: usize| {
            Source::new("daemon/src/a.rs", format!("/// Doc.\nfn f()\n{{\n{}}}\n", "    g();\n".repeat(inner)))
        };
        let found = function_length(&file(68));
        assert_eq!((found.len(), found[0].line), (1, 2));
        assert!(function_length(&file(67)).is_empty());
    }

    #[test]
    fn functions_in_macros_tests_and_traits_are_measured_too() {
        let body = "    g();\n".repeat(80);
        for (before, after) in
            [("#[test]\nfn f() {\n", "}\n"), ("trait T { fn f() {\n", "} }"), ("m! { fn f() {\n", "} }")]
        {
            assert_eq!(function_length(&Source::new("tests/a.rs", format!("{before}{body}{after}"))).len(), 1);
        }
        let pointer =
            format!("struct A {{ f: fn(u8), }}\ntrait T {{ fn f(); }}\nmod m {{\n{}}}", "use a;\n".repeat(90));
        assert!(function_length(&Source::new("tests/a.rs", pointer)).is_empty());
    }

    #[test]
    fn long_c_and_python_functions_are_found_and_short_ones_pass() {
        let c = |lines: usize| Source::new("c-examples/a.c", format!("int f(void) {{\n{}}}\n", "g();\n".repeat(lines)));
        assert_eq!(function_length(&c(69)).len(), 1);
        assert!(function_length(&c(68)).is_empty());
        let py = |lines: usize| Source::new("a.py", format!("def f():\n{}\n", "    g()\n".repeat(lines)));
        assert_eq!(function_length(&py(70)).len(), 1);
        assert!(function_length(&py(69)).is_empty());
    }

    #[test]
    fn c_braces_in_comments_literals_and_directives_do_not_count() {
        let text = "#define A { /* (\n{ */ { \\\n  {\n/* { */\nstatic int f(int a) // {\n\
                    {\n  char b = '{', *c = \"{\\\"{\";\n  if (a) { g(); }\n}\n";
        assert_eq!(c_functions(text), [function("f", 5, 9)]);
    }

    #[test]
    fn cpp_functions_are_found_inside_namespaces_and_classes() {
        let text = "namespace n SEEN(yes) {\nclass A : public B {\n public:\n  int f() const {\n    return 1'000;\n  }\n};\n\
                    auto s = R\"(})\";\n}\nstruct p g() {\n}\n\
                    static const int t[] = {1, 2};\nenum e { X };\nextern \"C\" {\nvoid h() {\n}\n}\n";
        assert_eq!(c_functions(text), [function("f", 4, 6), function("g", 10, 11), function("h", 15, 16)]);
    }

    #[test]
    fn python_functions_end_where_the_indent_does() {
        let text = "class A:\n    async def f(\n        self,\n    ) -> int:\n        '''text\nat the margin\n        '''\n\
                    \n        def inner(): return 1\n        return 2\n\n    # note\n    def g(self):\n        pass\nx = 1\n";
        assert_eq!(python_functions(text), [function("inner", 9, 9), function("f", 2, 10), function("g", 13, 14)]);
    }
}
