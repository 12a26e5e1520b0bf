//! `/api/v1/guilds/{guild}/insights`.

use axum::Json;
use axum::extract::State;
use hype_protocol::id::GuildId;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::document::Refused;
use super::extract::{Caller, Id, Search};
use crate::app::Shared;
use crate::domain::insights;
use crate::error::{Error, code};
use crate::store::stay::DAY_MS;

/// What happened in a guild on one day.
#[derive(Serialize, ToSchema)]
pub(super) struct InsightDay {
    /// When it began, UTC, in Unix milliseconds.
    begins_at_ms: u64,
    /// People who wrote or were in voice.
    active_people: u64,
    /// Messages written.
    messages: u64,
    /// Times that somebody joined a voice channel.
    voice_joins: u64,
    /// Minutes that all people together were in voice, counted when each leaves.
    voice_minutes: u64,
    /// The most people in voice at once.
    voice_peak: u64,
}

/// Which days.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InsightsQuery {
    /// How many, today among them.
    #[param(minimum = 1, maximum = 90, default = 30)]
    days: Option<u32>,
}

/// Read a guild's insights
///
/// One entry a day (UTC), the oldest first. Needs VIEW_INSIGHTS.
#[utoipa::path(
    get, path = "/api/v1/guilds/{guild}/insights", tag = "guilds",
    params(("guild" = GuildId, Path), InsightsQuery),
    responses((status = 200, body = Vec<InsightDay>), Refused::<code::MissingPermission>)
)]
pub(super) async fn insights(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<GuildId>,
    Search(query): Search<InsightsQuery>,
) -> Result<Json<Vec<InsightDay>>, Error> {
    let days = insights::days(&app, caller.0, id, query.days.unwrap_or(30)).await?;
    let shown = days.into_iter().map(|day| InsightDay {
        begins_at_ms: day.day * DAY_MS,
        active_people: day.active,
        messages: day.messages,
        voice_joins: day.voice_joins,
        voice_minutes: day.voice_ms / 60_000,
        voice_peak: day.voice_peak,
    });
    Ok(Json(shown.collect()))
}
