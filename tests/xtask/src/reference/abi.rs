//! The page of the plugin ABI: every struct with offsets and sizes, every function with its thread, every constant.
//! Inputs: the reflected surface (offsets, sizes) and the sources of `abi/` (names of parameters, comments). Outputs: a page.
//! Must never say anything of a member that its comment does not say.

use super::{NOTE, documented, paragraph, wrapped};
use anyhow::{Context, Result, bail};
use cloudsnooze_abi::{self as abi, surface};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// The sources that the headers are made from, in the order of the page.
const SOURCES: [(&str, &str); 7] = [
    ("plugin", "What a plugin offers"),
    ("host", "What the host offers"),
    ("event", "Event and call"),
    ("text", "Texts and bytes"),
    ("status", "Results and log levels"),
    ("version", "Version"),
    ("source", "Extension `cloudsnooze.source/1`: plugins that bring notices"),
];

/// What a struct or a member is said to be, and how C writes it.
struct Told {
    doc: String,
    c: String,
}

/// The page.
///
/// # Errors
/// A source that cannot be read, or says less than the surface has.
pub fn page(root: &Path) -> Result<String> {
    let mut text = head();
    let tables: BTreeMap<String, surface::Table> = surface::tables()
        .into_iter()
        .chain(surface::source_tables())
        .map(|table| (table.name.clone(), table))
        .collect();
    let mut shown = 0;
    for (source, title) in SOURCES {
        let path = root.join(format!("abi/src/{source}.rs"));
        let code = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let file = syn::parse_file(&code).with_context(|| path.display().to_string())?;
        let _ = write!(text, "## {title}\n\nHeader `cloudsnooze/{source}.h`.\n\n");
        for paragraph_of_module in module_doc(&code).split("\n\n") {
            text += &paragraph(paragraph_of_module);
        }
        text += &constants(&code);
        for item in &file.items {
            if let syn::Item::Struct(item) = item
                && let Some(table) = tables.get(&item.ident.to_string())
            {
                text += &structure(item, table)?;
                shown += 1;
            }
        }
    }
    if shown != tables.len() {
        bail!("{shown} structs are documented, the surface has {}", tables.len());
    }
    Ok(text.trim_end().to_owned() + "\n")
}

fn head() -> String {
    let mut text = format!("# The plugin ABI\n\n{NOTE}\n\n");
    text += &paragraph(&format!(
        "Version {}.{}. A plugin is a shared library for a 64-bit machine with one exported symbol, `snooze_plugin_entry_v1`. \
         Everything that crosses the border is one of the structs below; offsets and sizes are in bytes. How to write a plugin \
         is in the [guide](../plugins/guide.md).",
        abi::SNOOZE_ABI_MAJOR,
        abi::SNOOZE_ABI_MINOR
    ));
    text += "Rules for everything on this page:\n\n";
    for rule in [
        "What is passed in is borrowed until the function returns. Nobody frees the other side's memory. What must live longer is \
         copied.",
        "Out parameters are written on success only.",
        "Nothing is thrown, unwound or jumped across the border.",
        "A function pointer that is NULL is not offered. A member is read only where `struct_size` says that it is there: \
         `SNOOZE_HAS` in `cloudsnooze/plugin_util.h`.",
        "Tables grow by appending, one minor version up. Nothing is reordered, removed or given another meaning within a major \
         version; unknown numbers and bits are ignored.",
        "The word in brackets before a function says on which thread it is called: **main**: the control thread, normal priority, \
         never two calls for one instance at once; **dispatch**: a shared real-time thread; **worker**: a pool thread of its own, \
         real-time at the start, may block; **run**: the thread inside a source's `run`; **any**: any thread, also the plugin's \
         own; **rt**: safe inside a real-time `on_event`.",
    ] {
        text += &wrapped("- ", "  ", rule);
    }
    text + "\n"
}

/// The comment of a module: paragraphs, each in one line.
fn module_doc(code: &str) -> String {
    let lines = code.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let mut paragraphs = vec![String::new()];
    for line in lines {
        if line.is_empty() {
            paragraphs.push(String::new());
        } else if let Some(last) = paragraphs.last_mut() {
            last.push_str(line);
            last.push(' ');
        }
    }
    // Links within the Rust documentation.
    paragraphs.join("\n\n").replace("[`", "`").replace("`]", "`")
}

fn constants(code: &str) -> String {
    let found = documented(code, "pub const ");
    let rows: Vec<String> = found
        .iter()
        .filter_map(|(line, doc)| {
            let (name, rest) = line.split_once(": ")?;
            let value = rest.split_once(" = ")?.1.trim_end_matches(';').trim_start_matches('c');
            name.starts_with("SNOOZE_").then(|| format!("| `{name}` | `{value}` | {doc} |\n"))
        })
        .collect();
    if rows.is_empty() {
        String::new()
    } else {
        format!("| constant | value | meaning |\n|---|---|---|\n{}\n", rows.concat())
    }
}

fn structure(item: &syn::ItemStruct, table: &surface::Table) -> Result<String> {
    let mut text = format!("### `{}`\n\n{}", table.name, paragraph(&doc(&item.attrs)));
    let _ = write!(text, "{} bytes, aligned to {}.\n\n", table.size, table.align);
    let fields: BTreeMap<String, Told> = item
        .fields
        .iter()
        .filter_map(|field| {
            let name = field.ident.as_ref()?.to_string();
            Some((name.clone(), Told { doc: doc(&field.attrs), c: declaration(&field.ty, &name) }))
        })
        .collect();
    for member in &table.members {
        let told = fields.get(&member.name).with_context(|| format!("{}.{}", table.name, member.name))?;
        let place = format!("- **`{}`** at {}, {} bytes: ", member.name, member.offset, member.size);
        // The thread comes first in the comment and stays there: `[any, rt] Writes a record.`
        text += &wrapped(&place, "  ", &format!("`{}`. {}", told.c, told.doc));
    }
    Ok(text + "\n")
}

fn doc(attributes: &[syn::Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join(" ")
}

/// How C declares `name` of this type.
fn declaration(kind: &syn::Type, name: &str) -> String {
    let spaced =
        |before: &str| if before.ends_with('*') { format!("{before}{name}") } else { format!("{before} {name}") };
    match kind {
        syn::Type::Ptr(pointer) => {
            let constness = if matches!(pointer.mutability, syn::PointerMutability::Const(_)) { "const " } else { "" };
            let inner = declaration(&pointer.elem, "");
            let inner = inner.trim_end();
            // `*const *const T` is `const T *const *` in C, `*const T` is `const T *`.
            let is_pointer = inner.ends_with('*');
            spaced(&if is_pointer { format!("{inner}{constness}*") } else { format!("{constness}{inner} *") })
        }
        syn::Type::Array(array) => {
            let length = match &array.len {
                syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(number), .. }) => number.to_string(),
                _ => String::new(),
            };
            format!("{}[{length}]", declaration(&array.elem, name))
        }
        syn::Type::FnPtr(function) => function_declaration(function, name),
        syn::Type::Path(path) => match path.path.segments.last() {
            Some(last) if last.ident == "Option" => {
                inner_of(last).map_or_else(String::new, |inner| declaration(inner, name))
            }
            Some(last) => spaced(c_name(&last.ident.to_string())).trim_end().to_owned(),
            None => String::new(),
        },
        _ => String::new(),
    }
}

fn inner_of(segment: &syn::PathSegment) -> Option<&syn::Type> {
    match &segment.arguments {
        syn::PathArguments::AngleBracketed(inner) => inner.args.iter().find_map(|argument| match argument {
            syn::GenericArgument::Type(kind) => Some(kind),
            _ => None,
        }),
        _ => None,
    }
}

fn function_declaration(function: &syn::TypeFnPtr, name: &str) -> String {
    let parameters = function.inputs.iter().map(|input| {
        let called = input.name.as_ref().map(|(ident, _)| ident.to_string()).unwrap_or_default();
        declaration(&input.ty, &called)
    });
    let parameters: Vec<String> = parameters.collect();
    let result = match &function.output {
        syn::ReturnType::Default => "void ".to_owned(),
        syn::ReturnType::Type(_, kind) => {
            let kind = declaration(kind, "");
            if kind.ends_with('*') { kind } else { kind + " " }
        }
    };
    let parameters = if parameters.is_empty() { "void".to_owned() } else { parameters.join(", ") };
    format!("{result}{name}({parameters})")
}

fn c_name(rust: &str) -> &str {
    match rust {
        "u8" => "uint8_t",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "i32" => "int32_t",
        "i64" => "int64_t",
        "f64" => "double",
        "usize" => "size_t",
        "c_char" => "char",
        "c_void" => "void",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(rust: &str, name: &str) -> String {
        declaration(&syn::parse_str(rust).expect("a type"), name)
    }

    #[test]
    fn types_are_written_as_c_writes_them() {
        assert_eq!(c("u32", "flags"), "uint32_t flags");
        assert_eq!(c("*const c_char", "id"), "const char *id");
        assert_eq!(c("*mut c_void", "ctx"), "void *ctx");
        assert_eq!(c("*const *const snooze_class", "classes"), "const snooze_class *const *classes");
        assert_eq!(c("*mut *const snooze_plugin", "out"), "const snooze_plugin **out");
        assert_eq!(c("[u8; 16]", "id"), "uint8_t id[16]");
        let function = "Option<unsafe extern \"C\" fn(plugin: *const snooze_plugin, reason: u32) -> snooze_status>";
        assert_eq!(c(function, "f"), "snooze_status f(const snooze_plugin *plugin, uint32_t reason)");
        assert_eq!(c("Option<unsafe extern \"C\" fn() -> *const c_char>", "f"), "const char *f(void)");
    }

    #[test]
    fn every_member_of_the_surface_is_on_the_page_with_its_offset() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let page = page(&root).expect("the page");
        for table in surface::tables().into_iter().chain(surface::source_tables()) {
            for member in &table.members {
                let line = format!("- **`{}`** at {}, {} bytes: ", member.name, member.offset, member.size);
                assert!(page.contains(&line), "{}: {line}", table.name);
            }
        }
        for words in ["[any, rt]", "`SNOOZE_E_RETRY` | `-16`", "SNOOZE_CAP_SOURCE", "`\"cloudsnooze.source/1\"`"] {
            assert!(page.contains(words), "{words}");
        }
    }
}
