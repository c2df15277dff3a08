//! The dashboard's page: files that are part of the program.
//!
//! Inputs: none. Outputs: HTML, style and scripts as they stand in `templates/dashboard`. Pure. Must never hold anything that is
//! not public: whoever has no token yet gets these files too. What they show they ask for themselves, with the token.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

/// Path, media type and content of each file.
const FILES: [(&str, &str, &str); 9] = [
    ("/", "text/html; charset=utf-8", include_str!("../../templates/dashboard/index.html")),
    ("/dashboard/page.css", "text/css; charset=utf-8", include_str!("../../templates/dashboard/page.css")),
    ("/dashboard/icon.svg", "image/svg+xml", include_str!("../../templates/dashboard/icon.svg")),
    ("/dashboard/main.js", SCRIPT, include_str!("../../templates/dashboard/main.js")),
    ("/dashboard/api.js", SCRIPT, include_str!("../../templates/dashboard/api.js")),
    ("/dashboard/words.js", SCRIPT, include_str!("../../templates/dashboard/words.js")),
    ("/dashboard/timeline.js", SCRIPT, include_str!("../../templates/dashboard/timeline.js")),
    ("/dashboard/views.js", SCRIPT, include_str!("../../templates/dashboard/views.js")),
    ("/dashboard/live.js", SCRIPT, include_str!("../../templates/dashboard/live.js")),
];
/// Scripts (RFC 9239).
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The routes. They stand under no right: there is nothing to be learned from them.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.into_iter().fold(Router::new(), |routes, (path, kind, text)| {
        routes.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text).into_response() }))
    })
}

/// Whether the path is one of these.
pub fn is_page(path: &str) -> bool {
    FILES.iter().any(|(known, _, _)| *known == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_place_and_has_no_script_or_style_of_its_own() {
        for (path, _, text) in FILES {
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("://"), "{path} names another place");
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "<style",
                " style=",
                " onclick=",
            ] {
                assert!(!text.contains(word), "{path} has {word}");
            }
        }
        let html = FILES[0].2;
        let loaded = html.matches("src=\"").chain(html.matches("href=\"/")).count();
        assert!(loaded >= 3, "style, icon and script");
        for (path, _, _) in FILES.iter().skip(1) {
            let name = path.trim_start_matches("/dashboard/");
            let is_used = FILES.iter().any(|(other, _, text)| other != path && text.contains(name));
            assert!(is_used, "{path} is not used");
        }
    }
}
