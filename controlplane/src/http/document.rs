//! The OpenAPI document, made from the routes at start, and the paths that show it. A route tells
//! what is its own; what all of its kind have (who may call, which refusals extractors and limits
//! answer, headers) is added here, by the shape of the operation.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::routing::get;
use hype_protocol::gateway::{Event, Position};
use serde_json::{Map, Value, json};
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::{RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, OpenApi};

use super::{docs, files, idempotency, observe, standing};
use crate::app::Shared;
use crate::error::Refusal;
use crate::error::code::{Code, Codes};

const CODES: &str = "x-error-codes";

/// In a route's `responses`: the codes of refusals that are its own.
pub(super) struct Refused<T>(PhantomData<T>);

impl<T: Codes> IntoResponses for Refused<T> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for code in T::codes() {
            by_status.entry(code.status().as_str().to_owned()).or_default().push(code.as_str());
        }
        let response = |codes| {
            let codes = Extensions::builder().add(CODES, codes).build();
            ResponseBuilder::new().extensions(Some(codes)).into()
        };
        by_status.into_iter().map(|(status, codes)| (status, response(codes))).collect()
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Hype", description = DESCRIPTION, license(name = "Apache-2.0", identifier = "Apache-2.0")),
    components(schemas(Refusal, Event, Position)),
    tags(
        (name = "auth", description = "Accounts and sign-ins."),
        (name = "guilds", description = "Guilds, and what was changed in them."),
        (name = "members", description = "Who is in a guild, and who may not come back."),
        (name = "roles", description = "Named sets of permissions."),
        (name = "channels", description = "Channels, and who is there."),
        (name = "messages", description = "What is said in channels, found again, and read."),
        (name = "voice", description = "Joining and leaving voice channels."),
        (name = "invites", description = "Ways into a guild."),
        (name = "operations", description = "For those who run the server.")
    )
)]
struct Base;

const DESCRIPTION: &str = "\
The REST side of Hype. Voice and events run over the WebSocket at `/gateway`.

**Signing in.** `POST /api/v1/auth/login` answers an access token, which goes into the header \
`Authorization: Bearer …`, and a refresh token for the next pair.

**Events** of the gateway, and of the bus between replicas, are the schema `Event`. Those that are kept \
(all of guilds, their members, roles, channels and messages) carry a `Position`: what has been seen is \
known by it, after a resume as well.

**Ids** are decimal numbers, as strings. A thing that does not exist and one that you may not know \
of are answered alike.

**Refusals** are `{\"error\": {\"code\", \"message\", \"retry_after_ms\"}}`. The code is stable; the \
message is for people.

**Limits.** `X-RateLimit-Bucket` names the tightest limit that the request counted against; \
`-Limit` is how many requests it takes at once, `-Remaining` how many it takes now, `-Reset` in how \
many seconds it takes all again. A refusal has `Retry-After`, in seconds.

**Idempotency.** Operations with the header `Idempotency-Key` can be sent again under the same key \
within 24 hours: what was made is answered again, with `Idempotency-Replayed: true`. Refusals are \
not kept.

**Request ids.** Each answer has an `X-Request-Id`: yours, when it has 1 to 64 letters, digits and \
`-`, `_`, `.`; else a new one. Tell it when you report a problem.";

/// The document, ready to be sent.
pub(super) struct Document {
    json: Bytes,
    html: Bytes,
    idempotent: idempotency::Operations,
}

impl Document {
    /// Of the API's routes, and of `others` that stand outside of it.
    pub(super) fn new(api: utoipa::openapi::OpenApi, others: utoipa::openapi::OpenApi) -> Self {
        let mut document = Base::openapi();
        document.merge(api);
        document.merge(others);
        let mut document = serde_json::to_value(document).expect("a document of ours encodes");
        finish(&mut document);
        let mut idempotent = HashSet::new();
        for_operations(&mut document, |path, method, operation| {
            if has_parameter(operation, |one| one["name"] == idempotency::NAME) {
                let method: Method =
                    method.to_uppercase().parse().expect("OpenAPI's methods are HTTP's");
                idempotent.insert((method, path.to_owned()));
            }
        });
        Self {
            json: document.to_string().into(),
            html: docs::page(&document).into(),
            idempotent: Arc::new(idempotent),
        }
    }

    /// Which operations take an `Idempotency-Key`.
    pub(super) fn idempotent(&self) -> idempotency::Operations {
        Arc::clone(&self.idempotent)
    }

    /// The paths that show it.
    pub(super) fn routes(self) -> Router<Shared> {
        let Self { json, html, .. } = self;
        let json = move || async move { ([(header::CONTENT_TYPE, "application/json")], json) };
        let html = move || async move { files::page(html) };
        Router::new().route("/api/v1/openapi.json", get(json)).route("/api/v1/docs", get(html))
    }
}

fn for_operations(document: &mut Value, mut each: impl FnMut(&str, &str, &mut Value)) {
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            each(path, method, operation);
        }
    }
}

fn has_parameter(operation: &Value, test: impl Fn(&Value) -> bool) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(test))
}

/// The codes that an operation of the API answers because of what it is.
fn shared_codes(operation: &Value) -> Vec<Code> {
    let mut codes = vec![Code::RateLimited, Code::StoreUnavailable, Code::Internal];
    if operation.get("security").is_none() {
        codes.push(Code::Unauthenticated);
    }
    if operation.get("requestBody").is_some() {
        codes.extend([Code::InvalidRequest, Code::BodyTooLarge, Code::UnsupportedMediaType]);
    }
    if has_parameter(operation, |one| one["in"] == "path") {
        codes.push(Code::NotFound);
    }
    if has_parameter(operation, |one| one["in"] != "path") {
        codes.push(Code::InvalidRequest);
    }
    if has_parameter(operation, |one| one["name"] == idempotency::NAME) {
        let more = [Code::BodyTooLarge, Code::IdempotencyConflict, Code::IdempotencyKeyReused];
        codes.extend(more);
    }
    codes
}

/// Adds what all operations have.
fn finish(document: &mut Value) {
    for_operations(document, |path, _, operation| {
        // Handlers are named within their module only.
        let name = [&operation["tags"][0], &operation["operationId"]].map(Value::as_str);
        operation["operationId"] = name.map(Option::unwrap_or_default).join("_").into();
        let is_api = path.starts_with("/api/");
        let takes_key = has_parameter(operation, |one| one["name"] == idempotency::NAME);
        let mut codes: BTreeSet<Code> = BTreeSet::new();
        if is_api {
            codes.extend(shared_codes(operation));
        }
        let responses = operation["responses"].as_object_mut().expect("each operation has some");
        for response in responses.values_mut() {
            let own = response.as_object_mut().and_then(|response| response.remove(CODES));
            let own = own.as_ref().and_then(Value::as_array).into_iter().flatten();
            codes.extend(own.filter_map(|text| {
                Code::ALL.iter().find(|code| Some(code.as_str()) == text.as_str())
            }));
        }
        let mut by_status: BTreeMap<StatusCode, Vec<Code>> = BTreeMap::new();
        for code in codes {
            by_status.entry(code.status()).or_default().push(code);
        }
        for (status, codes) in by_status {
            responses.insert(status.as_str().to_owned(), refusal(&codes));
        }
        for (status, response) in responses {
            complete(status, response, is_api, takes_key);
        }
    });
    document["security"] = json!([{ "bearer": [] }]);
    document["components"]["securitySchemes"] = json!({ "bearer": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "The access token of a session.",
    } });
    document["components"]["headers"] = headers();
}

/// The answer to a request that is refused for one of these reasons.
fn refusal(codes: &[Code]) -> Value {
    let texts: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let lines: Vec<String> =
        codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.meaning())).collect();
    let schema = json!({ "allOf": [
        { "$ref": "#/components/schemas/Refusal" },
        { "properties": { "error": { "properties": { "code": { "enum": texts } } } } },
    ] });
    json!({
        "description": lines.join("\n"),
        "content": { "application/json": { "schema": schema } },
        CODES: texts,
    })
}

/// Gives an answer its description and headers.
fn complete(status: &str, response: &mut Value, is_api: bool, takes_key: bool) {
    let known = StatusCode::from_bytes(status.as_bytes()).ok();
    if response["description"].as_str().is_none_or(str::is_empty) {
        let reason = known.and_then(|status| status.canonical_reason()).unwrap_or_default();
        response["description"] = reason.into();
    }
    let mut names = vec![observe::REQUEST_ID];
    if is_api {
        names.extend(RATE_LIMIT_HEADERS);
    }
    if takes_key && known.is_some_and(|status| status.is_success()) {
        names.push(idempotency::REPLAYED);
    }
    if is_api && matches!(status, "429" | "503") {
        names.push(header::RETRY_AFTER);
    }
    let reference = |name: header::HeaderName| {
        let value = json!({ "$ref": format!("#/components/headers/{name}") });
        (name.as_str().to_owned(), value)
    };
    response["headers"] = names.into_iter().map(reference).collect::<Map<_, _>>().into();
}

const RATE_LIMIT_HEADERS: [header::HeaderName; 4] =
    [standing::LIMIT, standing::REMAINING, standing::RESET, standing::BUCKET];

fn headers() -> Value {
    let number = |least: u32| json!({ "type": "integer", "minimum": least });
    let text = json!({ "type": "string" });
    let all = [
        (observe::REQUEST_ID, "Names this request in the server's log.", text.clone()),
        (standing::LIMIT, "How many requests the limit takes at once.", number(1)),
        (standing::REMAINING, "How many it takes now.", number(0)),
        (standing::RESET, "In how many seconds it takes all again.", number(0)),
        (standing::BUCKET, "The tightest limit that the request counted against.", text),
        (header::RETRY_AFTER, "After how many seconds trying again makes sense.", number(1)),
        (
            idempotency::REPLAYED,
            "`true` when this is the answer to an earlier request with the same key.",
            json!({ "type": "string", "enum": ["true"] }),
        ),
    ];
    let entry = |(name, description, schema): (header::HeaderName, &str, Value)| {
        (name.as_str().to_owned(), json!({ "description": description, "schema": schema }))
    };
    all.into_iter().map(entry).collect::<Map<_, _>>().into()
}
