//! `hype node`: one media node, with etcd; it dials every live control replica over QUIC.

use std::path::Path;

use anyhow::{Context, bail};
use clap::Args;
use hype_node::{Links, Node};
use hype_protocol::gateway::ErrorBody;
use hype_protocol::identity::{Enrollment, Identity, Issued, Role};
use serde::Deserialize;

use crate::settings::{Flags, flags};
use crate::telemetry;

/// Flags of the role.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    flags: Flags<flags::Node>,
}

pub async fn run(options: Options) -> anyhow::Result<()> {
    let settings = options.flags.settings()?;
    let node = &settings.node;
    let identity = match (&node.token, &node.control) {
        (Some(token), Some(control)) if !Identity::exists(&node.data_dir, Role::Node) => {
            enroll(token.reveal(), control, &node.data_dir).await?
        }
        _ => Identity::load(&node.data_dir, Role::Node).context(
            "no usable certificate: enroll this node by --enroll TOKEN --control URL, with a \
             token of `hype cert token --node NAME`",
        )?,
    };
    let config = hype_node::Config { admin: Some(node.admin), ..settings.media() };
    let metrics = telemetry::metrics()?;
    let links = Links::Quic(identity);
    let node = Node::start(config)?.with_metrics(metrics);
    node.run(settings.etcd.store()?, links, super::stop_signal()).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Failure {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct Certified {
    certificate: String,
    authority: String,
}

/// The token holds the authority's fingerprint, so the answer is checked whatever carried it.
async fn enroll(token: &str, control: &str, data_dir: &Path) -> anyhow::Result<Identity> {
    let enrollment = Enrollment::begin(token)?;
    let url = format!("{}/api/v1/nodes/enroll", control.trim_end_matches('/'));
    let body = serde_json::json!({ "token": token, "csr": enrollment.request() });
    // Certificates of a page may be self-signed; the token is what makes this safe.
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
    let response = http.post(&url).json(&body).send().await.context("cannot reach --control")?;
    let status = response.status();
    if !status.is_success() {
        let Failure { error } =
            response.json().await.with_context(|| format!("{url}: {status}"))?;
        bail!("{url}: {} ({})", error.message, error.code);
    }
    let Certified { certificate, authority } =
        response.json().await.context("the answer is no certificate")?;
    let issued = Issued { certificate, authority };
    let node = enrollment.node().clone();
    let identity = enrollment.finish(&issued, data_dir)?;
    tracing::info!(%node, "enrolled");
    Ok(identity)
}
