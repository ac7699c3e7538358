//! `static = …`.

use super::*;

#[test]
fn a_folder_is_read_and_checked() {
    let folder = |keys: &str| format!("{LISTENER}[[route]]\n[route.static]\nroot = \"public\"\n{keys}");
    let said = |keys: &str, what: &str| {
        let shown = parse(&folder(keys), Path::new("dir/g")).unwrap_err().to_string();
        assert!(shown.contains(what), "{keys}: {shown}");
    };
    said("try_files = []", "takes at least one item");
    said("try_files = [\"$uri\"]", "it knows no variables");
    said("try_files = [\"{path}\", \"=404\"]", "static.try_files[1]: is not needed");
    said("fallback = \"index.html\"", "takes the path of a file in the folder");
    said("fallback = \"/../x\"", "takes the path of a file in the folder");
    said("index = [\"a/b\"]", "takes the name of a file");
    said("precompressed = [\"gzip\", \"gzip\"]", "names one twice");
    said("precompressed = [\"deflate\"]", "static.precompressed");
    said("cache_control = \"a\\nb\"", "takes the value of a header");
    said("cache_control = [{ files = \"{x}\", value = \"no-cache\" }]", "cache_control[0].files: takes a name");
    said("error_pages = { 502 = \"/x\" }", "is no error that a folder can have");
    said("error_pages = { 404 = \"x\" }", "takes the path of a file in the folder");
    said("types = { \"a.b\" = \"text/plain\" }", "is no extension");
    said("types = { a = \"text\" }", "takes a media type");

    let config = read(&folder(
        "index = []\ntry_files = [\"{path}\", \"{path}.html\"]\nfallback = \"/index.html\"\nprecompressed = true\n\
         cache_control = \"no-cache\"\nerror_pages = { 404 = \"/404.html\" }\ntypes = { \".MD\" = \"text/plain\" }",
    ));
    let Action::Static(folder) = &config.routes[0].action else { panic!("a folder") };
    assert!(folder.index.is_empty() && !folder.listing);
    let candidates: Vec<String> = folder
        .candidates
        .iter()
        .map(|one| format!("{}{}{}", one.before, if one.takes_path { "{path}" } else { "" }, one.after))
        .collect();
    assert_eq!(candidates, ["{path}", "{path}.html", "/index.html"]);
    assert_eq!(folder.precompressed.len(), 3);
    assert_eq!((&*folder.cache_control[0].value, folder.cache_control[0].files.len()), ("no-cache", 0));
    assert_eq!(folder.error_pages, [(http::StatusCode::NOT_FOUND, "/404.html".to_owned())]);
    assert_eq!(folder.types, [("md".to_owned(), "text/plain".to_owned())]);
}
