//! The web client: the files of `controlplane/web`, embedded in the binary.
//! Every file is checked again by its ETag, so a new release shows at the next load.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

use crate::error::Error;

#[derive(RustEmbed)]
#[folder = "web"]
struct Files;

/// What the page may do: run and show our own files, talk to us, play what it receives and what
/// it captures. No inline script, no plugin, no frame around it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; font-src 'self'; media-src 'self' blob: mediastream:; \
    connect-src 'self'; worker-src 'self' blob:; manifest-src 'self'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'";

const PERMISSIONS_POLICY: &str = "microphone=(self), camera=(self), display-capture=(self), \
    speaker-selection=(self), autoplay=(self), geolocation=(), payment=(), usb=()";

fn mime(path: &str) -> &'static str {
    // The few types that we ship are named here: a browser refuses a module of another type.
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("mp3") => "audio/mpeg",
        Some("ogg" | "opus") => "audio/ogg",
        Some("wav") => "audio/wav",
        Some("wasm") => "application/wasm",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// True when one of the listed tags is ours (RFC 9110 §13.1.2, weak comparison).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(
        |list| {
            list.split(',').any(|tag| {
                let tag = tag.trim();
                tag == "*" || tag.trim_start_matches("W/") == etag.trim_start_matches("W/")
            })
        },
    )
}

/// Answers every path that is no route.
pub(super) async fn serve(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.starts_with("api/") {
        return Error::NoRoute.into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return Error::MethodNotAllowed.into_response();
    }
    let path = if path.is_empty() { "index.html" } else { path };
    let Some(file) = Files::get(path) else {
        return Error::NoRoute.into_response();
    };
    let hash = file.metadata.sha256_hash();
    // Weak, since the same file also leaves compressed.
    let etag: String = hash[..12].iter().map(|byte| format!("{byte:02x}")).collect();
    let etag = format!("W/\"{etag}\"");
    let mut response = if is_known(&headers, &etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let body = if method == Method::HEAD { Vec::new() } else { file.data.into_owned() };
        ([(header::CONTENT_TYPE, mime(path))], body).into_response()
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, value);
    }
    confine(headers);
    response
}

/// Sets what all pages and files of ours may do in a browser.
fn confine(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert("permissions-policy", HeaderValue::from_static(PERMISSIONS_POLICY));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
}

/// A page that the server made.
pub(super) fn page(html: Bytes) -> Response {
    let mut response = ([(header::CONTENT_TYPE, mime("page.html"))], html).into_response();
    confine(response.headers_mut());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str, etag: Option<&str>) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(etag) = etag {
            headers.insert(header::IF_NONE_MATCH, etag.parse().expect("a header value"));
        }
        serve(Method::GET, path.parse().expect("a path"), headers).await
    }

    fn header(response: &Response, name: header::HeaderName) -> String {
        response.headers()[&name].to_str().expect("ASCII").to_owned()
    }

    #[tokio::test]
    async fn the_page_is_served_and_checked_again() {
        let page = get("/", None).await;
        assert_eq!(page.status(), StatusCode::OK);
        assert_eq!(header(&page, header::CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(header(&page, header::CACHE_CONTROL), "no-cache");
        let policy = header(&page, header::CONTENT_SECURITY_POLICY);
        assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"));
        let etag = header(&page, header::ETAG);
        assert_eq!(get("/", Some(&etag)).await.status(), StatusCode::NOT_MODIFIED);
        let list = format!("\"other\", {etag}");
        assert_eq!(get("/index.html", Some(&list)).await.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(get("/", Some("\"other\"")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn nothing_outside_the_folder_is_served() {
        for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/missing.js", "/api/v1/missing", "//"]
        {
            assert_eq!(get(path, None).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let put = serve(Method::PUT, Uri::from_static("/"), HeaderMap::new()).await;
        assert_eq!(put.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
